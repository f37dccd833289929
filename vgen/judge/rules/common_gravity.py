"""common_gravity: all bodies in free flight have the same acceleration.

Formula: |a_i - a_j| over the mean of |a_i| and |a_j|, each the weighted mean over a body's flights.
Source: Galilei, Discorsi (1638): bodies fall alike; the equivalence principle.
Strength: share of the acceleration, beyond 3 standard errors. Two drops from rest are left to `drop_ratio`.
Abstains where fewer than two bodies fly, or where half of the acceleration is less than the noise.
"""

from itertools import combinations

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.flights import Fall, falls

__all__ = ["RULE"]


def measure(observation: Observation) -> Measured:
    pairs = [
        (one, other) for one, other in combinations(falls(observation), 2) if one.drop is None or other.drop is None
    ]
    if not pairs:
        return Abstention(status="not_applicable", reason="no two bodies fly freely, one of them thrown")
    found = tuple(m for one, other in pairs if (m := _of(one, other)) is not None)
    return found or Abstention(
        status="undecidable", reason="a difference of half the acceleration would drown in noise"
    )


def _of(one: Fall, other: Fall) -> Measurement | None:
    scale = float(np.linalg.norm(one.pull_2) + np.linalg.norm(other.pull_2)) / 2
    sigma = float(np.hypot(one.sigma, other.sigma))
    if 3 * sigma > 0.5 * scale:
        return None
    apart = float(np.linalg.norm(one.pull_2 - other.pull_2))
    ids = (one.path.track.id, other.path.track.id)
    return Measurement(
        strength=max(0.0, apart - 3 * sigma) / scale,
        frames=(min(one.frames[0], other.frames[0]), max(one.frames[1], other.frames[1])),
        objects=ids,
        quantity="difference of two accelerations over their size",
        value=apart / scale,
        expected=0.0,
        sigma=sigma / scale,
        text=f"the accelerations of things {ids[0]} and {ids[1]} in flight differ by {apart / scale:.0%}",
    )


RULE = Rule(
    name="common_gravity",
    group="mechanics",
    statement="All bodies in free flight have the same acceleration.",
    measure=measure,
)
