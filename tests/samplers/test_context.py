"""What steps see of finished frames: cached or shown again, under which prompt, in how much memory.

`CausalMix` reads earlier frames through two layers, so what a memory holds is visible in what comes out.
"""

from collections import Counter
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.oracles import CausalMix, FrameContext, GaussianMean, KnownTarget, MixContext
from tests.samplers.runs import NOISE, SHAPE, latents, rollout, some_clip
from vgen.samplers import (
    Euler,
    FrameSchedule,
    Pyramid,
    Queue,
    Renoise,
    SinkWindow,
    Solver,
    Timeline,
)
from vgen.samplers.context import Memory, OnPrompt

CHANGES: tuple[OnPrompt, ...] = ("keep", "flush", "recache")
ALL = 100  # a window that nothing ever leaves

shapes = st.integers(1, 4).flatmap(
    lambda steps: st.tuples(
        st.just(steps), st.integers(1, steps), st.integers(1, 3), st.integers(1, 4)
    )  # steps, lag, block, blocks
)


@given(shapes, st.sampled_from([Euler(), Renoise()]), st.integers(0, 3))
@settings(max_examples=30)
def test_p19_a_cache_is_the_clean_frames_shown_again(
    shape: tuple[int, int, int, int], solver: Solver, known: int
) -> None:
    """A causal model, a window of everything: whatever the lag, cached and recomputed rollouts are one."""
    steps, lag, block, blocks = shape
    schedule, frames = Pyramid(num_steps=steps, lag=lag, block=block), block * blocks
    given_CTHW = some_clip(min(known, frames)) if known else None
    cached, refed = (
        rollout(
            CausalMix(block=block),
            schedule,
            frames,
            solver=solver,
            policy=SinkWindow(window=ALL, memory=memory, block=block),
            known_CTHW=given_CTHW,
        )
        for memory in ("kv", "refeed")
    )
    torch.testing.assert_close(latents(cached, MixContext()), latents(refed), rtol=0, atol=1e-6)


def test_p19_a_window_that_rolls_remembers_through_depth_what_is_gone() -> None:
    """So a cache and a recomputed window differ once a frame has left; a model of one layer would not tell."""
    cached, refed = (
        rollout(CausalMix(), Pyramid(num_steps=2, lag=2), 6, policy=SinkWindow(window=3, memory=memory))
        for memory in ("kv", "refeed")
    )
    a, b = latents(cached, MixContext()), latents(refed)
    torch.testing.assert_close(a[:, :, :3], b[:, :, :3], rtol=0, atol=1e-6)
    assert not torch.allclose(a[:, :, 5], b[:, :, 5], atol=1e-4)


@given(shapes, st.integers(1, 3), st.sampled_from(["kv", "refeed"]))
@settings(max_examples=30)
def test_p21a_the_first_blocks_do_not_depend_on_how_many_follow(
    shape: tuple[int, int, int, int], more: int, memory: Memory
) -> None:
    steps, lag, block, blocks = shape
    schedule = Pyramid(num_steps=steps, lag=lag, block=block)
    policy = SinkWindow(window=block if lag == steps else ALL, memory=memory, block=block)
    short, long = (
        latents(
            rollout(CausalMix(block=block), schedule, count * block, policy=policy),
            MixContext() if memory == "kv" else None,
        )
        for count in (blocks, blocks + more)
    )
    torch.testing.assert_close(long[:, :, : blocks * block], short, rtol=0, atol=1e-6)


# --- which frames are seen -------------------------------------------------------------------------------------------


def test_the_window_forgets_all_but_sink_and_last_frames() -> None:
    context, denoise = FrameContext(), KnownTarget(torch.zeros(2, 12, 3, 4))
    latents(rollout(denoise, Pyramid(num_steps=2, lag=2), 12, policy=SinkWindow(window=4, sink=1)), context)
    assert context.frames == [0, 8, 9, 10, 11]


@given(shapes, st.integers(0, 4), st.integers(1, 9))
@settings(max_examples=30)
def test_what_is_shown_again_is_what_a_cache_would_hold(
    shape: tuple[int, int, int, int], sink: int, window: int
) -> None:
    steps, lag, block, blocks = shape
    schedule, frames = Pyramid(num_steps=steps, lag=lag, block=block), blocks * block
    window = max(window, schedule.in_flight(frames))
    refed, cached, context = KnownTarget(some_clip(frames)), KnownTarget(some_clip(frames)), FrameContext()
    latents(rollout(refed, schedule, frames, policy=SinkWindow(window=window, sink=sink, memory="refeed")))
    run = rollout(cached, schedule, frames, policy=SinkWindow(window=window, sink=sink))
    held = []
    for _ in run.run(run.start(context)):
        held.append(list(context.frames))
    before = [[], *held[:-1]]
    for again, once, remembered in zip(refed.calls, cached.calls, before, strict=True):
        past = again.frames[: len(again.frames) - len(once.frames)]
        stop = once.frames[-1] + 1
        assert [f for f in remembered if f < sink or f >= stop - window] == list(past)
        assert past == tuple(f for f in range(once.frames[0]) if f < sink or f >= stop - window)


@given(st.integers(1, 8), st.integers(1, 5), st.booleans(), st.booleans())
@settings(max_examples=20)
def test_only_finished_frames_are_shown_again(steps: int, window: int, lookahead: bool, primer: bool) -> None:
    """A queue shows its noisiest part first, with unfinished frames in front of it."""
    queue = Queue(num_steps=steps, window=window, lookahead=lookahead, primer=primer)
    policy = SinkWindow(window=20, memory="refeed", noise=0.25)
    denoise = KnownTarget(some_clip(7))
    run = rollout(denoise, queue, 7, policy=policy)
    state = run.start()
    fronts = []
    front = state.front
    for progress in run.run(state):
        fronts += [front] * (progress.x0_BCTHW is not None)
        front = state.front
    for call, at in zip(denoise.calls, fronts, strict=True):
        assert all(frame < at for frame, sigma in zip(call.frames, call.sigmas, strict=True) if sigma == 0.25)
        assert max(Counter(call.frames).values()) == 1


# --- noise on what is remembered, and what the model is told of it ----------------------------------------------------


@pytest.mark.parametrize(("told", "label"), [(None, 0.1), (0.3, 0.3)])
def test_a_cache_is_written_from_noised_frames_under_their_label(told: float | None, label: float) -> None:
    target, context = some_clip(3), FrameContext()
    denoise = KnownTarget(target)
    policy = SinkWindow(window=ALL, noise=0.1, told=told)
    out = latents(rollout(denoise, Pyramid(num_steps=2, lag=2), 3, policy=policy), context)
    assert torch.equal(out[0], target), "the clip itself stays clean"
    for frame, commit in enumerate(denoise.commits):
        assert commit.labels == [label]
        noised = 0.9 * target[:, frame] + 0.1 * NOISE.fresh(frame, -1, SHAPE)
        torch.testing.assert_close(commit.x_BCTHW[0, :, 0], noised)


@pytest.mark.parametrize(("told", "label"), [(None, 0.1), (0.3, 0.3)])
def test_frames_are_shown_again_under_new_noise_in_every_step(told: float | None, label: float) -> None:
    target = some_clip(2)
    denoise = KnownTarget(target)
    policy = SinkWindow(window=ALL, memory="refeed", noise=0.1, told=told)
    out = latents(rollout(denoise, Pyramid(num_steps=2, lag=2), 2, policy=policy))
    assert torch.equal(out[0], target), "the clip itself stays clean"
    for index, call in enumerate(denoise.calls[2:], start=2):
        assert (call.frames, call.sigmas[0], call.labels[0]) == ((0, 1), 0.1, label)
        assert call.labels[1] == call.sigmas[1] > 0.1
        noised = 0.9 * target[:, 0] + 0.1 * NOISE.fresh(0, index, SHAPE)
        torch.testing.assert_close(call.x_BCTHW[0, :, 0], noised)


def test_without_noise_a_cache_is_told_clean_frames() -> None:
    denoise, context = KnownTarget(some_clip(2)), FrameContext()
    latents(rollout(denoise, Pyramid(num_steps=1, lag=1), 2, policy=SinkWindow(window=ALL)), context)
    assert [commit.labels for commit in denoise.commits] == [[0.0], [0.0]]


# --- a new prompt ----------------------------------------------------------------------------------------------------


def told_prompts(on_prompt: OnPrompt) -> list[dict[int, int]]:
    """For each step the prompt of each frame that it shows, for six frames of one step with a new prompt at 3."""
    denoise = KnownTarget(some_clip(6))
    policy = SinkWindow(window=4, sink=1, memory="refeed", on_prompt=on_prompt, kept=1)
    latents(rollout(denoise, Pyramid(num_steps=1, lag=1), 6, policy=policy, prompts=Timeline((0, 3))))
    return [dict(zip(c.frames, (cue.prompt for cue in c.cues), strict=True)) for c in denoise.calls]


def test_kept_frames_are_shown_again_under_their_own_prompt() -> None:
    assert told_prompts("keep")[3:] == [
        {0: 0, 1: 0, 2: 0, 3: 1},
        {0: 0, 1: 0, 2: 0, 3: 1, 4: 1},
        {0: 0, 2: 0, 3: 1, 4: 1, 5: 1},
    ]


def test_a_flush_leaves_the_sink_and_the_last_frames() -> None:
    assert told_prompts("flush")[3:] == [{0: 0, 2: 0, 3: 1}, {0: 0, 2: 0, 3: 1, 4: 1}, {0: 0, 2: 0, 3: 1, 4: 1, 5: 1}]


def test_recached_frames_are_shown_again_under_the_new_prompt() -> None:
    assert told_prompts("recache")[2:] == [
        {0: 0, 1: 0, 2: 0},
        {0: 1, 1: 1, 2: 1, 3: 1},
        {0: 1, 1: 1, 2: 1, 3: 1, 4: 1},
        {0: 1, 2: 1, 3: 1, 4: 1, 5: 1},
    ]


def committed(on_prompt: OnPrompt) -> tuple[list[tuple[tuple[int, ...], int]], list[int]]:
    """What is written to a cache, frames and prompt, over four blocks of two with a new prompt at 4; what is held."""
    denoise, context = KnownTarget(some_clip(8)), FrameContext()
    policy = SinkWindow(window=4, sink=2, on_prompt=on_prompt, kept=0, block=2)
    schedule = Pyramid(num_steps=1, lag=1, block=2)
    latents(rollout(denoise, schedule, 8, policy=policy, prompts=Timeline((0, 4))), context)
    return [(c.frames, c.cues[0].prompt) for c in denoise.commits], context.frames


def test_a_cache_is_written_once_or_once_more_at_a_new_prompt() -> None:
    once = [((0, 1), 0), ((2, 3), 0), ((4, 5), 1), ((6, 7), 1)]
    assert committed("keep") == (once, [0, 1, 4, 5, 6, 7])
    assert committed("flush") == (once, [0, 1, 4, 5, 6, 7])
    again = [((0, 1), 1), ((2, 3), 1)]
    assert committed("recache") == (once[:2] + again + once[2:], [0, 1, 4, 5, 6, 7])


SAME: list[tuple[tuple[int, ...], int, OnPrompt]] = [
    ((0,), 8, "keep"),
    ((0, 4), 8, "keep"),
    ((0,), ALL, "keep"),
    ((0, 4), ALL, "recache"),
]


@pytest.mark.parametrize("memory", ["kv", "refeed"])
@pytest.mark.parametrize("lag", [1, 3])
def test_p35_a_change_to_the_same_prompt_is_none(memory: Memory, lag: int) -> None:
    """Under `keep`; under `recache` as long as nothing has left the window (P5)."""
    denoise, schedule = CausalMix(block=2, words=(0.5, 0.5)), Pyramid(num_steps=3, lag=lag, block=2)
    runs = [
        rollout(
            denoise,
            schedule,
            10,
            policy=SinkWindow(window=window, memory=memory, on_prompt=on_prompt, block=2),
            prompts=Timeline(starts),
        )
        for starts, window, on_prompt in SAME
    ]
    plain, kept, whole, recached = (latents(run, MixContext() if memory == "kv" else None) for run in runs)
    assert torch.equal(plain, kept)
    assert torch.equal(whole, recached)


@dataclass(frozen=True)
class Later:
    """The noise of `by` frames later."""

    by: int

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return NOISE.initial(frame + self.by, shape, before)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        raise AssertionError("Euler adds no noise")

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        raise AssertionError("nothing is lifted")


@pytest.mark.parametrize("window", [2, 4, 6])
def test_p5_recaching_is_a_fresh_rollout_of_the_last_frames_under_the_new_prompt(window: int) -> None:
    """Not the rolled cache, through whose depth evicted frames still speak."""
    block, change, frames = 2, 8, 14
    schedule = Pyramid(num_steps=3, lag=3, block=block)
    policy = SinkWindow(window=window, on_prompt="recache", block=block)
    run = rollout(CausalMix(block=block), schedule, frames, policy=policy, prompts=Timeline((0, change)))
    story, context = latents(run, held := MixContext()), held

    seen = window - block  # frames before the change that its first block sees
    by = change - seen
    fresh = rollout(CausalMix(block=block, words=(0.5,)), schedule, frames - by, policy=policy)
    fresh = replace(fresh, noise=Later(by), known_CTHW=story[0, :, by:change] if seen else None)
    again = latents(fresh, held := MixContext())
    torch.testing.assert_close(story[:, :, change:], again[:, :, seen:], rtol=0, atol=1e-6)
    assert list(context.values) == [frame + by for frame in held.values]
    for frame, value in held.values.items():
        torch.testing.assert_close(context.values[frame + by], value, rtol=0, atol=1e-6)


def test_recaching_and_flushing_do_change_what_follows() -> None:
    runs = [
        rollout(
            CausalMix(),
            Pyramid(num_steps=2, lag=2),
            6,
            policy=SinkWindow(window=4, on_prompt=on_prompt, kept=1),
            prompts=Timeline((0, 3)),
        )
        for on_prompt in CHANGES
    ]
    kept, flushed, recached = (latents(run, MixContext()) for run in runs)
    assert torch.equal(kept[:, :, :3], flushed[:, :, :3]) and torch.equal(kept[:, :, :3], recached[:, :, :3])
    for a, b in ((kept, flushed), (kept, recached), (flushed, recached)):
        assert not torch.allclose(a[:, :, 3:], b[:, :, 3:], atol=1e-3)


# --- memory ----------------------------------------------------------------------------------------------------------


BLOCKS = Pyramid(num_steps=2, lag=2, block=3)
LONG = [
    pytest.param(BLOCKS, SinkWindow(window=9, sink=3), 3, id="streaming"),
    pytest.param(BLOCKS, SinkWindow(window=9, sink=3, on_prompt="recache"), 3 + 9 + 3, id="streaming, recached"),
    pytest.param(BLOCKS, SinkWindow(window=9, sink=3, memory="refeed"), 3 + 9 + 3, id="streaming, shown again"),
    pytest.param(Pyramid(num_steps=4, lag=1), SinkWindow(window=8, sink=1), 4, id="rolling"),
    pytest.param(Pyramid(num_steps=4, lag=2, ahead=6), SinkWindow(window=6, memory="refeed"), 6 + 6, id="ar-diffusion"),
    pytest.param(Pyramid(num_steps=2, lag=0, clip=4), SinkWindow(window=6, memory="refeed"), 4 + 6, id="story"),
    pytest.param(Queue(num_steps=4, window=2), None, 4 + 1, id="fifo"),
]


@pytest.mark.parametrize(("schedule", "policy", "most"), LONG)
def test_a_run_without_end_holds_a_fixed_number_of_latents(
    schedule: FrameSchedule, policy: SinkWindow | None, most: int
) -> None:
    context = FrameContext() if policy is not None and policy.memory == "kv" else None
    run = rollout(GaussianMean(0.7), schedule, None, policy=policy, prompts=Timeline((0, 100, 300)))
    run = replace(run, shape=(1, 1, 1))
    state = run.start(context)
    made = 0
    for progress in run.run(state):
        assert len(state.latents) <= most
        if context is not None and policy is not None:
            assert len(context.frames) <= policy.capacity
        made += 0 if progress.latents_BCTHW is None else progress.latents_BCTHW.shape[2]
        if made >= 500:
            return
