"""const_accel: a body in free flight has one constant acceleration.

Formula: x(t) = x0 + v t + a t^2 / 2 with a step of `a` at the best moment of the flight; |a_after - a_before| over
|a_before|. Flights are cut at sudden changes of place or velocity, which other rules own.
Source: Galilei, Discorsi (1638), third day; Newton's second law under uniform gravity.
Strength: share of the acceleration, beyond 3.5 standard errors (the moment is chosen, so plain 2 would cheat).
Abstains where nothing flies freely for six frames, or where half of the acceleration is less than the noise.
A flight that loses its acceleration altogether is `support`.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.fits import Step, derivative_step
from vgen.judge.rules.segments import Path, Segment, gravity, paths

__all__ = ["RULE"]

_FEWEST = 6  # frames of a flight
_ERRORS = 3.5
_WEIGHTLESS = 0.35  # share of gravity below which a flight counts as none


def measure(observation: Observation) -> Measured:
    pull = float(np.linalg.norm(gravity(observation)[0]))
    flights = [
        (path, run)
        for path in paths(observation)
        if not path.swings
        for run in path.runs("air")
        if sum(len(segment.frames_N) for segment in run) >= _FEWEST
    ]
    if not flights:
        return Abstention(status="not_applicable", reason="nothing flies freely for long enough")
    found = tuple(m for path, run in flights if (m := _of(path, run, pull)) is not None)
    return found or Abstention(status="undecidable", reason="a change of half the acceleration would drown in noise")


def _of(path: Path, run: list[Segment], pull: float) -> Measurement | None:
    whole = _with_start(path, run)
    times_N = np.concatenate([segment.frames_N for segment in whole])
    xy_N2 = np.concatenate([segment.xy_N2 for segment in whole])
    step = derivative_step(times_N, xy_N2, run[0].sigma_px, degree=2)
    if step is None:
        return None
    before, after = float(np.linalg.norm(step.before_A)), float(np.linalg.norm(step.after_A))
    size = float(np.linalg.norm(step.size_A))
    scale = max(before, _WEIGHTLESS * pull)
    if _ERRORS * step.least_sigma > 0.5 * scale or _fades(step, before, after, pull):
        return None
    excess = max(0.0, size - _ERRORS * step.sigma)
    return Measurement(
        strength=excess / scale,
        frames=(run[0].first, run[-1].last),
        objects=(path.track.id,),
        quantity="acceleration after over before",
        value=1 + size / scale if after > before else 1 - size / scale,
        expected=1.0,
        sigma=step.sigma / scale,
        text=f"thing {path.track.id} flies with another acceleration from frame {step.time:.1f} on"
        if excess
        else f"thing {path.track.id} flies with one acceleration",
    )


def _with_start(path: Path, run: list[Segment]) -> list[Segment]:
    """The run with the short segments at its start: a fall from rest may have a few frames of its own there."""
    opening = next((joint for joint in path.joints if joint.after is run[0]), None)
    if opening is None or opening.causes or not opening.before.resting(path.track.diameter_px):
        return run
    between = [
        segment
        for segment in path.segments
        if opening.before.last < segment.first < run[0].first and len(segment.frames_N) >= 2 and segment.ground == "air"
    ]
    return between + run


def _fades(step: Step, before: float, after: float, pull: float) -> bool:
    """Whether one side has next to no acceleration, the other a clear one."""
    low, high = sorted((before, after))
    return low < _WEIGHTLESS * max(high, pull) and float(np.linalg.norm(step.size_A)) > _ERRORS * step.sigma


RULE = Rule(
    name="const_accel",
    group="mechanics",
    statement="A body in free flight has one constant acceleration.",
    measure=measure,
)
