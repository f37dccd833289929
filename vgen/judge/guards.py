"""When not to judge: what perception says of a clip that takes the ground from under some rules."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import GROUPS, Group, Rule

__all__ = ["CHURN", "CLUTTER", "DISORDER", "INLIERS", "STILL", "Guard", "guards_of"]

STILL = 0.002  # of the diagonal per frame; slower than this, a frozen clip would pass as a lawful one
INLIERS = 0.5  # share of the background that agrees on the camera's motion; below, positions mean nothing
LOST = 0.35  # below this, there is no background either that things could be told from
CLUTTER = 0.25  # share of what moves and is no thing; above, the things that are left were left by chance
CHURN = 0.3  # share of tracks that come or go unexplained; above, they are pieces and no things
DISORDER = 0.85  # from here on things come and go because the frames are in no order, which is no reason to be silent
CHURNED = 4  # so many of them at least: a clip of two things, one of which vanishes, is not out of hand
BY_POSITION: tuple[Group, ...] = ("causal", "mechanics", "continuity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Something that makes rules undecidable.

    Args:
        reason: one clause for the verdicts and the report's warnings.
        groups: of the rules that it stops ...
        motion: ... and whether it stops those alone that are about motion.
    """

    reason: str
    groups: tuple[Group, ...] = GROUPS
    motion: bool = False

    def stops(self, rule: Rule) -> bool:
        return rule.group in self.groups and (rule.motion or not self.motion)


def guards_of(seen: Observation) -> Iterator[Guard]:
    """What holds rules back in this clip, the gravest first."""
    begin, end = seen.shot if seen.shot[1] else (0, seen.num_frames)
    inliers = float(np.median(seen.camera.inliers_F[begin:end]))
    if seen.disorder < DISORDER and seen.clutter > CLUTTER:
        yield Guard(reason=f"things cannot be followed: {seen.clutter:.0%} of what moves belongs to none")
    elif seen.disorder < DISORDER and seen.churn > CHURN and seen.churn * len(seen.tracks) >= CHURNED:
        yield Guard(reason=f"things cannot be told apart: {seen.churn:.0%} of {len(seen.tracks)} tracks come or go")
    if inliers < INLIERS:
        yield Guard(
            reason=f"the camera's motion is lost: {inliers:.0%} of the background agrees on it",
            groups=BY_POSITION if inliers >= LOST else GROUPS,
        )
    if seen.motion_share < STILL:
        yield Guard(reason="hardly anything moves, and a still picture breaks no law of motion", motion=True)
