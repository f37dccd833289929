"""Position schemes: what is moved against what."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vgen.samplers import AbsolutePositions, CachePositions, SinkPositions, SinkWindow

SCHEMES = st.sampled_from([AbsolutePositions(), CachePositions(), SinkPositions(0), SinkPositions(2), SinkPositions(5)])


def apart(positions: tuple[int, ...]) -> list[int]:
    return [position - positions[0] for position in positions]


def visible(sink: int, window: int, start: int, count: int) -> tuple[int, ...]:
    """What a sink and a window leave in sight of a step over frames start .. start + count - 1."""
    return (*SinkWindow(window=window, sink=sink).visible(start, start + count), *range(start, start + count))


numbers = st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(0, 40), st.integers(1, 4))


@given(SCHEMES, st.sets(st.integers(-6, 30), min_size=1))
def test_positions_rise_with_the_frames_one_for_each(scheme: AbsolutePositions, frames: set[int]) -> None:
    positions = scheme(tuple(sorted(frames)))
    assert len(positions) == len(frames)
    assert all(a < b for a, b in pairwise(positions))


@given(numbers)
def test_p4_cache_positions_are_those_of_a_moved_sink_up_to_a_shift(numbers: tuple[int, int, int, int]) -> None:
    """Where the window has no gap; rotary embedding knows differences alone."""
    sink, window, start, count = numbers
    frames = visible(sink, max(window, count), start, count)
    assert apart(CachePositions()(frames)) == apart(SinkPositions(sink)(frames))


@given(numbers)
def test_p4_a_moved_sink_stands_where_it_is_until_something_leaves(numbers: tuple[int, int, int, int]) -> None:
    sink, window, start, count = numbers
    frames = visible(sink, max(window, count), start, count)
    gone = len(frames) < start + count
    moved = SinkPositions(sink)(frames)
    if not gone:
        assert moved == AbsolutePositions()(frames) == CachePositions()(frames)
    elif sink:
        assert moved != frames
    assert moved[-count:] == frames[-count:], "frames of the step stand at their own index"


@given(numbers)
def test_p4_without_a_sink_all_schemes_agree_on_distances(numbers: tuple[int, int, int, int]) -> None:
    _, window, start, count = numbers
    frames = visible(0, max(window, count), start, count)
    for scheme in (CachePositions(), SinkPositions(0), SinkPositions(3)):
        if isinstance(scheme, SinkPositions) and scheme.sink and frames[0] < scheme.sink:
            continue
        assert apart(scheme(frames)) == apart(frames)


@given(numbers)
def test_no_distance_in_a_cache_is_longer_than_what_is_visible(numbers: tuple[int, int, int, int]) -> None:
    sink, window, start, count = numbers
    frames = visible(sink, max(window, count), start, count)
    positions = CachePositions()(frames)
    assert positions[-1] - positions[0] == len(frames) - 1 < sink + max(window, count)


def test_a_moved_sink_keeps_gaps_in_the_window_and_frames_before_the_clip() -> None:
    assert SinkPositions(2)((0, 1, 7, 8, 11)) == (5, 6, 7, 8, 11)
    assert SinkPositions(2)((-3, 0, 1, 7)) == (-3, 5, 6, 7)
    assert SinkPositions(2)((0, 1)) == (0, 1)
