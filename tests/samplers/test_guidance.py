"""Guidance: the algebra, and two branches that do not mix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import CausalMix, FrameContext, KnownTarget, MixContext
from tests.samplers.runs import latents, rollout, some_clip
from vgen.samplers import Branches, Cue, Guided, Pyramid, SinkWindow, Timeline

POLICY = SinkWindow(window=3, sink=1)
SCHEDULE = Pyramid(num_steps=2, lag=2)


@given(st.floats(1.01, 20))
@settings(max_examples=20)
def test_guidance_goes_from_one_answer_through_the_other(scale: float) -> None:
    cond, uncond = some_clip(3, seed=1), some_clip(3, seed=2)
    guided = Guided(cond=KnownTarget(cond), uncond=KnownTarget(uncond), scale=scale)
    out = latents(rollout(guided, SCHEDULE, 3))[0]
    torch.testing.assert_close(out, uncond + scale * (cond - uncond), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(out, scale * cond + (1 - scale) * uncond, rtol=1e-5, atol=1e-4)


def test_each_branch_is_asked_the_same_and_writes_its_own_memory() -> None:
    cond, uncond = KnownTarget(some_clip(6)), KnownTarget(some_clip(6))
    memory = Branches(FrameContext(), FrameContext())
    policy = SinkWindow(window=3, sink=1, noise=0.1, told=0.2)
    latents(rollout(Guided(cond=cond, uncond=uncond, scale=3.0), SCHEDULE, 6, policy=policy), memory)
    assert memory.cond.frames == memory.uncond.frames == [0, 3, 4, 5]
    for a, b in zip(cond.calls + cond.commits, uncond.calls + uncond.commits, strict=True):
        assert (a.frames, a.sigmas, a.labels, a.cues) == (b.frames, b.sigmas, b.labels, b.cues)
        assert torch.equal(a.x_BCTHW, b.x_BCTHW)
    assert {label for commit in uncond.commits for label in commit.labels} == {0.2}


def test_p11_two_equal_branches_are_one() -> None:
    """With a memory that rolls and a prompt that changes; u + s (c - u) of equal answers is the answer."""
    policy = SinkWindow(window=3, sink=1, on_prompt="recache")
    prompts, mix = Timeline((0, 3)), CausalMix()
    plain = latents(rollout(mix, SCHEDULE, 6, policy=policy, prompts=prompts), alone := MixContext())
    both = Branches(MixContext(), MixContext())
    guided = rollout(Guided(cond=mix, uncond=mix, scale=7.5), SCHEDULE, 6, policy=policy, prompts=prompts)
    assert torch.equal(latents(guided, both), plain)
    assert both.cond.same(alone) and both.uncond.same(alone)


def test_p11_memories_do_not_mix() -> None:
    """The unguided branch remembers under its own words."""
    cond, uncond = CausalMix(words=(0.5,)), CausalMix(words=(-0.5,))
    memory = Branches(MixContext(), MixContext())
    out = latents(rollout(Guided(cond=cond, uncond=uncond, scale=2.0), SCHEDULE, 4, policy=POLICY), memory)
    for denoise, held in ((cond, memory.cond), (uncond, memory.uncond)):
        given_again = rollout(denoise, SCHEDULE, 4, policy=POLICY, known_CTHW=out[0])
        latents(given_again, alone := MixContext())
        assert held.same(alone)


def test_a_fork_of_both_memories_is_two_forks() -> None:
    memory = Branches(FrameContext([1, 2]), FrameContext([2, 3]))
    fork = memory.fork()
    fork.drop([2])
    assert (fork.cond.frames, fork.uncond.frames) == ([1], [3])
    assert (memory.cond.frames, memory.uncond.frames) == ([1, 2], [2, 3])


ENDS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).filter(lambda ends: ends[0] < ends[1])


@given(ENDS, st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_frames_outside_of_the_interval_are_those_of_no_guidance(ends: list[float], lag: int) -> None:
    """Also in passes that carry frames within; and where the interval holds every level it changes nothing."""
    cond, uncond = KnownTarget(some_clip(5, seed=1)), KnownTarget(some_clip(5, seed=2))
    low, high = ends
    guided = Guided(cond=cond, uncond=uncond, scale=3.0, interval=(low, high))
    always = Guided(cond=cond, uncond=uncond, scale=3.0)
    sigma_BT = torch.tensor([[0.1, 0.4, low, high, 1.0]], dtype=torch.float64)[:, : 5 - lag]
    x_BCTHW, frames = torch.zeros(1, *some_clip(5).shape[1:]), tuple(range(5 - lag))
    x_BCTHW = x_BCTHW[:, :, : 5 - lag]
    cues = (Cue(prompt=0),) * len(frames)
    out = guided(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=None)
    plain = cond(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=None)
    full = always(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=None)
    for i, sigma in enumerate(sigma_BT[0].tolist()):
        wanted = full if low < sigma <= high else plain
        assert torch.equal(out[:, :, i], wanted[:, :, i])


def test_a_branch_that_is_left_out_is_not_run_and_remembers_all_the_same() -> None:
    cond, uncond = KnownTarget(some_clip(6)), KnownTarget(some_clip(6))
    memory = Branches(FrameContext(), FrameContext())
    guided = Guided(cond=cond, uncond=uncond, scale=3.0, interval=(0.0, 0.7))
    latents(rollout(guided, SCHEDULE, 6, policy=POLICY), memory)
    within = [call for call in cond.calls if max(call.sigmas) <= 0.7]
    assert 0 < len(within) < len(cond.calls)
    assert [call.sigmas for call in uncond.calls] == [call.sigmas for call in within]
    assert memory.cond.frames == memory.uncond.frames
    assert len(cond.commits) == len(uncond.commits) > 0


@pytest.mark.parametrize("scale", [1.0, 0.0, -2.0])
def test_a_scale_that_needs_no_second_branch_is_a_mistake(scale: float) -> None:
    with pytest.raises(AssertionError, match="needs no second branch"):
        Guided(cond=KnownTarget(some_clip(1)), uncond=KnownTarget(some_clip(1)), scale=scale)
