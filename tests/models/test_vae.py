"""Streaming decode against the full decode (P36), and frame arithmetic (P37)."""

import pytest
import torch
from diffusers import AutoencoderKLWan
from hypothesis import given
from hypothesis import strategies as st

from tests.folders import tiny_vae
from vgen.models.folder import embedded_folder
from vgen.models.vae import StreamingDecoder, encode_frames, latent_frames, pixel_frames


@pytest.mark.parametrize("residual", [False, True], ids=["wan2.1", "wan2.2"])
@pytest.mark.parametrize("cuts", [[5], [1, 4], [2, 1, 2], [1, 1, 1, 1, 1]], ids=str)
@torch.no_grad()
def test_p36_any_portions_equal_the_full_decode(residual: bool, cuts: list[int]) -> None:
    vae = tiny_vae(residual=residual)
    latents = torch.randn(1, 16, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    whole = vae.decode(latents / (1.0 / std) + mean).sample  # the order of operations of the stock pipeline
    decoder = StreamingDecoder(vae)
    parts = torch.cat([decoder.push(part) for part in latents.split(cuts, dim=2)], dim=2)
    assert parts.shape == (1, 3, 17, 24, 32)
    assert torch.equal(parts, whole)


@pytest.mark.parametrize("residual", [False, True], ids=["wan2.1", "wan2.2"])
@pytest.mark.parametrize("cuts", [[3], [1, 2]], ids=str)
@torch.no_grad()
def test_tiles_in_any_portions_equal_the_stock_tiled_decode(residual: bool, cuts: list[int]) -> None:
    vae = tiny_vae(residual=residual)
    latents = torch.randn(1, 16, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    untiled = StreamingDecoder(vae).push(latents)
    vae.enable_tiling(32, 32, 16, 16)
    stock = vae.decode(latents / (1.0 / std) + mean).sample
    decoder = StreamingDecoder(vae)
    tiled = torch.cat([decoder.push(part) for part in latents.split(cuts, dim=2)], dim=2)
    assert torch.equal(tiled, stock)
    assert tiled.shape == untiled.shape
    assert 0 < (tiled - untiled).abs().mean() < 0.2  # of -1..1; random weights see far
    vae.enable_tiling(64, 64, 48, 48)
    assert torch.equal(StreamingDecoder(vae).push(latents), untiled)  # no larger than a tile


@torch.no_grad()
def test_tiles_of_a_trained_vae_are_near_the_untiled_decode() -> None:
    vae = AutoencoderKLWan.from_pretrained(embedded_folder() / "vae", dtype=torch.float32, use_safetensors=True).eval()
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    disc = ((y - 50) ** 2 + (x - 40) ** 2 < 400).float() * 1.2 - 0.6
    latents = encode_frames(vae, torch.stack((disc, -disc, y / 96 - 0.5))[None, :, None])
    untiled = StreamingDecoder(vae).push(latents)
    vae.enable_tiling(64, 64, 48, 48)
    difference = (StreamingDecoder(vae).push(latents) - untiled).abs() * 127.5
    assert 0 < difference.mean() < 4 and difference.max() < 64  # of 255


@torch.no_grad()
def test_a_push_that_fails_has_not_happened() -> None:
    vae = tiny_vae(residual=False)
    latents = torch.randn(1, 16, 4, 3, 4, generator=torch.Generator().manual_seed(0))
    alone = StreamingDecoder(vae).push(latents)
    decoder = StreamingDecoder(vae)
    parts = [decoder.push(latents[:, :, :1])]
    calls = []

    def fail(*_: object) -> None:
        calls.append(0)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("no memory")

    handle = vae.decoder.up_blocks[-1].register_forward_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        decoder.push(latents[:, :, 1:])
    handle.remove()
    parts.append(decoder.push(latents[:, :, 1:]))
    assert torch.equal(torch.cat(parts, dim=2), alone)


@torch.no_grad()
def test_decoders_do_not_disturb_each_other_or_the_vae() -> None:
    vae = tiny_vae(residual=False)
    latents = torch.randn(1, 16, 3, 3, 4, generator=torch.Generator().manual_seed(0))
    alone = StreamingDecoder(vae).push(latents)
    first, second = StreamingDecoder(vae), StreamingDecoder(vae)
    parts = []
    for i in range(3):
        parts.append(first.push(latents[:, :, i : i + 1]))
        second.push(-latents[:, :, i : i + 1])
        vae.decode(latents)
    assert torch.equal(torch.cat(parts, dim=2), alone)


@torch.no_grad()
def test_latents_are_normalised_by_the_folders_own_statistics() -> None:
    vae = tiny_vae(residual=False)
    frames = torch.rand(1, 3, 5, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    raw = vae.encode(frames).latent_dist.mode()
    torch.testing.assert_close(encode_frames(vae, frames) * std + mean, raw, rtol=0, atol=1e-5)


@given(st.integers(1, 10_000))
def test_p37_lengths_round_up_and_back(num_frames: int) -> None:
    frames = latent_frames(num_frames)
    assert latent_frames(pixel_frames(frames)) == frames
    assert 0 <= pixel_frames(frames) - num_frames < 4
