"""The pyramid's matrix: invariants over all lags and block sizes."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from vgen.samplers import Pyramid, Step

pyramids = st.integers(1, 6).flatmap(
    lambda steps: st.builds(Pyramid, num_steps=st.just(steps), lag=st.integers(0, steps), block=st.integers(1, 3))
)


def walk(pyramid: Pyramid, frames: int, known: int = 0) -> tuple[list[Step], dict[int, list[int]]]:
    """All steps, and each frame's levels in the order it passed through them."""
    steps = list(pyramid.steps(frames, known=known))
    levels: dict[int, list[int]] = {}
    for step in steps:
        for frame, start, stop in zip(step.frames, step.level_from, step.level_to, strict=True):
            if start != stop:
                levels.setdefault(frame, [start]).append(stop)
    return steps, levels


@given(pyramids, st.integers(1, 5))
def test_every_frame_falls_one_level_at_a_time_to_zero(pyramid: Pyramid, blocks: int) -> None:
    _, levels = walk(pyramid, blocks * pyramid.block)
    assert set(levels) == set(range(blocks * pyramid.block))
    assert all(path == list(range(pyramid.num_steps, -1, -1)) for path in levels.values())


@given(pyramids, st.integers(1, 5), st.integers(0, 4))
def test_frames_are_committed_once_in_order_and_total_is_true(pyramid: Pyramid, blocks: int, known: int) -> None:
    frames = blocks * pyramid.block
    known = min(known, frames)
    steps, levels = walk(pyramid, frames, known)
    assert [f for step in steps for f in step.commit] == list(range(frames))
    assert len(steps) == pyramid.total(frames, known=known)
    assert [step.index for step in steps] == list(range(len(steps)))
    assert set(levels) == set(range(known, frames))


@given(pyramids, st.integers(1, 5))
def test_levels_match_the_formula_and_rise_along_the_clip(pyramid: Pyramid, blocks: int) -> None:
    for step in pyramid.steps(blocks * pyramid.block):
        expected = tuple(
            pyramid.num_steps - min(max(step.index - pyramid.lag * (f // pyramid.block), 0), pyramid.num_steps)
            for f in step.frames
        )
        assert step.level_from == expected
        assert list(step.level_from) == sorted(step.level_from)


@given(pyramids, st.integers(1, 5))
def test_at_most_ceil_s_over_a_blocks_are_in_flight(pyramid: Pyramid, blocks: int) -> None:
    at_most = blocks if pyramid.lag == 0 else -(-pyramid.num_steps // pyramid.lag)
    for step in pyramid.steps(blocks * pyramid.block):
        assert len(step.frames) <= at_most * pyramid.block


@given(pyramids.filter(lambda p: p.lag > 0))
def test_a_stream_without_end_begins_like_a_long_run(pyramid: Pyramid) -> None:
    endless = list(itertools.islice(pyramid.steps(None), 12))
    long = list(itertools.islice(pyramid.steps(100 * pyramid.block), 12))
    assert endless == long


@given(pyramids, st.integers(1, 4), st.integers(1, 3))
def test_known_blocks_leave_the_schedule_of_the_rest(pyramid: Pyramid, blocks: int, ready: int) -> None:
    shift = ready * pyramid.block
    rest = [
        (step.level_from, step.level_to, [f + shift for f in step.frames])
        for step in pyramid.steps(blocks * pyramid.block)
    ]
    whole = list(pyramid.steps((blocks + ready) * pyramid.block, known=shift))
    assert [(s.level_from, s.level_to, list(s.frames)) for s in whole[ready:]] == rest
    assert all(not step.updates for step in whole[:ready])
