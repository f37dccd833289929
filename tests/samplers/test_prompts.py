"""Prompts over time: which frame sees which, and FreeNoise's published split."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import KnownTarget
from tests.samplers.runs import latents, rollout, some_clip
from vgen.samplers import BlendedTimeline, Cue, Pyramid, SinkWindow, Timeline

starts_of = st.sets(st.integers(1, 30), max_size=4).map(lambda later: (0, *sorted(later)))


@given(starts_of, st.integers(-5, 40))
def test_a_frame_sees_the_latest_prompt_that_has_begun(starts: tuple[int, ...], frame: int) -> None:
    (cue,) = Timeline(starts).cues([frame], 0.5)
    begun = [i for i, start in enumerate(starts) if start <= frame]
    assert cue == Cue(prompt=begun[-1] if begun else 0)
    assert Timeline(starts).since(frame) == starts[cue.prompt]


@pytest.mark.parametrize("starts", [(), (1,), (0, 0), (0, 5, 3)])
def test_prompts_that_do_not_follow_one_another_are_a_mistake(starts: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match="one after another"):
        Timeline(starts)


@pytest.mark.parametrize("frames", [16, 21, 64])
def test_two_prompts_share_a_clip_as_published(frames: int) -> None:
    """FreeNoise: the first for 3/8 of the frames, a linear passage over 2/8, the second for 3/8."""
    timeline = BlendedTimeline(starts=(0, frames // 2), frames=frames, inject=False)
    eighth = Fraction(frames, 8)
    for frame, cue in enumerate(timeline.cues(range(frames), 0.5)):
        if frames % 2 == 0:
            share = min(max(float((frame - 3 * eighth) / (2 * eighth)), 0.0), 1.0)
            assert seen(cue) == pytest.approx({0: 1 - share, 1: share})
        elif abs(frame - 4 * eighth) > eighth + 1:
            assert seen(cue) == {0: float(frame < 4 * eighth), 1: float(frame > 4 * eighth)}


def seen(cue: Cue) -> dict[int, float]:
    """How much of prompts 0 and 1 a frame sees."""
    shares = {0: 0.0, 1: 0.0}
    shares[cue.prompt] += 1 - cue.share
    if cue.other is not None:
        shares[cue.other] += cue.share
    return shares


def test_the_first_layers_see_the_coming_prompt_at_the_published_steps() -> None:
    """FreeNoise's motion injection over 50 steps: at 0..4 and 16..49 the first half of the layers sees the second
    prompt from every frame, at 5..15 each frame's own mixture."""
    frames = 16
    denoise = KnownTarget(some_clip(frames))
    run = rollout(denoise, Pyramid(num_steps=50, lag=0, block=frames), frames)
    latents(replace(run, prompts=BlendedTimeline(starts=(0, 8), frames=frames)))
    assert len(denoise.calls) == 50
    for step, call in enumerate(denoise.calls):
        early = [cue.prompt if cue.early is None else cue.early for cue in call.cues if cue.share == 0]
        blended = [cue.early for cue in call.cues if cue.share > 0]
        if step < 5 or step > 15:
            assert set(early) == {1} and set(blended) == {1}, step
        else:
            assert early == [0] * 7 + [1] * 6 and set(blended) == {None}, step
        plain = BlendedTimeline(starts=(0, 8), frames=frames, inject=False).cues(range(frames), 0.0)
        assert [(c.prompt, c.other, c.share) for c in call.cues] == [(c.prompt, c.other, c.share) for c in plain]


@given(starts_of, st.integers(1, 20))
def test_passages_are_smooth_and_meet_both_prompts(starts: tuple[int, ...], more: int) -> None:
    """Along the clip the prompt that is seen never goes back, and no step is larger than a passage allows."""
    frames = starts[-1] + more
    lengths = [b - a for a, b in pairwise((*starts, frames))]
    cues = BlendedTimeline(starts=starts, frames=frames, inject=False).cues(range(frames), 0.5)
    places = [cue.prompt + cue.share for cue in cues]
    assert places[0] == 0
    for (frame, a), (_, b) in pairwise(enumerate(places)):
        assert b >= a - 1e-9, f"frame {frame + 1} goes back"
        slope = max(4 / (left + right) for left, right in pairwise(lengths)) if len(lengths) > 1 else 0
        assert b - a <= slope + 1e-9
    assert all(cue.other is None or (cue.other == cue.prompt + 1 and 0 < cue.share < 1) for cue in cues)


def test_the_last_prompt_has_nothing_to_come() -> None:
    timeline = BlendedTimeline(starts=(0, 8), frames=16)
    assert timeline.cues([15], 0.0) == (Cue(prompt=1),)
    assert timeline.cues([0], 0.0) == (Cue(prompt=0, early=1),)
    assert BlendedTimeline(starts=(0,), frames=16).cues([3], 0.0) == (Cue(prompt=0),)


def test_a_rollout_asks_for_each_frame_it_shows() -> None:
    """Frames that are shown again included, and the share of steps that are done by the noisiest frame."""
    asked: list[tuple[list[int], float]] = []

    class Asked:
        def cues(self, frames: Sequence[int], done: float) -> tuple[Cue, ...]:
            asked.append((list(frames), done))
            return (Cue(prompt=0),) * len(frames)

        def since(self, frame: int) -> int:
            return 0

    policy = SinkWindow(window=4, memory="refeed")
    run = rollout(KnownTarget(some_clip(3)), Pyramid(num_steps=2, lag=1), 3, policy=policy)
    latents(replace(run, prompts=Asked()))
    assert asked == [([0], 0.0), ([0, 1], 0.0), ([1, 2], 0.0), ([0], 0.0), ([2], 0.5), ([0, 1], 0.5)]
