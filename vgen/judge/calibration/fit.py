"""From what a rule measured on the calibration split to its scale: which strength counts how much.

    low        95 % of possible clips lie below it
    threshold  from here on `violated`: at most 1 % of possible clips reach it; where clear violations leave more room
               than that, it stands in the middle of the room; where they leave none, 2 %, and at most 3 %, or one
               clip of twenty or more
    high       the median of clear violations

A rule that was seen on too few clips has no scale and stays uncalibrated; neither has one that does not measure
violations of its own law stronger than possible clips.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vgen.judge.calibration.outcomes import Floats, Outcomes
from vgen.judge.calibration.suite import CLEAR
from vgen.judge.card import Scale

__all__ = ["MIN_BROKEN", "MIN_POSSIBLE", "ONE_OF", "Fit", "fit_rules", "fit_scale"]

MIN_POSSIBLE = 12
MIN_BROKEN = 8
FALSE_ALARMS = (0.01, 0.02, 0.03)  # the first that leaves room ...
ONE_OF = 20  # ... and of so many clips one, since of fewer than 34 even 3 % is none
BELOW_LOW = 0.95
WEAK = 0.1  # share of clear violations that may lie below the middle of the room
MIN_STRENGTH = 1e-3  # below this, a strength is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What came of fitting one rule.

    Args:
        scale: None where there is none.
        possible, broken: clips that it measured, of which kind.
        problem: why there is no scale; empty where there is one.
    """

    scale: Scale | None
    possible: int
    broken: int
    problem: str = ""


def fit_rules(outcomes: Outcomes) -> Mapping[str, Fit]:
    """A fit per rule, from all possible clips and the clear violations of its own law."""
    severity_P = np.array([piece.severity for piece in outcomes.pieces])
    law_P = np.array([piece.law or "" for piece in outcomes.pieces])
    edited_P = np.array([piece.attack is not None for piece in outcomes.pieces], dtype=bool)
    fits = {}
    for number, rule in enumerate(outcomes.rules):
        measured_P = outcomes.measured_PR[:, number]
        broken_P = measured_P & (law_P == rule) & (severity_P >= CLEAR) & ~edited_P
        strength_P = outcomes.strength_PR[:, number]
        fits[rule] = fit_scale(strength_P[measured_P & outcomes.possible_P], strength_P[broken_P])
    return fits


def fit_scale(possible_P: Floats, broken_P: Floats) -> Fit:
    """The fit to the strengths of possible clips and of clear violations."""

    def without(problem: str) -> Fit:
        return Fit(scale=None, possible=possible_P.size, broken=broken_P.size, problem=problem)

    if possible_P.size < MIN_POSSIBLE or broken_P.size < MIN_BROKEN:
        return without(
            f"measured on {possible_P.size} possible clips and {broken_P.size} violations;"
            f" needs {MIN_POSSIBLE} and {MIN_BROKEN}"
        )
    # `higher`, and a little more: a quantile between two values would let one clip more through than it says
    leasts = [float(np.quantile(possible_P, 1 - share, method="higher")) * (1 + 1e-6) for share in FALSE_ALARMS]
    if possible_P.size >= ONE_OF:
        leasts.append(float(np.sort(possible_P)[-2]) * (1 + 1e-6))
    low = float(np.quantile(possible_P, BELOW_LOW))
    weak, high = (float(np.quantile(broken_P, share)) for share in (WEAK, 0.5))
    least = next((least for least in leasts if max(least, MIN_STRENGTH) < high), None)
    if least is None:
        return without(f"violations of its law measure {high:.3g} in the median, possible clips up to {leasts[-1]:.3g}")
    threshold = max(least, (least + weak) / 2, MIN_STRENGTH)
    low, threshold, high = map(_rounded_up, (min(low, 0.9 * threshold), threshold, max(high, 1.1 * threshold)))
    scale = Scale(low=low, threshold=threshold, high=high)
    return Fit(scale=scale, possible=possible_P.size, broken=broken_P.size)


def _rounded_up(value: float) -> float:
    """The next number of five digits, which is what the card holds; down would let more clips through."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 4)
    return float(f"{math.ceil(value / unit) * unit:.5g}")
