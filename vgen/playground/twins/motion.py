"""Closed-form motion: paths made of legs with constant acceleration, and the swing of a pendulum.

Time is counted in frames, lengths are world units (`vgen.playground.scene`); a path can be cut at any moment and go on
otherwise, which is how a law breaks exactly there. A last axis of 2 is x, y.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Leg",
    "Path",
    "Vector",
    "bouncing",
    "fly",
    "pendulum",
    "rest",
    "rolled",
    "slide",
    "spliced",
    "state",
    "time_to_cover",
    "trace",
    "turned",
]

Floats = npt.NDArray[np.float64]
Vector = tuple[float, float]
_PENDULUM_STEPS = 64  # per frame; the error over a film is far below a thousandth of a pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """From `start` (frames) on: xy + v (t - start) + a (t - start)^2 / 2."""

    start: float
    xy: Vector
    v: Vector = (0.0, 0.0)
    a: Vector = (0.0, 0.0)


Path = tuple[Leg, ...]  # in the order of their starts; each holds until the next one starts


def state(path: Path, time: float) -> tuple[Vector, Vector]:
    """Position and velocity at a moment, in frames; a leg's own start counts to that leg."""
    leg = next((leg for leg in reversed(path) if leg.start <= time), path[0])
    t = time - leg.start
    x, y = (leg.xy[i] + leg.v[i] * t + leg.a[i] * t * t / 2 for i in (0, 1))
    return (x, y), (leg.v[0] + leg.a[0] * t, leg.v[1] + leg.a[1] * t)


def trace(path: Path, frames: int) -> Floats:
    """Positions [F, 2] at frames 0, 1, ..."""
    return np.array([state(path, frame)[0] for frame in range(frames)])


def spliced(path: Path, after: Path) -> Path:
    """The first path until the second one starts."""
    return (*(leg for leg in path if leg.start < after[0].start), *after)


def rest(start: float, xy: Vector) -> Path:
    return (Leg(start=start, xy=xy),)


def fly(start: float, xy: Vector, v: Vector, gravity: float) -> Path:
    """Free flight under `gravity` per frame^2, downwards."""
    return (Leg(start=start, xy=xy, v=v, a=(0.0, -gravity)),)


def slide(start: float, xy: Vector, speed: float, slowing: float = 0.0) -> Path:
    """Along x until it rests; `slowing` per frame^2 is Coulomb's mu g; rolling is 0."""
    if speed == 0:
        return rest(start, xy)
    moving = Leg(start=start, xy=xy, v=(speed, 0.0), a=(-math.copysign(slowing, speed), 0.0))
    if slowing == 0:
        return (moving,)
    stop = start + abs(speed) / slowing
    return (moving, Leg(start=stop, xy=state((moving,), stop)[0]))


def time_to_cover(distance: float, speed: float, slowing: float = 0.0) -> float:
    """Frames until `distance` is covered; inf where the slide stops before."""
    under = speed * speed - 2 * slowing * distance
    if under <= 0:
        return math.inf
    return distance / speed if slowing == 0 else (speed - math.sqrt(under)) / slowing


def bouncing(
    start: float, xy: Vector, v: Vector, gravity: float, floor_y: float, restitutions: tuple[float, ...], frames: int
) -> tuple[Path, tuple[float, ...]]:
    """Flight with bounces, and the moments of the bounces.

    Args:
        start, xy, v: first moment, place, velocity.
        gravity: per frame^2, downwards.
        floor_y: of the centre while the thing touches the floor.
        restitutions: rebound over impact speed, bounce by bounce; the last holds from there on.
        frames: nothing after this is worked out.
    """
    legs: list[Leg] = []
    bounces: list[float] = []
    while True:
        legs.append(Leg(start=start, xy=xy, v=v, a=(0.0, -gravity)))
        span = (v[1] + math.sqrt(v[1] ** 2 + 2 * gravity * max(xy[1] - floor_y, 0.0))) / gravity
        start, xy = start + span, (xy[0] + v[0] * span, floor_y)
        if start >= frames:
            return tuple(legs), tuple(bounces)
        rebound = -(v[1] - gravity * span) * restitutions[min(len(bounces), len(restitutions) - 1)]
        bounces.append(start)
        v = (v[0], rebound)
        if rebound < gravity:  # a hop shorter than two frames: it rolls on
            return (*legs, Leg(start=start, xy=xy, v=(v[0], 0.0))), tuple(bounces)


def pendulum(angle: float, speed: float, rate: float, damping: float, frames: int) -> tuple[Floats, Floats]:
    """Angle from the vertical and its change per frame, [F] each: theta'' = -rate sin theta - damping theta'.

    Leapfrog in tiny steps; `rate` is gravity over length, per frame^2.
    """
    step = 1 / _PENDULUM_STEPS
    angles, speeds = [angle], [speed]
    for _ in range(frames - 1):
        for _ in range(_PENDULUM_STEPS):
            speed -= (rate * math.sin(angle) + damping * speed) * step / 2
            angle += speed * step
            speed -= (rate * math.sin(angle) + damping * speed) * step / 2
        angles.append(angle)
        speeds.append(speed)
    return np.array(angles), np.array(speeds)


def turned(v: Vector, angle: float) -> Vector:
    """A vector turned to the left by `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return (cos * v[0] - sin * v[1], sin * v[0] + cos * v[1])


def rolled(xy_F2: Floats, radius: float) -> Floats:
    """Angle of a ball that rolls without slipping on a floor."""
    return -(xy_F2[:, 0] - xy_F2[0, 0]) / radius
