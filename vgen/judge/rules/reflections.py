"""Things and their reflections: which two tracks begin as such a pair, and which of them are images.

Two things of the same looks that never touch are thing and reflection if, in the first third of the frames that show
both, the sum of their coordinates across a mirror and the difference along it are constant to a tenth of a diameter
while they move by half of one; upright mirrors add x, level ones (water, floors) add y.
Source: plane mirrors, x' = 2 c - x.
Letters: `N` frames that show both.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Track
from vgen.judge.rules.lives import between_frames_px, level_px, noise_px, unbroken
from vgen.judge.rules.looks import SAME_LAB, mean_lab

__all__ = ["RUN", "Reflection", "images", "reflections"]

MOVED = 0.5  # diameters
LEAST = 12  # frames that show both
RUN = 5  # frames
FLOOR_D = 0.04
SIGNS = {"upright": np.array([1.0, -1.0]), "level": np.array([-1.0, 1.0])}  # of the reflection's coordinates
MOVES = {"upright": 0, "level": 1}  # the coordinate that a mirror turns round


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reflection:
    """Two tracks that begin as thing and reflection.

    Args:
        one, other: the tracks; which of them is the image is not told.
        frames_N: that show both.
        left_N2: how far one is from where the mirror shows the other, in diameters.
        sigma: standard error of that.
    """

    one: Track
    other: Track
    frames_N: npt.NDArray[np.intp]
    left_N2: Floats
    sigma: float

    @property
    def worst(self) -> tuple[int, float]:
        """Where `RUN` frames running are farthest from where they belong, in the median: index and distance."""
        last = len(self.left_N2) - RUN + 1
        run_N = [float(np.linalg.norm(np.median(self.left_N2[i : i + RUN], 0))) for i in range(last)]
        i = int(np.argmax(run_N))
        return i, run_N[i]

    @property
    def excess(self) -> float:
        """That distance beyond what a good mirror and noise leave, in diameters."""
        return max(0.0, self.worst[1] - FLOOR_D - 3 * self.sigma)


@lru_cache(maxsize=4)
def reflections(observation: Observation) -> tuple[Reflection, ...]:
    """All pairs that begin as thing and reflection."""
    things = unbroken(observation)
    return tuple(
        pair
        for one in things
        for other in things
        if one.id < other.id and _could_be(observation, one, other)
        for pair in [_of(one, other)]
        if pair is not None
    )


@lru_cache(maxsize=4)
def images(observation: Observation) -> frozenset[int]:
    """Ids of what no forces act on: both of a pair that is at odds, and of one that is not, what never stands.

    A thing stands or bounces on something where its image only seems to; where both may, the one that stays farther
    from all surfaces is the image, for both move in one time.
    """
    found: set[int] = set()
    for pair in reflections(observation):
        if pair.excess > 0:
            found |= {pair.one.id, pair.other.id}
            continue
        near, far = sorted((pair.one, pair.other), key=_least_px)
        if _least_px(near) <= _reach_px(near) and _least_px(far) > min(
            _reach_px(far), _least_px(near) + level_px(near)
        ):
            found.add(far.id)
    return frozenset(found)


def _least_px(track: Track) -> float:
    """The least free space below it."""
    return float(np.nanmin(track.surface_px_F)) if np.isfinite(track.surface_px_F).any() else float("inf")


def _reach_px(track: Track) -> float:
    """Free space below a thing that may stand or bounce there all the same."""
    return level_px(track) + between_frames_px(track)


def _could_be(observation: Observation, one: Track, other: Track) -> bool:
    touch = any({one.id, other.id} <= set(e.tracks) for e in observation.events if e.kind in ("contact", "merge"))
    gap_F = observation.gap(one.id, other.id)
    known = np.isfinite(gap_F)
    # Between two frames a closing gap passes through zero unseen.
    step_px = np.abs(np.diff(gap_F[known])).max() if known.sum() > 1 else 0.0
    apart = not (gap_F[known] < 0.1 * one.diameter_px + 0.6 * step_px).any()
    alike = float(np.linalg.norm(mean_lab(one) - mean_lab(other))) < 2 * SAME_LAB
    return apart and not touch and alike and 0.75 < one.diameter_px / other.diameter_px < 1 / 0.75


def _of(one: Track, other: Track) -> Reflection | None:
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
            return Reflection(
                one=one,
                other=other,
                frames_N=frames,
                left_N2=left_N2 / one.diameter_px,
                sigma=sigma / one.diameter_px,
            )
    return None
