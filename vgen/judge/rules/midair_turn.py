"""midair_turn: a flying body does not turn with nothing near.

Formula: angle between the velocities on both sides of a joint in free flight, in radians.
Source: Newton's first and second law: no sudden change of velocity without a sudden force.
Strength: radians beyond 3 standard errors. A change of speed alone is `energy` or `speed_jerk`.
Abstains where nothing flies freely for eight frames.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.segments import Joint, Path, paths

__all__ = ["RULE", "angle_between"]

_MANY_FRAMES = 8


def measure(observation: Observation) -> Measured:
    found = [m for path in paths(observation) if not path.swings for m in _of(path)]
    return tuple(found) or Abstention(status="not_applicable", reason="nothing flies freely for long enough")


def angle_between(one_2: Floats, other_2: Floats, sigma: float) -> tuple[float, float]:
    """(angle in radians, standard error) between two vectors whose coordinates have this standard error."""
    one, other = float(np.linalg.norm(one_2)), float(np.linalg.norm(other_2))
    if min(one, other) <= 0:
        return 0.0, np.pi
    cos = float(one_2 @ other_2) / (one * other)
    return float(np.arccos(np.clip(cos, -1, 1))), float(min(np.hypot(sigma / one, sigma / other), np.pi))


def _of(path: Path) -> list[Measurement]:
    flights = [s for run in path.runs("air") for s in run]
    found = [
        _turn(path, joint)
        for joint in path.joints
        if joint.passage == "kick" and not joint.causes and joint.before in flights and joint.after in flights
    ]
    if not found and sum(len(s.frames_N) for s in flights) >= _MANY_FRAMES:
        first, last = flights[0].first, flights[-1].last
        found = [_measurement(path, (first, last), 0.0, flights[0].fit.error(first, 1), 0.0)]
    return found


def _turn(path: Path, joint: Joint) -> Measurement:
    angle, sigma = angle_between(joint.v_before_2, joint.v_after_2, joint.kick_sigma / np.sqrt(2))
    return _measurement(path, joint.frames, angle, sigma, max(0.0, angle - 3 * sigma))


def _measurement(path: Path, frames: tuple[int, int], angle: float, sigma: float, strength: float) -> Measurement:
    return Measurement(
        strength=strength,
        frames=frames,
        objects=(path.track.id,),
        quantity="turn in free flight, radians",
        value=angle,
        expected=0.0,
        sigma=sigma,
        text=f"thing {path.track.id} turns by {np.degrees(angle):.0f} degrees in the air with nothing near"
        if strength
        else f"thing {path.track.id} flies on without a turn",
    )


RULE = Rule(
    name="midair_turn",
    group="causal",
    statement="A flying body does not turn with nothing near.",
    measure=measure,
)
