"""Statistics against closed forms and against counting one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgen.judge.calibration.metrics import (
    auc,
    auc_figure,
    mean_figure,
    psychometric,
    rising,
    temporal_iou,
    wins,
)

few = st.lists(st.integers(0, 4), min_size=1, max_size=12).map(lambda values: np.array(values, dtype=np.float64))
spans = st.tuples(st.integers(0, 20), st.integers(0, 10)).map(lambda span: (span[0], span[0] + span[1]))
quick = settings(derandomize=True, max_examples=60, deadline=None)


@quick
@given(few, few)
def test_auc_is_the_share_of_all_pairs_told_rightly(possible: np.ndarray, impossible: np.ndarray) -> None:
    pairs = [1.0 if i > p else 0.5 if i == p else 0.0 for p in possible for i in impossible]
    assert auc(possible, impossible) == pytest.approx(np.mean(pairs))
    assert auc(impossible, possible) == pytest.approx(1 - np.mean(pairs))


def test_auc_of_two_normals_is_that_of_the_textbook() -> None:
    """d' = 1: the area is the normal distribution at 1/sqrt(2), .7602."""
    draw = np.random.Generator(np.random.Philox(key=3)).normal
    figure = auc_figure(draw(0, 1, 2000), np.arange(2000), draw(1, 1, 2000), np.arange(2000))
    assert figure.value == pytest.approx(0.7602, abs=0.02)
    assert figure.interval is not None
    assert figure.interval[0] < 0.7602 < figure.interval[1]
    assert figure.interval[1] - figure.interval[0] < 0.05


@quick
@given(few)
def test_wins_against_itself_are_ties_and_swapped_they_turn(strengths: np.ndarray) -> None:
    assert np.all(wins(strengths, strengths) == 0.5)
    other = strengths[::-1]
    assert np.array_equal(wins(strengths, other), 1 - wins(other, strengths))


@quick
@given(few, st.data())
def test_a_mean_lies_within_its_interval(values: np.ndarray, data: st.DataObject) -> None:
    values = values / 4
    scene = np.array(data.draw(st.lists(st.integers(0, 3), min_size=values.size, max_size=values.size)))
    figure = mean_figure(values, scene)
    assert figure.value == pytest.approx(values.mean())
    assert figure.count == values.size
    if figure.value is not None and figure.interval is not None:
        assert 0 <= figure.interval[0] <= figure.value + 1e-9
        assert figure.value - 1e-9 <= figure.interval[1] <= 1


def test_the_interval_of_a_mean_is_that_of_scenes_and_not_of_clips() -> None:
    """Ten equal clips a scene tell no more than one: sd of a share of 50 scenes at one half is .0707."""
    draw = np.random.Generator(np.random.Philox(key=1))
    per_scene = (draw.random(50) < 0.5).astype(np.float64)
    once = mean_figure(per_scene, np.arange(50)).interval
    tenfold = mean_figure(np.repeat(per_scene, 10), np.repeat(np.arange(50), 10)).interval
    assert once is not None and once == tenfold
    assert once[1] - once[0] == pytest.approx(2 * 1.96 * 0.0707, rel=0.15)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.Generator(np.random.Philox(key=2))
    held = []
    for seed in range(120):
        chance = draw.beta(6, 3, size=60)  # of each scene; 2/3 in the mean
        told = np.where(draw.random((60, 4)) < chance[:, None], 1.0, 0.0)
        figure = mean_figure(told.ravel(), np.repeat(np.arange(60), 4))
        assert figure.interval is not None, seed
        held.append(figure.interval[0] <= 2 / 3 <= figure.interval[1])
    assert np.mean(held) > 0.88


def test_nothing_counted_is_no_figure_and_unanimity_is_not_certainty() -> None:
    empty = mean_figure(np.array([]), np.array([], dtype=int))
    assert (empty.value, empty.interval, empty.count) == (None, None, 0)
    figure = mean_figure(np.ones(40), np.repeat(np.arange(20), 2))
    assert figure.value == 1
    assert figure.interval == pytest.approx((0.839, 1.0), abs=1e-3)  # Wilson: 20 out of 20


def test_random_strengths_stand_at_one_half() -> None:
    """The null floor: clips of no difference are told apart by chance alone."""
    draw = np.random.Generator(np.random.Philox(key=4))
    scene = np.repeat(np.arange(300), 2)
    figure = mean_figure(wins(draw.random(600), draw.random(600)), scene)
    assert figure.interval is not None and figure.interval[0] < 0.5 < figure.interval[1]
    area = auc_figure(draw.random(600), scene, draw.random(600), scene)
    assert area.interval is not None and area.interval[0] < 0.5 < area.interval[1]


@quick
@given(spans, spans)
def test_iou_is_that_of_sets_of_frames(found: tuple[int, int], true: tuple[int, int]) -> None:
    one, other = (set(range(span[0], span[1] + 1)) for span in (found, true))
    assert temporal_iou(found, true) == pytest.approx(len(one & other) / len(one | other))


@quick
@given(few)
def test_rising_never_falls_keeps_the_mean_and_leaves_what_rises(values: np.ndarray) -> None:
    weights = np.ones(values.size)
    smooth = rising(values, weights)
    assert np.all(np.diff(smooth) >= -1e-12)
    assert smooth.mean() == pytest.approx(values.mean())
    assert np.allclose(rising(np.sort(values), weights), np.sort(values))


def test_the_75_percent_point_of_a_known_curve() -> None:
    """Told rightly with chance 1/2 + s/2: three quarters at severity .5."""
    draw = np.random.Generator(np.random.Philox(key=5))
    severity = np.repeat([0.1, 0.25, 0.5, 0.75, 1.0], 800)
    won = np.where(draw.random(severity.size) < 0.5 + severity / 2, 1.0, 0.0)
    curve = psychometric(severity, won, np.arange(severity.size))
    assert curve.point_75 == pytest.approx(0.5, abs=0.05)
    assert [share.count for share in curve.shares] == [800] * 5
    blind = psychometric(severity, np.full(severity.size, 0.5), np.arange(severity.size))
    assert blind.point_75 is None
