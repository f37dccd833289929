"""energy: a passive body does not gain energy with nothing near.

Formula: at a sudden change of velocity in one place, (|v_after|^2 - |v_before|^2) / |v_before|^2: the height is the
same on both sides, so that the unknown gravity drops out.
Source: conservation of energy (Leibniz's vis viva, 1686).
Strength: gain of kinetic energy as a share, beyond 3 standard errors. Impacts are `restitution`, a slow gain on level
ground is `friction`, one in free flight `const_accel`, one of a pendulum `pendulum`.
Abstains where nothing moves unimpeded for eight frames, or where half of the energy is less than the noise.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.segments import Joint, Path, Segment, paths

__all__ = ["RULE"]

_MANY_FRAMES = 8


def measure(observation: Observation) -> Measured:
    runs = [
        (path, run)
        for path in paths(observation)
        if not path.swings
        for ground in ("air", "ground", "unknown")
        for run in path.runs(ground, ("bend", "kick"))
        if not all(segment.resting(path.track.diameter_px) for segment in run)
        and sum(len(segment.frames_N) for segment in run) >= _MANY_FRAMES
    ]
    if not runs:
        return Abstention(status="not_applicable", reason="nothing moves unimpeded for long enough")
    return tuple(m for path, run in runs for m in _of(path, run))


def _of(path: Path, run: list[Segment]) -> list[Measurement]:
    kicks = [j for j in path.joints if j.passage == "kick" and j.before in run and j.after in run]
    kicks = [j for j in kicks if not j.before.resting(path.track.diameter_px)]
    return [_kick(path, joint) for joint in kicks] or [_smooth(path, run)]


def _kick(path: Path, joint: Joint) -> Measurement:
    before, after = float(np.linalg.norm(joint.v_before_2)), float(np.linalg.norm(joint.v_after_2))
    gain = (after**2 - before**2) / before**2
    sigma = 2 * joint.kick_sigma * max(before, after) / before**2
    return _measurement(path, joint.frames, gain, sigma, max(0.0, gain - 3 * sigma))


def _smooth(path: Path, run: list[Segment]) -> Measurement:
    speed = max(float(np.linalg.norm(run[0].velocity(run[0].first))), 1e-9)
    return _measurement(path, (run[0].first, run[-1].last), 0.0, 2 * run[0].fit.error(run[0].first, 1) / speed, 0.0)


def _measurement(path: Path, frames: tuple[int, int], gain: float, sigma: float, strength: float) -> Measurement:
    return Measurement(
        strength=strength,
        frames=frames,
        objects=(path.track.id,),
        quantity="gain of kinetic energy with nothing near, share",
        value=gain,
        expected=min(gain, 0.0),
        sigma=sigma,
        text=f"thing {path.track.id} gains {gain:.0%} of its kinetic energy with nothing near"
        if strength
        else f"thing {path.track.id} gains no energy by itself",
    )


RULE = Rule(
    name="energy",
    group="mechanics",
    statement="A passive body does not gain energy with nothing near.",
    measure=measure,
)
