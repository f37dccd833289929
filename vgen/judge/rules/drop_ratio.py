"""drop_ratio: times of fall from rest go as the square roots of the heights.

Formula: |ln((t1^2 h2) / (t2^2 h1))| over pairs of bodies dropped from rest; t and h from the parabola's highest
point to the last frame of the fall.
Source: Galilei's law of odd numbers (Discorsi, 1638); as a scale-free test of generated clips: arXiv:2512.02016.
Strength: natural logarithm of the ratio, beyond 3 standard errors.
Abstains where fewer than two bodies drop from rest, or where a factor of 1.5 is less than the noise.
"""

from itertools import combinations

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.flights import Fall, falls

__all__ = ["RULE"]


def measure(observation: Observation) -> Measured:
    drops = [fall for fall in falls(observation) if fall.drop is not None]
    if len(drops) < 2:
        return Abstention(status="not_applicable", reason="no two bodies drop from rest")
    found = tuple(m for one, other in combinations(drops, 2) if (m := _of(one, other)) is not None)
    return found or Abstention(status="undecidable", reason="a ratio of 1.5 would drown in noise")


def _time_squared_over_height(fall: Fall) -> tuple[float, float]:
    """t^2 / h of a drop in frames^2 per pixel, and its relative standard error."""
    drop = fall.drop
    assert drop is not None
    pull = float(drop.fit.at(drop.middle, 2)[1])
    top = drop.first - float(drop.velocity(drop.first)[1]) / pull
    time, height = drop.last - top, float(drop.fit.at(drop.last)[1] - drop.fit.at(top)[1])
    return time**2 / height, drop.fit.error(drop.middle, 2) / pull


def _of(one: Fall, other: Fall) -> Measurement | None:
    (first, first_error), (second, second_error) = map(_time_squared_over_height, (one, other))
    sigma = float(np.hypot(first_error, second_error))
    if 3 * sigma > np.log(1.5):
        return None
    ratio = first / second
    ids = (one.path.track.id, other.path.track.id)
    return Measurement(
        strength=max(0.0, abs(float(np.log(ratio))) - 3 * sigma),
        frames=(min(one.frames[0], other.frames[0]), max(one.frames[1], other.frames[1])),
        objects=ids,
        quantity="t1^2 h2 over t2^2 h1 of two drops",
        value=ratio,
        expected=1.0,
        sigma=ratio * sigma,
        text=f"time squared over height of the drops of things {ids[0]} and {ids[1]} have the ratio {ratio:.2f}",
    )


RULE = Rule(
    name="drop_ratio",
    group="mechanics",
    statement="Times of fall from rest go as the square roots of the heights.",
    measure=measure,
)
