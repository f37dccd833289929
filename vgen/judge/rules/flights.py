"""How a body falls over a whole clip, in one figure: its mean acceleration in free flight. For the rules of gravity."""

from dataclasses import dataclass

import numpy as np

from vgen.judge.observation import Floats, Observation
from vgen.judge.rules.segments import Path, Segment, gravity, paths

__all__ = ["Fall", "falls", "falls_freely", "weightless"]

_FEWEST = 5  # frames of a flight
_HIDES_BOUNCE = 8  # frames: a shorter one that bends upwards may be two hops that a bounce joins
_AT_REST = 2.0  # frames: a drop begins this near to the parabola's highest point
_UPRIGHT = 0.15  # of a drop: way sideways over way down


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fall:
    """A body's free flights taken together.

    Args:
        path: the body.
        pull_2: mean acceleration, px per frame^2; `sigma` the standard error of one coordinate.
        frames: first and last of the flights.
        drop: the flight that starts from rest, straight down; None for a body that was thrown.
    """

    path: Path
    pull_2: Floats
    sigma: float
    frames: tuple[int, int]
    drop: Segment | None


def falls(observation: Observation) -> tuple[Fall, ...]:
    """The falls of all bodies whose flights tell an acceleration at all."""
    found = []
    for path in paths(observation):
        if path.swings:
            continue
        flights = [s for s in path.segments if s.ground == "air" and len(s.frames_N) >= _FEWEST]
        heavy = [s for s in flights if not weightless(observation, s)]  # what stays up is `support`'s
        if heavy:
            found.append(_fall(path, heavy))
    return tuple(found)


def weightless(observation: Observation, flight: Segment) -> bool:
    """Whether a flight clearly has less than a third of the clip's gravity along it."""
    pull_2, pull_sigma = gravity(observation)
    pull = float(np.linalg.norm(pull_2))
    if pull < 5 * pull_sigma:
        return False
    own = float(flight.fit.at(flight.middle, 2) @ pull_2) / pull
    if own < -pull and len(flight.frames_N) < _HIDES_BOUNCE:
        return False
    return own + 3 * flight.fit.error(flight.middle, 2) < pull / 3


def falls_freely(observation: Observation, flight: Segment) -> bool:
    """Whether a flight clearly has at least half of the clip's gravity along it."""
    pull_2, pull_sigma = gravity(observation)
    pull = float(np.linalg.norm(pull_2))
    if pull < 5 * pull_sigma:
        return False
    own = float(flight.fit.at(flight.middle, 2) @ pull_2) / pull
    return own - 2 * flight.fit.error(flight.middle, 2) > pull / 2


def _fall(path: Path, flights: list[Segment]) -> Fall:
    weights_N = np.array([flight.fit.error(flight.middle, 2) ** -2.0 for flight in flights])
    pulls_N2 = np.array([flight.fit.at(flight.middle, 2) for flight in flights])
    return Fall(
        path=path,
        pull_2=(weights_N[:, None] * pulls_N2).sum(0) / weights_N.sum(),
        sigma=float(weights_N.sum() ** -0.5),
        frames=(flights[0].first, flights[-1].last),
        drop=flights[0] if _drops(flights[0]) else None,
    )


def _drops(flight: Segment) -> bool:
    """Whether a flight starts from rest, straight down."""
    start_2, end_2 = flight.velocity(flight.first), flight.velocity(flight.last)
    pull = float(flight.fit.at(flight.middle, 2)[1])
    way_2 = flight.fit.at(flight.last) - flight.fit.at(flight.first)
    return bool(abs(start_2[1]) < _AT_REST * pull and abs(way_2[0]) < _UPRIGHT * way_2[1] and end_2[1] > 0)
