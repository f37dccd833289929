"""VideoDiT against the stock transformer, and the exact properties of its cache (research numbers P1 to P12)."""

import json
from collections.abc import Sequence

import pytest
import torch
from diffusers import WanTransformer3DModel
from peft import LoraConfig
from torch import Tensor

from tests.folders import tiny_transformer
from vgen.models.cache import KVCache
from vgen.models.dit import VideoDiT

HEIGHT, WIDTH, TOKENS = 4, 6, 6  # latent rows and columns; tokens per frame with patches of 2 x 2
LAYERS = 2


def ours_of(stock: WanTransformer3DModel) -> VideoDiT:
    dit = VideoDiT.from_config(stock.config)
    dit.load_state_dict(stock.state_dict())
    return dit.eval()


@pytest.fixture(scope="module")
def dit() -> VideoDiT:
    return ours_of(tiny_transformer())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CONFIGS: list[dict[str, int]] = [
    {},
    {"num_layers": 1, "num_attention_heads": 3, "attention_head_dim": 16, "ffn_dim": 48},
    {"in_channels": 36, "image_dim": 20, "added_kv_proj_dim": 48},
]


@pytest.mark.parametrize("config", CONFIGS, ids=["t2v", "other heads", "image embedding"])
@torch.no_grad()
def test_equals_the_stock_transformer(config: dict[str, int]) -> None:
    stock = tiny_transformer(**config)
    dit = ours_of(stock)
    x = noise(2, stock.config.in_channels, 3, HEIGHT, WIDTH)
    text, image = noise(2, 512, 32, seed=1), noise(2, 7, 20, seed=2) if "image_dim" in config else None
    prepared = dit.prepare_text(text, image)
    one_level = torch.tensor([[0.7], [0.3]])
    theirs = stock(x, one_level[:, 0] * 1000, text, image, return_dict=False)[0]
    torch.testing.assert_close(dit(x, one_level, prepared), theirs, rtol=0, atol=1e-5)
    per_frame = torch.rand(2, 3, generator=torch.Generator().manual_seed(3))
    per_token = (per_frame * 1000).repeat_interleave(TOKENS, dim=1)
    theirs = stock(x, per_token, text, image, return_dict=False)[0]
    torch.testing.assert_close(dit(x, per_frame, prepared), theirs, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_stock_class_comes_back(dit: VideoDiT) -> None:
    stock = dit.to_stock()
    assert json.loads(stock.to_json_string())["_class_name"] == "WanTransformer3DModel"
    x, text = noise(1, 16, 2, HEIGHT, WIDTH), noise(1, 8, 32)
    theirs = stock(x, torch.tensor([400.0]), text, return_dict=False)[0]
    torch.testing.assert_close(dit(x, torch.tensor([[0.4]]), text), theirs, rtol=0, atol=1e-6)


@torch.no_grad()
def test_lora_loads_through_diffusers_and_equals_stock(dit: VideoDiT) -> None:
    """The same adapter in both models gives the same change, and unloading takes it back."""
    stock, ours = tiny_transformer(), ours_of(tiny_transformer())
    stock.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    adapter = {name.replace(".default", ""): value for name, value in stock.state_dict().items() if "lora_" in name}
    ours.load_lora_adapter({f"transformer.{name}": value for name, value in adapter.items()}, prefix="transformer")
    x, text, t = noise(1, 16, 2, HEIGHT, WIDTH), noise(1, 8, 32), torch.tensor([500.0])
    theirs = stock(x, t, text, return_dict=False)[0]
    plain = dit(x, (t / 1000)[None], text)
    changed = ours(x, (t / 1000)[None], text)
    assert (changed - plain).abs().max() > 1e-3
    torch.testing.assert_close(changed, theirs, rtol=0, atol=1e-5)
    ours.unload_lora()
    torch.testing.assert_close(ours(x, (t / 1000)[None], text), plain, rtol=0, atol=1e-6)


def rolled(
    dit: VideoDiT, x: Tensor, text: Tensor, blocks: Sequence[range], *, window: int | None = None, sink: int = 0
) -> Tensor:
    """Clean frames pushed block by block through a cache, as a rollout commits them."""
    frames = x.shape[2]
    cache = KVCache(layers=LAYERS, capacity=frames if window is None else window + sink)
    outs = []
    for block in blocks:
        if window is not None:
            cache.drop(range(sink, max(sink, block.stop - window)))
        outs.append(
            dit(
                x[:, :, block.start : block.stop],
                torch.zeros(1, 1),
                text,
                frames_T=torch.tensor(list(block)),
                context=cache,
                commit=True,
            )
        )
    return torch.cat(outs, dim=2)


class Banded:
    """The oracle: dense attention under an explicit mask of frame pairs."""

    def __init__(self, sees: Tensor) -> None:
        self.sees = sees  # [T, T] bool

    def __call__(self, q_BLNK, k_BMNK, v_BMNK, *, query, key, layer, sigma=None):  # type: ignore[no-untyped-def]
        mask = self.sees.repeat_interleave(TOKENS, 0).repeat_interleave(TOKENS, 1)
        scores = torch.einsum("blnk,bmnk->bnlm", q_BLNK.double(), k_BMNK.double()) / q_BLNK.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        return torch.einsum("bnlm,bmnk->blnk", weights, v_BMNK.double()).to(q_BLNK)


def masked(dit: VideoDiT, x: Tensor, text: Tensor, sees: Tensor, frames_T: Tensor | None = None) -> Tensor:
    return dit(x, torch.zeros(1, 1), text, frames_T=frames_T, attention=Banded(sees))


def visible(frames: int, block: int, window: int | None = None, sink: int = 0) -> Tensor:
    """Which frame sees which: its block and before; with a window, the last up to the block's end, and sinks."""
    q, k = torch.arange(frames)[:, None], torch.arange(frames)[None]
    end = (q // block + 1) * block
    sees = k < end
    return sees if window is None else sees & ((k >= end - window) | (k < sink))


@pytest.mark.parametrize("block", [1, 2, 3])
@torch.no_grad()
def test_p1_cache_equals_block_causal_mask(dit: VideoDiT, block: int) -> None:
    x, text = noise(1, 16, 6, HEIGHT, WIDTH), noise(1, 8, 32)
    blocks = [range(s, s + block) for s in range(0, 6, block)]
    out = rolled(dit, x, text, blocks)
    torch.testing.assert_close(out, masked(dit, x, text, visible(6, block)), rtol=0, atol=1e-5)
    torch.testing.assert_close(out, dit(x, torch.zeros(1, 1), text, causal_block=block), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("window", "sink"), [(2, 0), (3, 0), (4, 0), (2, 1), (4, 2)])
@torch.no_grad()
def test_p2_p3_window_and_sink_equal_their_mask(dit: VideoDiT, window: int, sink: int) -> None:
    x, text = noise(1, 16, 7, HEIGHT, WIDTH), noise(1, 8, 32)
    out = rolled(dit, x, text, [range(f, f + 1) for f in range(7)], window=window, sink=sink)
    torch.testing.assert_close(out, masked(dit, x, text, visible(7, 1, window, sink)), rtol=0, atol=1e-5)


@torch.no_grad()
def test_p6_only_differences_of_positions_count(dit: VideoDiT) -> None:
    x, text, sigma = noise(1, 16, 3, HEIGHT, WIDTH), noise(1, 8, 32), torch.tensor([[0.2, 0.5, 0.9]])
    here = dit(x, sigma, text, frames_T=torch.arange(3))
    there = dit(x, sigma, text, frames_T=torch.arange(3) + 5000)
    torch.testing.assert_close(here, there, rtol=0, atol=1e-5)
    assert (here - dit(x, sigma, text, frames_T=torch.tensor([0, 2, 4]))).abs().max() > 1e-3


@torch.no_grad()
def test_p7_one_teacher_forcing_pass_equals_cached_denoising(dit: VideoDiT) -> None:
    """[clean | noisy] in one masked pass: noisy frame i sees clean frames before it and itself."""
    frames, text = 4, noise(1, 8, 32)
    clean, noisy = noise(1, 16, frames, HEIGHT, WIDTH), noise(1, 16, frames, HEIGHT, WIDTH, seed=1)
    i = torch.arange(frames)
    sees = torch.zeros(2 * frames, 2 * frames, dtype=torch.bool)
    sees[:frames, :frames] = i[:, None] >= i[None]
    sees[frames:, :frames] = i[:, None] > i[None]
    sees[frames:, frames:] = torch.eye(frames, dtype=torch.bool)
    sigma = torch.cat((torch.zeros(1, frames), torch.full((1, frames), 0.6)), dim=1)
    both = dit(torch.cat((clean, noisy), dim=2), sigma, text, frames_T=torch.cat((i, i)), attention=Banded(sees))
    cache = KVCache(layers=LAYERS, capacity=frames)
    for f in range(frames):
        at = torch.tensor([f])
        out = dit(noisy[:, :, f : f + 1], torch.tensor([[0.6]]), text, frames_T=at, context=cache)
        torch.testing.assert_close(out, both[:, :, frames + f : frames + f + 1], rtol=0, atol=1e-5)
        dit(clean[:, :, f : f + 1], torch.zeros(1, 1), text, frames_T=at, context=cache, commit=True)


@torch.no_grad()
def test_p8_later_frames_change_nothing(dit: VideoDiT) -> None:
    x, text = noise(1, 16, 6, HEIGHT, WIDTH), noise(1, 8, 32)
    whole = dit(x, torch.full((1, 1), 0.5), text, causal_block=2)
    cut = dit(x[:, :, :4], torch.full((1, 1), 0.5), text, causal_block=2)
    torch.testing.assert_close(whole[:, :, :4], cut, rtol=0, atol=1e-6)


@torch.no_grad()
def test_p12_slots_in_any_order_attend_alike(dit: VideoDiT) -> None:
    x, text = noise(1, 16, 4, HEIGHT, WIDTH), noise(1, 8, 32)
    at = torch.tensor([3])
    outs = []
    for order in ([0, 1, 2], [2, 0, 1]):
        cache = KVCache(layers=LAYERS, capacity=3)
        straight = KVCache(layers=LAYERS, capacity=3)
        for f in range(3):
            clean = torch.zeros(1, 1)
            dit(x[:, :, f : f + 1], clean, text, frames_T=torch.tensor([f]), context=straight, commit=True)
        for layer in range(LAYERS):
            held = straight.read(layer)
            assert held is not None
            k, v = (h.unflatten(1, (3, TOKENS))[:, order].flatten(1, 2) for h in held)
            cache.write(layer, [0, 1, 2], k, v)
        cache.publish(order, [0, 1, 2])
        outs.append(dit(x[:, :, 3:], torch.full((1, 1), 0.5), text, frames_T=at, context=cache))
    torch.testing.assert_close(outs[0], outs[1], rtol=0, atol=1e-5)


@torch.no_grad()
def test_cache_fork_and_state_are_independent(dit: VideoDiT) -> None:
    x, text = noise(1, 16, 2, HEIGHT, WIDTH), noise(1, 8, 32)
    cache = KVCache(layers=LAYERS, capacity=2)
    dit(x[:, :, :1], torch.zeros(1, 1), text, frames_T=torch.tensor([0]), context=cache, commit=True)
    twin = cache.fork()
    twin.drop([0])
    dit(x[:, :, 1:], torch.zeros(1, 1), text, frames_T=torch.tensor([1]), context=twin, commit=True)
    assert cache.frames == (0,) and twin.frames == (1,)
    held, other = cache.read(0), twin.read(0)
    assert held is not None and other is not None and not torch.equal(held[0], other[0])


def test_cache_refuses_to_write_a_frame_twice_or_beyond_its_room() -> None:
    cache = KVCache(layers=1, capacity=2)
    cache.write(0, cache.reserve([0]), noise(1, 1, 1, 2), noise(1, 1, 1, 2))
    cache.publish([0], [0])
    with pytest.raises(AssertionError, match="written once"):
        cache.reserve([0])
    with pytest.raises(AssertionError, match="2 frames need slots"):
        cache.reserve([1, 2])
