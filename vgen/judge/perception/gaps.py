"""Two things and each other: the free space between their outlines, and which lies in front where they overlap.

A letter beyond the legend: `A` directions.
"""

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats
from vgen.judge.perception.link import Thing
from vgen.judge.perception.refine import ANGLES_A

__all__ = ["fronts", "polygon_gap", "polygons"]

COVERED = 0.1  # of its area: who loses so much more than the other lies behind


def fronts(one: Thing, other: Thing, frames: int) -> npt.NDArray[np.int8] | None:
    """+1 per frame where `one` lies in front of `other`, -1 where behind, 0 where not told; None if they never overlap.

    Who is hidden by the other lies behind; else who shows less of its whole while both share one patch.
    """
    order_F = np.zeros(frames, np.int8)
    met = False
    for sign, near, far in ((1, one, other), (-1, other, one)):
        numbers = {trail.number for trail in near.trails}
        for frame in (frame for trail in far.trails for frame, who in trail.behind.items() if who in numbers):
            order_F[frame], met = sign, True
    numbers = {trail.number for trail in other.trails}
    wholes = [float(np.quantile([blob.area for blob in thing.blobs.values()], 0.75)) for thing in (one, other)]
    for frame in (frame for frame, who in one.shared.items() if who & numbers and frame in other.blobs):
        met = True
        first, second = (thing.blobs[frame].area / whole for thing, whole in zip((one, other), wholes, strict=True))
        if abs(first - second) > COVERED:
            order_F[frame] = 1 if first > second else -1
    return order_F if met else None


def polygons(xy_F2: Floats, outline_FA: Floats) -> Floats:
    """Corners [F, A, 2] of outlines; NaN where unknown."""
    rays = np.stack([np.cos(ANGLES_A), np.sin(ANGLES_A)], 1)
    return xy_F2[:, None] + outline_FA[..., None] * rays


def polygon_gap(one_FA2: Floats, other_FA2: Floats) -> Floats:
    """Smallest distance of two polygons per frame; where they overlap, minus how deep one reaches into the other."""
    apart = np.minimum(_to_sides(one_FA2, other_FA2).min(1), _to_sides(other_FA2, one_FA2).min(1))
    depth = np.maximum(_depth(one_FA2, other_FA2), _depth(other_FA2, one_FA2))
    return np.where(depth > 0, -depth, apart)


def _to_sides(point_FA2: Floats, polygon_FA2: Floats) -> Floats:
    """Distance from each point to the nearest side of a polygon, [F, A]."""
    start = polygon_FA2[:, None]
    side = np.roll(polygon_FA2, -1, 1)[:, None] - start
    to = point_FA2[:, :, None] - start
    along = ((to * side).sum(-1) / np.maximum((side**2).sum(-1), 1e-9)).clip(0, 1)
    return np.linalg.norm(to - along[..., None] * side, axis=-1).min(2)


def _depth(point_FA2: Floats, polygon_FA2: Floats) -> Floats:
    """How far the deepest of the points lies inside a polygon, 0 where none does."""
    inside = np.zeros(point_FA2.shape[:2], np.bool_)
    x, y = point_FA2[..., 0, None], point_FA2[..., 1, None]
    x0, y0 = polygon_FA2[:, None, :, 0], polygon_FA2[:, None, :, 1]
    x1, y1 = np.roll(x0, -1, 2), np.roll(y0, -1, 2)
    rise = np.where(y1 == y0, 1e-9, y1 - y0)
    crosses = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / rise + x0)
    inside = crosses.sum(2) % 2 == 1
    return np.where(inside, _to_sides(point_FA2, polygon_FA2), 0).max(1)
