"""Shares, means, paired differences and areas with 95 % intervals, for the scores of benchmarks.

What lies in 0..1 and what does not are told apart by the caller: `mean_share` knows that ten of ten is no certainty,
which of a distance of 0 cannot be said. Intervals come from `resampling.py`, and for bare shares from Wilson.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from vgen.evaluate.resampling import drawn, middle_95, places_of
from vgen.judge.calibration.metrics import auc_figure
from vgen.judge.card import Figure
from vgen.playground.score import wilson

__all__ = ["area", "mean", "mean_share", "paired", "percent", "ratio", "share"]

_ROUNDING = 1e-9  # by which a sum of shares may miss 0 and 1

Floats = npt.NDArray[np.float64]


def share(answers: Sequence[bool]) -> Figure:
    """How many are true; the interval takes the answers as independent."""
    if not answers:
        return Figure(value=None)
    right = sum(map(bool, answers))
    return Figure(value=right / len(answers), interval=wilson(right, len(answers)), count=len(answers))


def mean(values: Sequence[float], units: Sequence[Hashable] | None = None) -> Figure:
    """The mean of a quantity of any size: a distance, an error, a grade.

    Args:
        values: finite.
        units: what is drawn with all its values; each value is a unit of its own where None.

    Returns:
        its interval is None for a single unit, which says nothing of others.
    """
    if not values:
        return Figure(value=None)
    values_N = np.asarray(values, dtype=np.float64)
    assert np.isfinite(values_N).all(), "a mean of figures that are not finite"
    unit_N = places_of(units, len(values_N))
    interval = _interval(values_N, unit_N) if unit_N.max() > 0 else None
    return Figure(value=float(values_N.mean()), interval=interval, count=len(values))


def mean_share(values: Sequence[float], units: Sequence[Hashable] | None = None) -> Figure:
    """As `mean`, of values in 0..1.

    Where all are 0 or all are 1, resampling says nothing; there the interval is Wilson's over the units.
    """
    outside = [value for value in values if not -_ROUNDING <= value <= 1 + _ROUNDING]
    assert not outside, f"shares lie in 0..1, got {outside[0]}"
    figure = mean(values, units)
    if not values or min(values) != max(values) or values[0] not in (0.0, 1.0):
        return figure
    count = int(places_of(units, len(values)).max()) + 1
    return Figure(value=figure.value, interval=wilson(round(values[0]) * count, count), count=figure.count)


def paired(ours: Sequence[float], theirs: Sequence[float], units: Sequence[Hashable] | None = None) -> Figure:
    """The mean difference of values that belong together, by the paired bootstrap; units as in `mean`."""
    assert len(ours) == len(theirs), f"pairs differ in number: {len(ours)} and {len(theirs)}"
    return mean([a - b for a, b in zip(ours, theirs, strict=True)], units)


def ratio(ours: Sequence[float], theirs: Sequence[float], units: Sequence[Hashable] | None = None) -> Figure:
    """The mean of ours over the mean of theirs, by the paired bootstrap; units as in `mean`.

    Args:
        ours, theirs: values that belong together, none of theirs negative.

    Returns:
        no value where theirs are all 0, and no interval for a single unit, or where a resample may hold but zeros.
    """
    assert len(ours) == len(theirs), f"pairs differ in number: {len(ours)} and {len(theirs)}"
    ours_N, theirs_N = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    assert np.isfinite(ours_N).all() and (theirs_N >= 0).all(), "a ratio of figures that are not finite or negative"
    if not theirs_N.any():
        return Figure(value=None, count=len(ours))
    unit_N = places_of(units, len(ours))
    interval = None
    if unit_N.max() > 0:
        above_S, below_S = np.bincount(unit_N, weights=ours_N), np.bincount(unit_N, weights=theirs_N)
        drawn_RS = drawn(len(below_S))
        below_R = below_S[drawn_RS].sum(axis=1)
        interval = middle_95(above_S[drawn_RS].sum(axis=1) / below_R) if below_R.all() else None
    return Figure(value=float(ours_N.sum() / theirs_N.sum()), interval=interval, count=len(ours))


def area(
    better: Sequence[float], better_units: Sequence[Hashable], worse: Sequence[float], worse_units: Sequence[Hashable]
) -> Figure:
    """How often any of the better is scored above any of the worse, a tie counting one half: the area under the ROC.

    Args:
        better, worse: scores, of which larger means better.
        better_units, worse_units: of each of them; a unit is drawn with all its scores on both sides.
    """
    places_N = places_of([*better_units, *worse_units], len(better) + len(worse))
    strength_N = -np.array([*better, *worse], dtype=np.float64)  # there, larger means worse
    cut = len(better)
    return auc_figure(strength_N[:cut], places_N[:cut], strength_N[cut:], places_N[cut:])


def percent(figure: Figure) -> Figure:
    """A share as percentage points."""
    if figure.value is None:
        return figure
    interval = figure.interval and (100 * figure.interval[0], 100 * figure.interval[1])
    return Figure(value=100 * figure.value, interval=interval, count=figure.count)


def _interval(values_N: Floats, unit_N: npt.NDArray[np.intp]) -> tuple[float, float]:
    total_S, count_S = np.bincount(unit_N, weights=values_N), np.bincount(unit_N)
    drawn_RS = drawn(len(count_S))
    return middle_95(total_S[drawn_RS].sum(axis=1) / count_S[drawn_RS].sum(axis=1))
