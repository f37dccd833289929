"""The figures of benchmarks: closed forms, and intervals that cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen.evaluate.statistics import area, mean, mean_share, paired, percent, ratio, share
from vgen.judge.card import Figure
from vgen.playground.score import wilson

shares = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def test_nothing_is_no_figure() -> None:
    for figure in (share([]), mean([]), mean_share([]), area([], [], [], []), percent(mean([]))):
        assert figure.value is None
        assert figure.interval is None
        assert figure.count == 0


def test_a_share_has_wilsons_interval() -> None:
    figure = share([True, True, False, True])
    assert (figure.value, figure.interval, figure.count) == (0.75, wilson(3, 4), 4)


@given(shares)
def test_a_mean_lies_in_its_interval_and_does_not_depend_on_the_draw(values: list[float]) -> None:
    figure = mean(values)
    assert figure == mean(values)
    assert figure.interval is not None
    low, high = figure.interval
    assert figure.value is not None
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12 or min(values) == max(values)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    intervals = [mean(rng.beta(2, 5, size=40).tolist()).interval for _ in range(200)]
    covered = np.mean([i is not None and i[0] <= 2 / 7 <= i[1] for i in intervals])
    assert 0.88 <= covered <= 0.99


def test_values_of_one_unit_are_no_independent_evidence() -> None:
    values = [0.2, 0.8] * 20
    apart, together = mean(values).interval, mean(values, units=[0, 1] * 20).interval
    assert apart is not None
    assert together is not None
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])
    assert mean([0.3, 0.4], units=["a", "a"]).interval is None


def test_shares_that_are_all_alike_are_still_uncertain() -> None:
    assert mean_share([1.0] * 10).interval == wilson(10, 10)
    assert mean_share([0.0] * 10).interval == wilson(0, 10)
    assert mean_share([1.0] * 10, units=[*range(5)] * 2).interval == wilson(5, 5)
    assert mean_share([0.0], units=["a"]).interval == wilson(0, 1)


def test_a_distance_of_0_or_1_is_no_share() -> None:
    """Wilson's interval of ten zeros reaches to .28, which means nothing in pixels."""
    assert mean([0.0] * 10).interval == (0, 0)
    assert mean([1.0] * 10).interval == (1, 1)
    assert mean([0.0]).interval is None


@given(shares)
def test_other_shares_have_the_interval_of_a_mean(values: list[float]) -> None:
    if {*values} not in ({0.0}, {1.0}):
        assert mean_share(values) == mean(values)


@pytest.mark.parametrize("value", [-0.1, 1.1, 4.0, float("nan")])
def test_what_is_no_share_is_refused(value: float) -> None:
    with pytest.raises(AssertionError, match=r"0\.\.1|not finite"):
        mean_share([0.5, value])


def test_percentage_points_keep_interval_and_count() -> None:
    assert percent(Figure(value=0.5, interval=(0.25, 0.75), count=3)) == Figure(value=50, interval=(25, 75), count=3)
    assert percent(Figure(value=0.5, count=1)) == Figure(value=50, count=1)


def test_the_area_counts_all_pairs_and_draws_units_from_both_sides() -> None:
    better, worse = [3.0, 1.0, 2.0], [2.0, 0.0]
    by_hand = np.mean([(b > w) + (b == w) / 2 for b in better for w in worse])
    figure = area(better, ["x", "y", "z"], worse, ["x", "z"])
    assert figure.value == pytest.approx(by_hand) and figure.count == 5
    assert figure.interval is not None and figure.interval[0] <= by_hand <= figure.interval[1]
    assert area(better, ["x"] * 3, worse, ["x"] * 2).interval is None


def test_a_paired_difference_sees_what_two_means_do_not() -> None:
    rng = np.random.default_rng(0)
    level = rng.uniform(size=50)
    figure = paired((level + 0.02).tolist(), level.tolist())
    assert figure.value == pytest.approx(0.02)
    assert figure.interval == pytest.approx((0.02, 0.02))


def test_a_ratio_of_pairs_sees_what_two_means_do_not() -> None:
    level = np.random.default_rng(0).uniform(size=50)
    figure = ratio((0.9 * level).tolist(), level.tolist())
    assert figure.value == pytest.approx(0.9) and figure.interval == pytest.approx((0.9, 0.9)) and figure.count == 50
    assert ratio([3.0, 1.0], [1.0, 1.0]).value == 2  # of means, not the mean of ratios
    noisy = ratio((level + np.random.default_rng(1).normal(0, 0.1, 50)).tolist(), level.tolist())
    assert noisy.interval is not None and noisy.value is not None
    assert noisy.interval[0] < noisy.value < noisy.interval[1] and noisy.interval[0] < 1 < noisy.interval[1]


def test_a_ratio_that_cannot_be_is_none() -> None:
    assert ratio([1.0, 2.0], [0.0, 0.0]) == Figure(value=None, count=2)
    assert ratio([1.0], [2.0]) == Figure(value=0.5, count=1)
    assert ratio([1.0, 1.0], [0.0, 1.0]).interval is None  # a resample may hold the 0 alone
    alike = ratio([1.0, 0.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0], units=["a", "a", "b", "b"])
    assert alike.value == 0.75 and alike.interval == (0.5, 1.0)
