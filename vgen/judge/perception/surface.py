"""Free space below a thing down to the next still surface, from long edges of the background that run across.

A surface is an edge between two colours that goes on for about a thing's width; texture has short ones. Of long ones,
as a brick wall has, things pass many. In the dark a floor's edge is fainter than texture, but it runs right across. The
space is the smallest over the columns under the thing, so that a slope touches beside the lowest point.
"""

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np

from vgen.judge.observation import Floats
from vgen.judge.perception.background import Background
from vgen.judge.perception.view import Bytes, Picture

__all__ = ["Edges", "clearance", "edge_near", "find_edges", "without_passed"]

MIN_STEP, WEAK_STEP = 5.0, 3.0  # Lab units across an edge, on the whole and anywhere
GAP_PX, BRIDGED = 4, 2.0  # that texture may tear into an edge, and how much longer it must be then ...
TEXTURE = 0.75  # ... and the quantile of all shorter edges that its step exceeds in the mean
MIN_LENGTH = 0.07  # of the picture's width
FAINT_STEP, FAINT_LENGTH = 1.5, 0.3  # Lab units across an edge in the dark, averaged along it; of the width
FAINT_MEAN = 0.1  # of the picture's width that such an edge is averaged over
FAINT_PX, FAINT_PEAK = 4, 1.7  # rows off such an edge at which its step is over, and by what it exceeds those there
SINK_PX = 2.0  # how far an outline may reach into a surface
COLUMNS = 0.8  # of the outline's half width that is looked under


PASSED = 3  # levels that a thing has passed from which on they belong to a wall
LEVEL_PX = 3  # rows within which edges are of one level
LEVEL_SHARE = 0.7  # of the columns under a thing that an edge runs through level
BEFORE_D, BEHIND_D = 0.3, 0.5  # diameters that a thing has been above a level, and below it, to have passed it


class Edges:
    """Long still edges: rows of the next one below each pixel, and the distance from each pixel to the next one.

    Args:
        rows_YX: of each flat edge, to a part of a pixel; infinite where there is none.
        upright_YX: 1 on upright edges.
    """

    def __init__(self, rows_YX: Picture, upright_YX: Bytes) -> None:
        self.rows_YX = rows_YX
        self.upright_YX = upright_YX
        self.below_YX = _below(rows_YX)
        any_edge = (~(np.isfinite(rows_YX) | (upright_YX > 0))).astype(np.uint8)
        self.distance_YX = cv2.distanceTransform(any_edge, cv2.DIST_L2, 3)


def find_edges(background: Background) -> Edges:
    """The long edges of a background."""
    lab_YX3 = np.asarray(cv2.GaussianBlur(background.lab_YX3, (5, 5), 1.0), np.float32)
    step_y, step_x = (_steps(lab_YX3, axis) for axis in (0, 1))
    shortest = MIN_LENGTH * lab_YX3.shape[1]
    flat = _long(_ridge(step_y, 0), step_y, shortest, 1)
    upright = _long(_ridge(step_x, 1), step_x, shortest, 0)
    rows_YX = _edge_rows(step_y, flat)
    faint_YX = _faint_rows(lab_YX3)
    known_YX = cv2.dilate(flat, np.ones((2 * FAINT_PX + 1, 1), np.uint8)) > 0
    return Edges(np.where(known_YX, rows_YX, faint_YX), upright)


def without_passed(edges: Edges, ways: Iterable[tuple[Floats, float]]) -> Edges:
    """The edges but for the levels of a wall: those that things have passed, where one has passed several.

    Args:
        edges: as found.
        ways: of each thing, x and the lowest y of neighbouring frames, [N, 2], and its diameter.
    """
    flat_YX = np.isfinite(edges.rows_YX)
    passed: set[int] = set()
    for way_N2, diameter in ways:
        levels = _passed(flat_YX, way_N2, diameter)
        if len(_apart(levels)) >= PASSED:
            passed |= levels
    if not passed:
        return edges
    rows_YX = edges.rows_YX.copy()
    for level in passed:
        rows_YX[max(level - LEVEL_PX + 1, 0) : level + LEVEL_PX] = np.inf
    return Edges(rows_YX, edges.upright_YX)


def _passed(flat_YX: Bytes, way_N2: Floats, diameter: float) -> set[int]:
    """Rows of level edges that something has come through from well above to well below, or back."""
    if len(way_N2) < 2:
        return set()
    top, bottom = way_N2[:, 1].min() + BEFORE_D * diameter, way_N2[:, 1].max() - BEHIND_D * diameter
    half = max(int(diameter / 2), 1)
    found = set()
    for (x, one), (_, other) in pairwise(way_N2):
        low, high = max(min(one, other), top), min(max(one, other), bottom)
        columns = slice(max(int(x) - half, 0), int(x) + half + 1)
        for row in range(max(int(np.ceil(low)), 1), int(min(high, len(flat_YX) - 2)) + 1):
            here = flat_YX[row - 1 : row + 2, columns].any(0)
            if flat_YX[row, columns].any() and here.size and here.mean() > LEVEL_SHARE:
                found.add(row)
    return found


def _apart(rows: set[int]) -> list[int]:
    """The first row of each level."""
    ordered = sorted(rows)
    return [row for before, row in zip([-LEVEL_PX - 1, *ordered], ordered, strict=False) if row - before > LEVEL_PX]


def clearance(edges: Edges, centre: Floats, outline_A: Floats, angles_A: Floats) -> float:
    """Free space under an outline in pixels, at least 0; NaN where no surface lies below."""
    x = centre[0] + outline_A * np.cos(angles_A)
    y = centre[1] + outline_A * np.sin(angles_A)
    half = COLUMNS * (x.max() - x.min()) / 2
    columns = np.arange(np.floor(centre[0] - half), np.ceil(centre[0] + half) + 1)
    order = np.argsort(angles_A)
    low = _bottoms(x[order], y[order], columns + 0.5)
    height, width = edges.below_YX.shape[0] - 1, edges.below_YX.shape[1]
    inside = np.isfinite(low) & (columns >= 0) & (columns < width)
    if not inside.any():
        return float("nan")
    start = np.clip(np.ceil(low[inside] - SINK_PX), 0, height).astype(int)
    space = edges.below_YX[start, columns[inside].astype(int)] - low[inside]
    space = space[np.isfinite(space)]
    return max(0.0, float(space.min())) if space.size else float("nan")


def edge_near(edges: Edges, xy: Floats) -> float:
    """Distance from a point to the next long still edge, in pixels."""
    height, width = edges.distance_YX.shape
    column, row = np.clip(np.floor(xy).astype(int), 0, [width - 1, height - 1])
    return float(edges.distance_YX[row, column])


def _below(rows_YX: Picture) -> Picture:
    """For each pixel and one row more, the row of the next edge at it or below it."""
    height, width = rows_YX.shape
    below = np.full((height + 1, width), np.inf, np.float32)
    for row in range(height - 1, -1, -1):
        below[row] = np.where(np.isfinite(rows_YX[row]), rows_YX[row], below[row + 1])
    return below


def _bottoms(x_A: Floats, y_A: Floats, columns_C: Floats) -> Floats:
    """Lowest point of a closed outline in each column; NaN where it has none."""
    x1_A, y1_A = np.roll(x_A, -1), np.roll(y_A, -1)
    crosses_CA = (x_A <= columns_C[:, None]) != (x1_A <= columns_C[:, None])
    wide_A = np.where(x1_A == x_A, 1.0, x1_A - x_A)
    at_CA = np.where(crosses_CA, y_A + (columns_C[:, None] - x_A) / wide_A * (y1_A - y_A), -np.inf)
    low_C = at_CA.max(1)
    return np.where(np.isfinite(low_C), low_C, np.nan)


def _steps(lab_YX3: Picture, axis: int) -> Picture:
    """Lab step over two pixels along an axis, at each pixel's near side."""
    step = np.zeros(lab_YX3.shape[:2], np.float32)
    ahead = np.linalg.norm(np.roll(lab_YX3, -1, axis) - np.roll(lab_YX3, 1, axis), axis=2)
    middle = (slice(2, -2), slice(None)) if axis == 0 else (slice(None), slice(2, -2))
    step[middle] = ahead[middle]
    return step


def _ridge(step_YX: Picture, axis: int, least: float = WEAK_STEP) -> Bytes:
    """1 where a step is the largest of its neighbours along an axis, and not small."""
    return ((step_YX > least) & (step_YX >= np.roll(step_YX, 1, axis)) & (step_YX > np.roll(step_YX, -1, axis))).astype(
        np.uint8
    )


def _long(ridge_YX: Bytes, step_YX: Picture, shortest: float, axis: int) -> Bytes:
    """Only the ridges that go on for long and are clear; over gaps, for longer and beside the picture's texture."""
    strong_YX = ridge_YX & (step_YX > MIN_STEP)
    unbroken = _runs(strong_YX, step_YX, shortest, axis, least=MIN_STEP, gap=0)
    rest = step_YX[(ridge_YX & (1 - unbroken)) > 0]
    least = max(MIN_STEP, float(np.quantile(rest, TEXTURE)) if rest.size else 0.0)
    return np.asarray(unbroken | _runs(ridge_YX, step_YX, BRIDGED * shortest, axis, least=least, gap=GAP_PX), np.uint8)


def _runs(ridge_YX: Bytes, step_YX: Picture, shortest: float, axis: int, *, least: float, gap: int) -> Bytes:
    """Ridges that run along an axis for so long, over gaps of so many pixels, with such a step in the mean."""
    bridge = (3, gap + 1)  # across and along
    joined = cv2.dilate(ridge_YX, np.ones(bridge if axis == 1 else bridge[::-1], np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    side = cv2.CC_STAT_WIDTH if axis == 1 else cv2.CC_STAT_HEIGHT
    on = ridge_YX > 0
    size = np.maximum(np.bincount(labels[on], minlength=count), 1)
    clear = np.bincount(labels[on], step_YX[on], minlength=count) / size > least
    keep = ((stats[:, side] - gap >= shortest) & clear).astype(np.uint8)
    keep[0] = 0
    return ridge_YX & keep[labels]


def _faint_rows(lab_YX3: Picture) -> Picture:
    """Row of each level edge that is too faint to stand out from texture, but goes on for long; infinite elsewhere."""
    width = lab_YX3.shape[1]
    along_YX3 = np.asarray(cv2.blur(lab_YX3, (2 * int(FAINT_MEAN * width / 2) + 1, 1)), np.float32)
    step_YX = _steps(along_YX3, 0)
    off_YX = np.maximum(np.roll(step_YX, FAINT_PX, 0), np.roll(step_YX, -FAINT_PX, 0))
    peak = _ridge(step_YX, 0, FAINT_STEP) & (step_YX > FAINT_PEAK * off_YX)
    return _edge_rows(step_YX, _runs(peak, step_YX, FAINT_LENGTH * width, 1, least=FAINT_STEP, gap=0))


def _edge_rows(step_YX: Picture, ridge_YX: Bytes) -> Picture:
    """Row of each horizontal edge to a part of a pixel, by a parabola through its step."""
    up, down = np.roll(step_YX, 1, 0), np.roll(step_YX, -1, 0)
    bend = up - 2 * step_YX + down
    part = np.where(np.abs(bend) > 1e-6, 0.5 * (up - down) / np.where(bend == 0, 1, bend), 0)
    rows = np.arange(step_YX.shape[0], dtype=np.float32)[:, None] + 0.5
    return np.where(ridge_YX > 0, rows + np.clip(part, -0.5, 0.5), np.inf).astype(np.float32)
