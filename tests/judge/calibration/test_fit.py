"""Scales fitted to strengths whose distributions are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgen.judge.calibration.fit import MIN_BROKEN, MIN_POSSIBLE, ONE_OF, fit_scale

quick = settings(derandomize=True, max_examples=80, deadline=None)
strengths = st.floats(0, 5, allow_nan=False)


def _normal(key: int, mean: float, size: int) -> np.ndarray:
    return np.abs(np.random.Generator(np.random.Philox(key=key)).normal(mean, 1, size))


def test_few_false_alarms_on_clips_that_were_not_fitted_to() -> None:
    scale = fit_scale(_normal(1, 0, 2000), _normal(2, 4, 500)).scale
    assert scale is not None
    fresh = _normal(3, 0, 20000)
    assert (fresh >= scale.threshold).mean() <= 0.015
    assert (fresh > scale.low).mean() == pytest.approx(0.05, abs=0.02)
    assert (_normal(4, 4, 20000) >= scale.high).mean() == pytest.approx(0.5, abs=0.05)


def test_where_there_is_room_the_threshold_stands_in_its_middle() -> None:
    scale = fit_scale(np.linspace(0, 1, 200), np.linspace(9, 11, 101)).scale
    assert scale is not None
    assert scale.threshold == pytest.approx((1 + 9.2) / 2, rel=1e-3)
    assert scale.high == pytest.approx(10, rel=1e-3)


def test_a_rule_that_possible_clips_never_move_has_a_scale_above_rounding() -> None:
    scale = fit_scale(np.zeros(100), np.full(20, 0.4)).scale
    assert scale is not None
    assert 0 <= scale.low < scale.threshold == pytest.approx(0.2)
    assert scale.high >= 0.4


@pytest.mark.parametrize(
    ("possible", "broken"),
    [(np.zeros(MIN_POSSIBLE - 1), np.ones(50)), (np.zeros(50), np.ones(MIN_BROKEN - 1)), (np.zeros(0), np.zeros(0))],
)
def test_too_few_clips_are_no_calibration(possible: np.ndarray, broken: np.ndarray) -> None:
    fit = fit_scale(possible, broken)
    assert fit.scale is None
    assert str(MIN_POSSIBLE) in fit.problem


def test_a_few_odd_clips_do_not_silence_a_rule() -> None:
    """Two possible clips of a hundred measure more than any violation: they stay false alarms, 2 %."""
    fit = fit_scale(np.concatenate([np.zeros(98), [5.0, 6.0]]), np.full(40, 1.0))
    assert fit.scale is not None and fit.scale.threshold < 1
    assert fit_scale(np.concatenate([np.zeros(90), np.full(10, 5.0)]), np.full(40, 1.0)).scale is None


def test_one_odd_clip_of_a_small_set_does_not_silence_a_rule_either() -> None:
    broken = np.linspace(0.3, 0.9, 40)
    fit = fit_scale(np.array([*np.zeros(ONE_OF - 1), 2.0]), broken)
    assert fit.scale is not None and fit.scale.threshold < broken.min()
    assert fit_scale(np.array([*np.zeros(ONE_OF - 2), 2.0, 2.0]), broken).scale is None
    assert fit_scale(np.array([*np.zeros(ONE_OF - 2), 2.0]), broken).scale is None


def test_a_blind_rule_is_no_rule() -> None:
    assert fit_scale(_normal(5, 0, 300), _normal(6, 0, 300)).scale is None
    assert fit_scale(np.zeros(100), np.zeros(100)).scale is None


@quick
@given(st.lists(strengths, min_size=MIN_POSSIBLE, max_size=60), st.lists(strengths, min_size=MIN_BROKEN, max_size=30))
def test_whatever_the_strengths_a_scale_rises_and_lets_few_through(possible: list[float], broken: list[float]) -> None:
    scale = fit_scale(np.array(possible), np.array(broken)).scale
    if scale is not None:
        assert 0 <= scale.low < scale.threshold < scale.high
        through = np.sum(np.array(possible) >= scale.threshold)
        assert through <= 0.03 * len(possible) or (through == 1 and len(possible) >= ONE_OF)
