"""mirror: a reflection does what its thing does, the other way round, at the same time.

Formula: two things of the same looks that never touch are thing and reflection if, in the first third of the frames
that show both, the sum of their coordinates across a mirror and the difference along it are constant to a tenth of a
diameter while they move by half of one; upright mirrors add x, level ones (water, floors) add y. From then on the
largest median of five frames running of how far the reflection is from where it belongs.
Source: plane mirrors, x' = 2 c - x; PhyGround, arXiv:2605.10806, law reflection.
Strength: diameters, .04 and three standard errors taken off.
Abstains where no two things begin as thing and reflection.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import lost_camera
from vgen.judge.rules.lives import unbroken
from vgen.judge.rules.looks import SAME_LAB, mean_lab
from vgen.judge.rules.segments import noise_px

__all__ = ["RULE", "at_odds"]

MOVED = 0.5  # diameters
LEAST = 12  # frames that show both
RUN = 5  # frames
FLOOR_D = 0.04
SIGNS = {"upright": np.array([1.0, -1.0]), "level": np.array([-1.0, 1.0])}  # of the reflection's coordinates
MOVES = {"upright": 0, "level": 1}  # the coordinate that a mirror turns round


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    return _pairs(observation) or Abstention(
        status="not_applicable", reason="no two things begin as thing and reflection"
    )


def at_odds(observation: Observation) -> frozenset[int]:
    """Ids of all that disagree with their own reflection: which forces act on an image is nobody's question."""
    return frozenset(id for m in _pairs(observation) if m.strength > 0 for id in m.objects)


@lru_cache(maxsize=4)
def _pairs(observation: Observation) -> tuple[Measurement, ...]:
    """One measurement for every two things that begin as thing and reflection."""
    things = unbroken(observation)
    return tuple(
        m
        for one in things
        for other in things
        if one.id < other.id and _could_be(observation, one, other)
        for m in [_of(one, other)]
        if m is not None
    )


def _could_be(observation: Observation, one: Track, other: Track) -> bool:
    touch = any({one.id, other.id} <= set(e.tracks) for e in observation.events if e.kind in ("contact", "merge"))
    gap_F = observation.gap(one.id, other.id)
    apart = not (gap_F < 0.1 * one.diameter_px).any()
    alike = float(np.linalg.norm(mean_lab(one) - mean_lab(other))) < 2 * SAME_LAB
    return apart and not touch and alike and 0.75 < one.diameter_px / other.diameter_px < 1 / 0.75


def _of(one: Track, other: Track) -> Measurement | None:
    frames = np.flatnonzero(one.seen_F & other.seen_F)
    if len(frames) < LEAST:
        return None
    start = max(LEAST // 2, len(frames) // 3)
    for kind, sign_2 in SIGNS.items():
        both_N2 = one.xy_F2[frames] + sign_2 * other.xy_F2[frames]
        left_N2 = both_N2 - np.median(both_N2[:start], 0)
        moved = np.ptp(one.xy_F2[frames[:start], MOVES[kind]])
        error = float(np.abs(left_N2[:start]).max())
        sigma = float(np.hypot(noise_px(one), noise_px(other)))
        if moved >= MOVED * one.diameter_px and error <= max(0.1 * one.diameter_px, 4 * sigma):
            return _said(one, other, frames, left_N2 / one.diameter_px, sigma / one.diameter_px)
    return None


def _said(one: Track, other: Track, frames: npt.NDArray[np.intp], left_N2: Floats, sigma: float) -> Measurement:
    run_N = np.array([np.linalg.norm(np.median(left_N2[i : i + RUN], 0)) for i in range(len(left_N2) - RUN + 1)])
    i = int(run_N.argmax())
    strength = max(0.0, float(run_N[i]) - FLOOR_D - 3 * sigma)
    return Measurement(
        strength=strength,
        frames=(int(frames[i]), int(frames[i + RUN - 1])),
        objects=(one.id, other.id),
        quantity="place of the reflection less where the mirror shows it, diameters",
        value=float(run_N[i]),
        expected=0.0,
        sigma=sigma,
        text=f"the reflection of thing {one.id} lies {run_N[i]:.2f} diameters off at frame {frames[i]}"
        if strength
        else f"thing {other.id} is the reflection of thing {one.id} throughout",
    )


RULE = Rule(
    name="mirror",
    group="optics",
    statement="A reflection does what its thing does, the other way round, at the same time.",
    measure=measure,
)
