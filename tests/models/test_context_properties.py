"""The exact properties of cached, windowed and block-causal passes (P1 to P13, P34 and P35 of the research notes).

One reference holds them: a single teacher-forcing pass over [clean | noisy] frames without any memory, in which an
explicit table says which frame sees which, and another how far apart in time the two stand (`Naive`). P31 is in
test_rope.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.models.tiny import LAYERS, TOKENS, latents, tiny_dit, words
from vgen.attention import Dense, Full, SparseAttention, VideoAttention, Window
from vgen.models.cache import KVCache
from vgen.models.denoiser import TextBook, WanDenoiser
from vgen.models.dit import VideoDiT
from vgen.models.rope import Rope
from vgen.samplers.guidance import Branches, Guided
from vgen.samplers.positions import CachePositions
from vgen.samplers.prompts import Cue
from vgen.samplers.protocols import Denoiser
from vgen.samplers.protocols import PositionScheme as Scheme
from vgen.shapes import TokenGrid

SIGMA = 0.6
CUE = Cue(prompt=0)


def absolute(visible: tuple[int, ...]) -> tuple[int, ...]:
    return visible


def by_rank(visible: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(range(len(visible)))


def sink_in_front(visible: tuple[int, ...]) -> tuple[int, ...]:
    """Frames 0 and 1 right in front of the others."""
    rest = [frame for frame in visible if frame >= 2]
    if not rest:
        return visible
    sink = [frame for frame in visible if frame < 2]
    return (*range(rest[0] - len(sink), rest[0]), *rest)


@pytest.fixture(scope="module")
def dit() -> VideoDiT:
    return tiny_dit()


def denoiser(dit: VideoDiT, *states: Tensor, scheme: Scheme | None = None, block: int | None = None) -> WanDenoiser:
    book = TextBook(dit, states or (words(),))
    return WanDenoiser(dit=dit, texts=book, rope=Rope(positions=scheme), causal_block=block)


@dataclass(frozen=True)
class Naive:
    """Attention in float64, frame by frame: an explicit mask, and time embedded here instead of in the model.

    Args:
        sees_TT: whether a frame of the query sees a frame of the key, by their places in the sequence.
        apart_TT: position of the key's frame less that of the query's.
    """

    sees_TT: Tensor
    apart_TT: Tensor

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        queries, keys, values = (x.double().split(TOKENS, dim=1) for x in (q_BLNK, k_BMNK, v_BMNK))
        outs = []
        for i, q in enumerate(queries):
            seen = self.sees_TT[i].nonzero().flatten().tolist()
            k = torch.cat([turned(keys[j], int(self.apart_TT[i, j])) for j in seen], dim=1)
            v = torch.cat([values[j] for j in seen], dim=1)
            weights = (torch.einsum("blnk,bmnk->bnlm", q, k) / q.shape[-1] ** 0.5).softmax(-1)
            outs.append(torch.einsum("bnlm,bmnk->blnk", weights, v))
        return torch.cat(outs, dim=1).to(q_BLNK)


def turned(x_BLNK: Tensor, by: int) -> Tensor:
    """Rotary embedding of time alone: pairs of the first channels as complex numbers (Su et al. 2021)."""
    head = x_BLNK.shape[-1]
    time = head - 4 * (head // 6)
    turn = torch.polar(
        torch.ones(time // 2, dtype=torch.float64),
        by * 10000.0 ** -(torch.arange(0, time, 2, dtype=torch.float64) / time),
    )
    pairs = torch.view_as_complex(x_BLNK[..., :time].unflatten(-1, (-1, 2)).contiguous()) * turn
    return torch.cat((torch.view_as_real(pairs).flatten(-2), x_BLNK[..., time:]), dim=-1)


def reference(
    dit: VideoDiT,
    clean: Tensor,
    noisy: Tensor,
    blocks: Sequence[range],
    *,
    window: int,
    sink: int = 0,
    scheme: Scheme = absolute,
) -> Tensor:
    """x0 of the noisy frames, each block seeing itself, the clean frames of its window before it, and the sink."""
    frames = blocks[-1].stop
    sees = torch.zeros(2 * frames, 2 * frames, dtype=torch.bool)
    apart = torch.zeros(2 * frames, 2 * frames, dtype=torch.int64)
    for block in blocks:
        past = [f for f in range(block.start) if f < sink or f >= block.stop - window]
        at = dict(zip((*past, *block), scheme((*past, *block)), strict=True))
        for q in block:
            for k in (*past, *block):
                own = k in block
                sees[q, k] = True  # clean by clean
                sees[frames + q, frames + k if own else k] = True
                apart[q, k] = apart[frames + q, k] = apart[frames + q, frames + k] = at[k] - at[q]
    sigma = torch.cat((torch.zeros(1, frames), torch.full((1, frames), SIGMA)), dim=1)
    velocity = dit(
        torch.cat((clean, noisy), dim=2),
        sigma,
        words(),
        rope=Rope(positions=lambda visible: (0,) * len(visible)),  # the model embeds no time
        attention=Naive(sees, apart),
    )
    return noisy - SIGMA * velocity[:, :, frames:]


def rolled(
    denoise: Denoiser[KVCache],
    clean: Tensor,
    noisy: Tensor,
    blocks: Sequence[range],
    *,
    window: int,
    sink: int = 0,
    cues: Sequence[Cue] | None = None,
    cache: KVCache | None = None,
) -> Tensor:
    """What a rollout does: each block is predicted from noise over a cache, then its clean frames are committed."""
    cache = KVCache(layers=LAYERS, capacity=window + sink) if cache is None else cache
    outs = []
    for block in blocks:
        frames = tuple(block)
        cache.drop(range(sink, max(sink, block.stop - window)))
        seen = (CUE,) * len(block) if cues is None else tuple(cues[f] for f in block)
        sigma = torch.full((1, len(block)), SIGMA)
        part = slice(block.start, block.stop)
        outs.append(denoise(noisy[:, :, part], sigma, frames=frames, cues=seen, context=cache))
        denoise.commit(clean[:, :, part], frames=frames, cues=seen, context=cache)
    return torch.cat(outs, dim=2)


def cut(frames: int, block: int) -> list[range]:
    return [range(start, min(start + block, frames)) for start in range(0, frames, block)]


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def clean_and_noisy(frames: int) -> tuple[Tensor, Tensor]:
    return latents(frames), latents(frames, seed=1)


def keys(cache: KVCache, layer: int) -> dict[int, Tensor]:
    """Un-rotated keys by frame."""
    read = cache.read(layer)
    return {} if read is None else dict(zip(cache.frames, read[0].split(TOKENS, dim=1), strict=True))


@pytest.mark.parametrize("block", [1, 2, 3])
@torch.no_grad()
def test_p1_p7_a_cached_rollout_is_one_block_causal_teacher_forcing_pass(dit: VideoDiT, block: int) -> None:
    clean, noisy = clean_and_noisy(6)
    out = rolled(denoiser(dit), clean, noisy, cut(6, block), window=6)
    close(out, reference(dit, clean, noisy, cut(6, block), window=6))


@pytest.mark.parametrize("block", [1, 2, 3])
@torch.no_grad()
def test_p1_refed_clean_frames_under_the_mask_are_the_cache(dit: VideoDiT, block: int) -> None:
    """Diffusion Forcing's way to the same: no memory, all frames in one pass, later blocks unseen."""
    clean, noisy = clean_and_noisy(6)
    cached = rolled(denoiser(dit), clean, noisy, cut(6, block), window=6)
    refed = denoiser(dit, block=block)
    for part in cut(6, block):
        x = torch.cat((clean[:, :, : part.start], noisy[:, :, part.start : part.stop]), dim=2)
        sigma = torch.tensor([[0.0] * part.start + [SIGMA] * len(part)])
        out = refed(x, sigma, frames=tuple(range(part.stop)), cues=(CUE,) * part.stop, context=None)
        close(out[:, :, part.start :], cached[:, :, part.start : part.stop])


@settings(max_examples=20)
@given(
    st.integers(1, 2),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(0, 2),
    st.sampled_from([absolute, by_rank, sink_in_front]),
)
@example(1, 6, 2, 1, by_rank)  # the last block finds slots out of order
@example(1, 6, 3, 2, sink_in_front)
@example(3, 4, 4, 2, sink_in_front)
@torch.no_grad()
def test_p2_p3_window_and_sink_are_their_mask(block: int, blocks: int, more: int, sink: int, scheme: Scheme) -> None:
    dit, (clean, noisy) = tiny_dit(), clean_and_noisy(block * blocks)
    parts, window = cut(block * blocks, block), block + more
    out = rolled(denoiser(dit, scheme=scheme), clean, noisy, parts, window=window, sink=sink)
    close(out, reference(dit, clean, noisy, parts, window=window, sink=sink, scheme=scheme))


@torch.no_grad()
def test_p4_cache_relative_positions_matter_once_something_behind_a_sink_is_gone(dit: VideoDiT) -> None:
    clean, noisy = clean_and_noisy(6)
    for sink in (0, 1):
        a, b = (
            rolled(denoiser(dit, scheme=scheme), clean, noisy, cut(6, 1), window=3, sink=sink)
            for scheme in (absolute, by_rank)
        )
        whole = 6 if sink == 0 else 4  # frame 4 is the first that sees 0, 2, 3 and itself
        close(a[:, :, :whole], b[:, :, :whole])
        assert whole == 6 or (a - b)[:, :, whole:].abs().amax((0, 1, 3, 4)).min() > 1e-4


@pytest.mark.parametrize("layers", [1, 2])
@torch.no_grad()
def test_p5_recaching_is_a_fresh_rollout_of_the_window_and_not_the_rolled_cache(layers: int) -> None:
    """Evicted frames leak through depth: the two are the same in a model of one layer alone."""
    window, clean = 3, latents(6)
    denoise = denoiser(tiny_dit(num_layers=layers))
    old, fresh = (KVCache(layers=layers, capacity=window) for _ in range(2))
    rolled(denoise, clean, clean, cut(6, 1), window=window, cache=old)
    again = old.fork()
    again.drop(range(6))
    for cache in (fresh, again):
        for f in range(3, 6):
            denoise.commit(clean[:, :, f : f + 1], frames=(f,), cues=(CUE,), context=cache)
    outs = {}
    for name, cache in (("old", old), ("fresh", fresh), ("again", again)):
        sigma = torch.full((1, 1), SIGMA)
        outs[name] = denoise(latents(1, seed=1), sigma, frames=(6,), cues=(CUE,), context=cache)
    assert torch.equal(outs["again"], outs["fresh"])
    assert bool((outs["again"] - outs["old"]).abs().max() > 1e-4) == (layers > 1)
    close(keys(old, 0)[3], keys(again, 0)[3])


@torch.no_grad()
def test_p5_recaching_under_the_same_prompt_before_anything_is_gone_changes_nothing(dit: VideoDiT) -> None:
    clean, cache = latents(4), KVCache(layers=LAYERS, capacity=4)
    denoise = denoiser(dit)
    rolled(denoise, clean, clean, cut(4, 2), window=4, cache=cache)
    before = {layer: keys(cache, layer) for layer in range(LAYERS)}
    cache.drop(range(4))
    for block in cut(4, 2):
        part = slice(block.start, block.stop)
        denoise.commit(clean[:, :, part], frames=tuple(block), cues=(CUE, CUE), context=cache)
    for layer, wanted in before.items():
        assert all(torch.equal(wanted[f], k) for f, k in keys(cache, layer).items())


@pytest.mark.parametrize("shift", [5000, -7])
@torch.no_grad()
def test_p6_only_differences_of_positions_count(dit: VideoDiT, shift: int) -> None:
    clean, noisy = clean_and_noisy(4)
    here = rolled(denoiser(dit), clean, noisy, cut(4, 2), window=4)
    moved = denoiser(dit, scheme=lambda visible: tuple(f + shift for f in visible))
    close(rolled(moved, clean, noisy, cut(4, 2), window=4), here)
    apart = denoiser(dit, scheme=lambda visible: tuple(2 * f for f in visible))
    assert (rolled(apart, clean, noisy, cut(4, 2), window=4) - here).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [(0, 1, 2, 3, 4, 5), (0, 1, 6, 7, 8, 9), (1, 2, 3, 7, 8, 9), (-2, -1, 0, 1, 2, 3)])
@torch.no_grad()
def test_p8_later_blocks_change_nothing_and_blocks_are_those_of_the_clip(
    dit: VideoDiT, frames: tuple[int, ...]
) -> None:
    """With gaps behind a sink, and windows that begin within a block."""
    denoise, x = denoiser(dit, block=3), latents(6)
    sigma = torch.linspace(0.1, 0.9, 6)[None]
    whole = denoise(x, sigma, frames=frames, cues=(CUE,) * 6, context=None)
    sees = torch.tensor([[k // 3 <= q // 3 for k in frames] for q in frames])
    apart = torch.tensor([[k - q for k in frames] for q in frames])
    no_time = Rope(positions=lambda visible: (0,) * len(visible))
    velocity = dit(x, sigma, words(), frames=frames, rope=no_time, attention=Naive(sees, apart))
    close(whole, x - sigma[:, None, :, None, None] * velocity)
    for stop in range(1, 6):
        if frames[stop] // 3 == frames[stop - 1] // 3:
            continue
        short = denoise(x[:, :, :stop], sigma[:, :stop], frames=frames[:stop], cues=(CUE,) * stop, context=None)
        torch.testing.assert_close(whole[:, :, :stop], short, rtol=0, atol=1e-6)


def test_blocks_that_do_not_rise_are_a_mistake(dit: VideoDiT) -> None:
    with pytest.raises(AssertionError, match="blocks of 2 frames rise"):
        denoiser(dit, block=2)(latents(2), torch.zeros(1, 2), frames=(4, 1), cues=(CUE, CUE), context=None)


@torch.no_grad()
def test_p9_a_window_of_all_is_no_window_and_of_a_block_no_memory(dit: VideoDiT) -> None:
    clean, noisy = clean_and_noisy(6)
    denoise, parts = denoiser(dit), cut(6, 2)
    whole = rolled(denoise, clean, noisy, parts, window=6)
    assert torch.equal(rolled(denoise, clean, noisy, parts, window=60), whole)
    alone = [
        denoise(
            noisy[:, :, p.start : p.stop], torch.full((1, 2), SIGMA), frames=tuple(p), cues=(CUE,) * 2, context=None
        )
        for p in parts
    ]
    assert torch.equal(rolled(denoise, clean, noisy, parts, window=2), torch.cat(alone, dim=2))


@torch.no_grad()
def test_p10_given_latents_fill_the_cache_as_generated_ones_do(dit: VideoDiT) -> None:
    denoise, noisy = denoiser(dit), latents(4)
    generated, pushed = (KVCache(layers=LAYERS, capacity=4) for _ in range(2))
    made = []
    for block in cut(4, 2):
        x = noisy[:, :, block.start : block.stop]
        for sigma, to in ((1.0, 0.5), (0.5, 0.0)):
            levels = torch.full((1, 2), sigma)
            x0 = denoise(x, levels, frames=tuple(block), cues=(CUE,) * 2, context=generated)
            x = x0 + to / sigma * (x - x0)
        denoise.commit(x, frames=tuple(block), cues=(CUE,) * 2, context=generated)
        made.append(x)
    for block, x in zip(cut(4, 2), made, strict=True):
        denoise.commit(x, frames=tuple(block), cues=(CUE,) * 2, context=pushed)
    a, b = generated.state_dict(), pushed.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
def test_p11_a_batch_is_its_items(dit: VideoDiT) -> None:
    clean, noisy = latents(4, batch=2), latents(4, batch=2, seed=1)
    both = denoiser(dit, torch.cat((words(1), words(2))))
    together = rolled(both, clean, noisy, cut(4, 2), window=3)
    for i in range(2):
        one = slice(i, i + 1)
        close(rolled(denoiser(dit, words(i + 1)), clean[one], noisy[one], cut(4, 2), window=3), together[one])


@torch.no_grad()
def test_p11_guidance_with_two_caches_is_guidance_over_a_batch(dit: VideoDiT) -> None:
    clean, noisy = clean_and_noisy(4)
    guided: Guided[KVCache] = Guided(cond=denoiser(dit, words(1)), uncond=denoiser(dit, words(2)), scale=5.0)
    memory = Branches(KVCache(layers=LAYERS, capacity=3), KVCache(layers=LAYERS, capacity=3))
    apart = rolled(guided, clean, noisy, cut(4, 1), window=3, cache=memory)  # type: ignore[arg-type]
    both = denoiser(dit, torch.cat((words(1), words(2))))
    twice = rolled(both, clean.repeat(2, 1, 1, 1, 1), noisy.repeat(2, 1, 1, 1, 1), cut(4, 1), window=3)
    cond, uncond = twice.split(1)
    torch.testing.assert_close(apart, uncond + 5.0 * (cond - uncond), rtol=0, atol=1e-4)


@pytest.mark.parametrize("scheme", [absolute, by_rank])
@torch.no_grad()
def test_p12_slots_in_any_order_attend_alike(dit: VideoDiT, scheme: Scheme) -> None:
    clean, noisy = clean_and_noisy(4)
    denoise = denoiser(dit, scheme=scheme)
    straight = KVCache(layers=LAYERS, capacity=3)
    for f in range(3):
        denoise.commit(clean[:, :, f : f + 1], frames=(f,), cues=(CUE,), context=straight)
    outs = []
    for order in ([0, 1, 2], [2, 0, 1], [1, 0, 2]):
        cache = KVCache(layers=LAYERS, capacity=3)
        for layer in range(LAYERS):
            held = straight.read(layer)
            assert held is not None
            k, v = (h.unflatten(1, (3, TOKENS))[:, order].flatten(1, 2) for h in held)
            cache.write(layer, [0, 1, 2], k, v)
        cache.publish(order, [0, 1, 2])
        sigma = torch.full((1, 1), SIGMA)
        outs.append(denoise(noisy[:, :, 3:], sigma, frames=(3,), cues=(CUE,), context=cache))
    close(outs[0], outs[1])
    close(outs[0], outs[2])


@pytest.mark.parametrize("window", [2, 3, 6])
@torch.no_grad()
def test_p13_a_pattern_that_keeps_all_is_dense_in_every_window(dit: VideoDiT, window: int) -> None:
    clean, noisy = clean_and_noisy(6)

    def out(attention: VideoAttention) -> Tensor:
        denoise = WanDenoiser(dit=dit, texts=TextBook(dit, (words(),)), attention=attention, causal_block=2)
        return rolled(denoise, clean, noisy, cut(6, 2), window=window, sink=1)

    for executor in ("gather", "reference"):
        close(out(SparseAttention(Full(), executor=executor, block=5)), out(Dense()))


@torch.no_grad()
def test_p13_a_pattern_within_a_causal_mask_keeps_what_both_keep(dit: VideoDiT) -> None:
    """A window of frames to both sides under a block-causal mask."""
    x, sigma = latents(6), torch.full((1, 6), SIGMA)
    near = SparseAttention(Window(frames=1), executor="gather", block=4)
    out = dit(x, sigma, words(), causal_block=2, attention=near)
    i = torch.arange(6)
    sees = (abs(i[:, None] - i) <= 1) & (i // 2 <= i[:, None] // 2)
    no_time = Rope(positions=lambda visible: (0,) * len(visible))
    close(out, dit(x, sigma, words(), rope=no_time, attention=Naive(sees, i - i[:, None])))


@torch.no_grad()
def test_p34_forks_go_on_alike_and_leave_the_parent_alone(dit: VideoDiT) -> None:
    clean, noisy = clean_and_noisy(6)
    denoise, parent = denoiser(dit), KVCache(layers=LAYERS, capacity=3)
    rolled(denoise, clean, noisy, cut(4, 1), window=3, cache=parent)
    before = {layer: keys(parent, layer) for layer in range(LAYERS)}
    after = [range(4, 5), range(5, 6)]
    outs = [rolled(denoise, clean, noisy, after, window=3, cache=parent.fork()) for _ in range(2)]
    assert torch.equal(outs[0], outs[1])
    for layer, wanted in before.items():
        assert all(torch.equal(wanted[f], k) for f, k in keys(parent, layer).items())
    assert torch.equal(rolled(denoise, clean, noisy, after, window=3, cache=parent), outs[0])


@torch.no_grad()
def test_p35_a_change_to_the_same_prompt_is_none(dit: VideoDiT) -> None:
    clean, noisy = clean_and_noisy(6)
    twice = denoiser(dit, words(), words().clone())
    stays, changes = [CUE] * 6, [CUE] * 3 + [Cue(prompt=1)] * 3
    out = rolled(twice, clean, noisy, cut(6, 2), window=4, cues=stays)
    close(rolled(twice, clean, noisy, cut(6, 2), window=4, cues=changes), out)  # within a block too
    assert torch.equal(rolled(twice, clean, noisy, cut(6, 1), window=4, cues=changes),
                       rolled(twice, clean, noisy, cut(6, 1), window=4, cues=stays))  # fmt: skip
    other = denoiser(dit, words(), words(2))
    assert (rolled(other, clean, noisy, cut(6, 2), window=4, cues=changes) - out)[:, :, 3:].abs().max() > 1e-3


@pytest.mark.parametrize(("window", "sink"), [(6, 0), (3, 0), (3, 1), (2, 2)])
def test_keys_that_are_held_turned_attend_as_those_turned_by_each_reader(dit: VideoDiT, window: int, sink: int) -> None:
    clean, noisy = clean_and_noisy(6)
    room = window + sink
    turned, plain = (KVCache(layers=LAYERS, capacity=room, turned=it) for it in (True, False))
    ways = [
        rolled(denoiser(dit), clean, noisy, cut(6, 1), window=window, sink=sink, cache=it) for it in (turned, plain)
    ]
    close(*ways)
    assert turned.frames == plain.frames


def test_turned_keys_cannot_be_placed_elsewhere(dit: VideoDiT) -> None:
    clean, cache = latents(2), KVCache(layers=LAYERS, capacity=2, turned=True)
    placed = denoiser(dit, scheme=CachePositions())
    with pytest.raises(AssertionError, match="turned keys stay"):
        placed.commit(clean, frames=(0, 1), cues=(CUE, CUE), context=cache)
