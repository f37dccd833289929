"""What every schedule owes, over all its knobs; test_published.py holds each to the method that it is made after."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samplers.cases import CASES, Case, pyramids
from vgen.samplers import Lift, Move, Pyramid, Queue, Step

every_schedule = pytest.mark.parametrize("kind", CASES)
some = settings(max_examples=60)


def changes(case: Case) -> Iterator[tuple[Move, dict[int, int], dict[int, int]]]:
    """Each move, with the levels of all frames before and after it.

    Frames start at S, known ones and copies for a queue apart; what a move says of a frame must be where it stands.
    """
    levels = {frame: 0 if frame < case.known else case.schedule.num_steps for frame in range(case.frames)}
    for move in case.schedule.steps(case.frames, known=case.known):
        before = dict(levels)
        if isinstance(move, Lift):
            assert all(before[source] == 0 for source in move.sources), "only clean frames are lifted"
            levels |= dict(zip(move.frames, move.levels, strict=True))
        else:
            assert [before[frame] for frame in move.frames] == list(move.level_from)
            levels |= dict(zip(move.frames, move.level_to, strict=True))
        yield move, before, levels


@every_schedule
@given(data=st.data())
@some
def test_moves_are_counted_and_as_many_as_said(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    moves = list(case.schedule.steps(case.frames, known=case.known))
    assert [move.index for move in moves] == list(range(len(moves)))
    assert len(moves) == case.schedule.total(case.frames, known=case.known)


@every_schedule
@given(data=st.data())
@some
def test_every_frame_falls_to_zero_from_where_it_stood(kind: str, data: st.DataObject) -> None:
    """P16: levels fall alone within a step, known frames never change, and in the end all is clean."""
    case = data.draw(CASES[kind])
    levels: dict[int, int] = {}
    for move, before, after in changes(case):
        levels = dict(after)
        assert all(0 <= level <= case.schedule.num_steps for level in levels.values())
        assert all(levels[frame] == 0 for frame in range(case.known)), "known frames stay as they are"
        if isinstance(move, Step):
            assert all(after[frame] <= before[frame] for frame in before)
    assert set(levels.values()) == {0}


@every_schedule
@given(data=st.data())
@some
def test_frames_are_finished_once_in_order_and_left_alone(kind: str, data: st.DataObject) -> None:
    """P37: no frame is dropped, and none is handed out before it is clean. A queue's copies leave before the clip."""
    case = data.draw(CASES[kind])
    finished: list[int] = []
    seen: set[int] = set()
    for move, before, after in changes(case):
        assert all(before[frame] == after[frame] for frame in finished)
        seen |= set(move.frames)
        if isinstance(move, Step):
            assert all(after[frame] == 0 and frame in seen for frame in move.commit)
            finished += move.commit
    assert finished == list(range(finished[0], case.frames)) and finished[0] <= 0


@every_schedule
@given(data=st.data())
@some
def test_bounds_hold_that_a_model_and_a_memory_are_sized_by(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind])
    front = 0
    for move in case.schedule.steps(case.frames, known=case.known):
        assert move.frames.stop <= case.frames
        if isinstance(move, Lift):
            front = min(front, move.frames.start)
            continue
        assert 1 <= len(move.frames) <= case.schedule.in_flight(case.frames)
        assert move.frames.start >= front - case.schedule.looks_back
        front = move.commit.stop if move.commit else front


@every_schedule
@given(data=st.data())
@some
def test_uniform_schedules_change_frames_of_one_level(kind: str, data: st.DataObject) -> None:
    """Solvers with a history rely on it."""
    case = data.draw(CASES[kind])
    for move in case.schedule.steps(case.frames, known=case.known):
        if isinstance(move, Step) and case.schedule.uniform:
            moves = {(a, b) for a, b in zip(move.level_from, move.level_to, strict=True) if a != b}
            assert len(moves) <= 1, move


@pytest.mark.parametrize("kind", ["pyramid", "pyramid in clips", "queue"])
@given(data=st.data())
@some
def test_a_stream_without_end_begins_like_a_long_run(kind: str, data: st.DataObject) -> None:
    case = data.draw(CASES[kind].filter(lambda c: not isinstance(c.schedule, Pyramid) or c.schedule.lag > 0))
    known = case.known
    endless = list(itertools.islice(case.schedule.steps(None, known=known), 30))
    long = list(itertools.islice(case.schedule.steps(case.frames + 360, known=known), 30))
    assert endless == long
    assert all(len(move.frames) <= case.schedule.in_flight(None) for move in endless if isinstance(move, Step))


@given(pyramids(), pyramids(clips=True))
def test_a_block_of_a_pyramid_falls_one_level_at_a_time(plain: Case, clips: Case) -> None:
    """P16: each frame gets S updates, so their sum is S for every frame that is not known."""
    for case in (plain, clips):
        steps = case.schedule.num_steps
        paths: dict[int, list[int]] = {frame: [steps] for frame in range(case.known, case.frames)}
        for move, before, after in changes(case):
            for frame in move.frames:
                if before[frame] != after[frame]:
                    paths[frame].append(after[frame])
        assert all(path == list(range(steps, -1, -1)) for path in paths.values())


@given(pyramids())
def test_levels_of_a_pyramid_rise_along_the_clip(case: Case) -> None:
    for move in case.schedule.steps(case.frames):
        assert isinstance(move, Step)
        assert list(move.level_from) == sorted(move.level_from)


@given(pyramids())
def test_p16_a_step_shows_every_block_under_way_and_few_others(case: Case) -> None:
    """At most ceil(S / lag) blocks are under way; those that wait are shown where `ahead` asks for them."""
    pyramid = replace_ahead(case, 0)
    at_most = case.frames if pyramid.lag == 0 else -(-pyramid.num_steps // pyramid.lag) * pyramid.block
    for move, before, _ in changes(Case(pyramid, case.frames, 0)):
        under_way = {frame for frame, level in before.items() if 0 < level < pyramid.num_steps}
        assert under_way <= set(move.frames)
        assert len(move.frames) <= at_most


@given(pyramids())
def test_waiting_frames_in_sight_change_nothing_of_what_happens(case: Case) -> None:
    shown = [dict(after) for _, _, after in changes(case)]
    hidden = [dict(after) for _, _, after in changes(Case(replace_ahead(case, 0), case.frames, case.known))]
    assert shown == hidden


@given(pyramids(), st.integers(1, 3))
def test_p18_known_blocks_leave_the_schedule_of_the_rest(case: Case, ready: int) -> None:
    pyramid = replace_ahead(case, 0)
    shift = ready * pyramid.block
    rest = [(s.level_from, s.level_to, [f + shift for f in s.frames]) for s in pyramid.steps(case.frames)]
    whole = list(pyramid.steps(case.frames + shift, known=shift))
    assert [(s.level_from, s.level_to, list(s.frames)) for s in whole[ready:]] == rest
    assert all(not step.updates for step in whole[:ready])


@given(pyramids(clips=True))
def test_a_clip_waits_for_the_one_before_it(case: Case) -> None:
    assert isinstance(case.schedule, Pyramid) and case.schedule.clip is not None
    clips = [range(start, start + case.schedule.clip) for start in range(0, case.frames, case.schedule.clip)]
    for move, before, _ in changes(Case(case.schedule, case.frames, 0)):
        clip = next(clip for clip in clips if move.frames.start in clip)
        assert set(move.frames) <= set(clip)
        assert all(before[frame] == 0 for frame in range(clip.start))


def replace_ahead(case: Case, ahead: int) -> Pyramid:
    assert isinstance(case.schedule, Pyramid)
    return replace(case.schedule, ahead=ahead)


@given(steps=st.integers(1, 6), frames=st.integers(1, 8), known=st.integers(0, 8))
def test_p29_a_queue_in_one_part_is_a_pyramid(steps: int, frames: int, known: int) -> None:
    known = min(known, frames)
    queue = Queue(num_steps=steps, window=steps, lookahead=False, primer=False)
    pyramid = Pyramid(num_steps=steps, lag=1)
    assert falls(queue.steps(frames, known=known)) == falls(pyramid.steps(frames, known=known))


def falls(moves: Iterator[Move]) -> list[tuple[object, ...]]:
    """What changes and what leaves, whatever the known frames were committed by."""
    return [
        (move.frames, move.level_from, move.level_to, move.commit)
        for move in moves
        if isinstance(move, Step) and move.updates
    ]


@pytest.mark.parametrize("frames", [7, 8])
def test_p37_a_tail_that_fills_no_block_is_refused_and_not_dropped(frames: int) -> None:
    """SkyReels-V2 in diffusers denoises F // block blocks and loses the rest."""
    with pytest.raises(AssertionError, match=f"{frames} frames are no multiple of blocks of 3"):
        list(Pyramid(num_steps=2, lag=1, block=3).steps(frames))
