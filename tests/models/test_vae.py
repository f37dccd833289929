"""Streaming decode against the full decode (P36), and frame arithmetic (P37)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.folders import tiny_vae
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
