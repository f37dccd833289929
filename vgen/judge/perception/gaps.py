"""Two things and each other: the free space between their outlines, and which lies in front where they overlap.

A letter beyond the legend: `A` directions.
"""

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats
from vgen.judge.perception.link import Thing
from vgen.judge.perception.refine import ANGLES_A

__all__ = ["fronts", "least_gap", "polygon_gap", "polygons"]

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


def least_gap(one_FA2: Floats, other_FA2: Floats) -> float:
    """What the gap of two polygons is at least in any frame, from the circles around them; infinite where none shows
    both.
    """
    (middle_F2, reach_F), (other_F2, other_F) = _circle(one_FA2), _circle(other_FA2)
    return float(np.nanmin(np.hypot(*(other_F2 - middle_F2).T) - reach_F - other_F, initial=np.inf))


def polygon_gap(one_FA2: Floats, other_FA2: Floats) -> Floats:
    """Smallest distance of two polygons per frame; where they overlap, minus how deep one reaches into the other."""
    gap_F = np.full(len(one_FA2), np.nan)
    known = np.flatnonzero(np.isfinite(one_FA2).all((1, 2)) & np.isfinite(other_FA2).all((1, 2)))
    one_FA2, other_FA2 = one_FA2[known], other_FA2[known]
    one_FA, other_FA = _to_sides(one_FA2, other_FA2), _to_sides(other_FA2, one_FA2)
    depth = np.maximum(_depth(one_FA, one_FA2, other_FA2), _depth(other_FA, other_FA2, one_FA2))
    gap_F[known] = np.where(depth > 0, -depth, np.minimum(one_FA.min(1), other_FA.min(1)))
    return gap_F


def _circle(polygon_FA2: Floats) -> tuple[Floats, Floats]:
    """A circle around a polygon, per frame: its middle and its radius."""
    middle_F2 = polygon_FA2.mean(1)
    return middle_F2, np.hypot(*np.moveaxis(polygon_FA2 - middle_F2[:, None], -1, 0)).max(1)


def _to_sides(point_FA2: Floats, polygon_FA2: Floats) -> Floats:
    """Distance from each point to the nearest side of a polygon, [F, A]."""
    # Written out in x and y: numpy adds up short axes slowly.
    side_x, side_y = np.moveaxis(np.roll(polygon_FA2, -1, 1) - polygon_FA2, -1, 0)[:, :, None]
    to_x, to_y = (point_FA2[:, :, None, k] - polygon_FA2[:, None, :, k] for k in range(2))
    along = ((to_x * side_x + to_y * side_y) / np.maximum(side_x**2 + side_y**2, 1e-9)).clip(0, 1)
    off_x, off_y = to_x - along * side_x, to_y - along * side_y
    return np.asarray(np.sqrt((off_x * off_x + off_y * off_y).min(2)))


def _depth(distance_FA: Floats, point_FA2: Floats, polygon_FA2: Floats) -> Floats:
    """How far the deepest of the points lies inside a polygon, 0 where none does, from their distances to its sides."""
    x, y = point_FA2[..., 0, None], point_FA2[..., 1, None]
    x0, y0 = polygon_FA2[:, None, :, 0], polygon_FA2[:, None, :, 1]
    x1, y1 = np.roll(x0, -1, 2), np.roll(y0, -1, 2)
    rise = np.where(y1 == y0, 1e-9, y1 - y0)
    crosses = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / rise + x0)
    inside = crosses.sum(2) % 2 == 1
    return np.asarray(np.where(inside, distance_FA, 0).max(1))
