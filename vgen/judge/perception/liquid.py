"""Surfaces of liquids in open vessels: a patch of one colour with a straight top and one wall about its other sides.

Needs no background: a vessel that stands still belongs to it. Looks at some frames alone; a vessel of clear glass on a
background of the same colour is not found.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from vgen.judge.observation import Floats, Liquid
from vgen.judge.perception.colours import far
from vgen.judge.perception.segment import Blob
from vgen.judge.perception.view import Mask, Picture, View

__all__ = ["find_liquids", "share_in_vessel"]

SAMPLED = 32  # frames of a shot, at most
LEAST_SHARE = 0.4  # of the sampled frames that show the same vessel
AREA = (0.01, 0.15)  # of the picture: half of a striped ball is smaller
LEAST_WIDTH_PX = 12
PATTERN = 16  # patches of a frame: more are bricks or tiles
EDGE_LAB = 4.0  # change of colour between neighbours that ends a patch, at least
WALL_PX = 4  # how far beyond a patch its wall is sought: past the soft edge, within the wall ...
BEYOND_PX = 12  # ... and where the wall has ended, for else it is no wall but what lies behind
OPEN_PX = (2, 3, 4, 6, 9)  # above a surface, where neither wall nor liquid is: else it is a frame or a stripe
LEAST_SIDE_PX = 2  # of an outline's side that tells its wall
SAME_WALL = 18.0  # Delta-E
OTHER = 10.0  # Delta-E between liquid, wall and what lies above
VESSEL = (0.8, 1.2)  # widths of a surface about its middle, aside and up, within which all belongs to its vessel
STRAIGHT_PX = 1.0  # of a surface's columns from their line
STRAIGHT_SHARE = 0.6  # of the patch's columns, that have to lie on the line


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Patch:
    frame: int
    ends_22: Floats  # left and right end of the surface, working pixels
    lab_3: Floats
    area: float
    sigma: float


def find_liquids(view: View, noise: float, shot: tuple[int, int], clip_frames: int) -> tuple[Liquid, ...]:
    """The liquids of a shot, in pixels of the clip and one row per frame of the clip.

    Args:
        view: the steadied shot.
        noise: standard deviation of the background's colour, Delta-E.
        shot: first frame of the shot in the clip, and one past its last.
        clip_frames: of the clip.
    """
    frames = np.unique(np.linspace(0, view.frames - 1, min(SAMPLED, view.frames)).round().astype(int))
    found = [patch for frame in frames for patch in _patches(view.lab_FYX3[frame], int(frame), noise)]
    return tuple(
        _liquid(chain, view, shot[0], clip_frames)
        for chain in _chains(found)
        if len(chain) >= max(5, LEAST_SHARE * len(frames))
    )


def share_in_vessel(blobs: Mapping[int, Blob], liquids: tuple[Liquid, ...], view: View, shot: tuple[int, int]) -> float:
    """Share of its frames, 0..1, in which a thing lies where the vessel of one of these liquids does.

    Args:
        blobs: of the thing, by frame of the shot.
        liquids: of the shot.
        view: the steadied shot.
        shot: first frame of the shot in the clip, and one past its last.
    """
    frames = np.array(sorted(blobs))
    xy_N2 = view.to_clip(np.stack([blobs[frame].xy for frame in frames.tolist()]))
    shares = [0.0]
    for liquid in liquids:
        middle_F2 = liquid.ends_F22[shot[0] : shot[1]].mean(1)
        known = np.flatnonzero(np.isfinite(middle_F2).all(1))
        middle_N2 = np.stack([np.interp(frames, known, middle_F2[known, axis]) for axis in (0, 1)], 1)
        shares.append(float((np.abs(xy_N2 - middle_N2) / liquid.width_px < VESSEL).all(1).mean()))
    return max(shares)


def _patches(lab_YX3: Picture, frame: int, noise: float) -> list[_Patch]:
    height, width = lab_YX3.shape[:2]
    step_YX = np.zeros((height, width), np.float32)
    step_YX[:, 1:] = far(lab_YX3[:, 1:], lab_YX3[:, :-1])
    step_YX[1:] = np.maximum(step_YX[1:], far(lab_YX3[1:], lab_YX3[:-1]))
    flat_YX = (step_YX < max(EDGE_LAB, 4 * noise)).astype(np.uint8)
    _, labels_YX, stats, _ = cv2.connectedComponentsWithStats(flat_YX, connectivity=4)
    fitting = []
    for label, (left, top, wide, tall, area) in enumerate(stats.tolist()):
        inside = left > WALL_PX and top > WALL_PX and left + wide < width - WALL_PX and top + tall < height - WALL_PX
        fits = AREA[0] < area / flat_YX.size < AREA[1] and wide >= LEAST_WIDTH_PX and area > 0.4 * wide * tall
        if label > 0 and inside and fits:
            fitting.append((label, left, top, wide, tall))
    if len(fitting) > PATTERN:
        return []
    found = []
    for label, left, top, wide, tall in fitting:
        patch = _patch(lab_YX3, labels_YX[top : top + tall, left : left + wide] == label, left, top, frame)
        if patch is not None:
            found.append(patch)
    return found


def _patch(lab_YX3: Picture, mask_YX: Mask, left: int, top: int, frame: int) -> _Patch | None:
    """A flat patch as the liquid of a vessel; None where it is none."""
    top_X = mask_YX.argmax(0).astype(np.float64)
    line = _straight(top_X)
    if line is None:
        return None
    (first, last), (height, slope) = line
    rows, columns = np.nonzero(mask_YX)
    lab_3 = np.median(lab_YX3[rows + top, columns + left], 0).astype(np.float64)
    outlines = [_side(mask_YX, int(np.ceil(height + slope * end)), side) for end, side in ((first, -1), (last, 1))]
    inner = range(int(first + 0.25 * (last - first)), int(last - 0.25 * (last - first)) + 1)
    low_X = mask_YX.shape[0] - 1 - mask_YX[::-1].argmax(0)
    outlines.append([(int(low_X[column]), column, 1, 0) for column in inner])
    told = [one for one in outlines if len(one) >= LEAST_SIDE_PX]
    walls, beyond = (
        [
            _colour(lab_YX3, [(y + top + down * far, x + left + aside * far) for y, x, down, aside in one])
            for one in told
        ]
        for far in (WALL_PX, BEYOND_PX)
    )
    over = [
        _colour(lab_YX3, [(int(height + slope * column) - far + top, column + left) for column in inner])
        for far in OPEN_PX
    ]
    if len(walls) < 2 or max(float(np.linalg.norm(a - b)) for a in walls for b in walls) > SAME_WALL:
        return None
    wall_3 = np.mean(walls, 0)
    around = beyond[:2] if len(told) == len(outlines) else beyond  # what it stands on may look like its foot
    pairs = [(other, wall_3) for other in (lab_3, *over, *around)] + [(other, lab_3) for other in over[2:]]
    if min(float(np.linalg.norm(a - b)) for a, b in pairs) < OTHER:
        return None
    left_end = (left + first + 0.5, top + height + slope * first)
    right_end = (left + last + 0.5, top + height + slope * last)
    scatter = float(np.abs(top_X[first : last + 1] - height - slope * np.arange(first, last + 1)).mean())
    return _Patch(
        frame=frame,
        ends_22=np.array([left_end, right_end]),
        lab_3=lab_3,
        area=float(mask_YX.sum()),
        sigma=max(0.3, 2 * scatter) / np.sqrt((last - first + 1) / 4),
    )


def _side(mask_YX: Mask, surface: int, side: int) -> list[tuple[int, int, int, int]]:
    """Outline of a patch on its left (-1) or right side: (row, column, 0, side), below where its surface ends there."""
    rows = np.nonzero(mask_YX)[0]
    start, stop = max(int(np.quantile(rows, 0.3)), surface + 2), int(np.quantile(rows, 0.8)) + 1
    wide = mask_YX.shape[1]
    return [
        (row, int(mask_YX[row].argmax()) if side < 0 else wide - 1 - int(mask_YX[row, ::-1].argmax()), 0, side)
        for row in range(start, stop)
    ]


def _colour(lab_YX3: Picture, at: list[tuple[int, int]]) -> Floats:
    rows, columns = np.array(at).T
    height, width = lab_YX3.shape[:2]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    if not inside.any():
        return np.full(3, 1e3)
    return np.asarray(np.median(lab_YX3[rows[inside], columns[inside]], 0), np.float64)


def _straight(top_X: Floats) -> tuple[tuple[int, int], tuple[float, float]] | None:
    """The straight part of a patch's upper edge: (first and last column), (height at column 0, slope); None if short.

    Least absolute deviations (iteratively reweighted), so that a leaning wall above one end does not matter.
    """
    x_X = np.arange(len(top_X), dtype=np.float64)
    weight_X = np.ones_like(x_X)
    height = slope = 0.0
    for _ in range(20):
        slope, height = (float(value) for value in np.polyfit(x_X, top_X, 1, w=np.sqrt(weight_X)))
        weight_X = 1 / np.maximum(np.abs(top_X - height - slope * x_X), 0.25)
    on = np.flatnonzero(np.abs(top_X - height - slope * x_X) <= STRAIGHT_PX)
    if len(on) < STRAIGHT_SHARE * len(x_X):
        return None
    slope, height = (float(value) for value in np.polyfit(x_X[on], top_X[on], 1))
    return (int(on[0]), int(on[-1])), (height, slope)


def _chains(patches: list[_Patch]) -> list[list[_Patch]]:
    """Patches of one vessel: of one colour and size, each within its own width of the one before."""
    chains: list[list[_Patch]] = []
    for patch in patches:
        for chain in chains:
            was = chain[-1]
            way = float(np.linalg.norm(patch.ends_22.mean(0) - was.ends_22.mean(0)))
            alike = np.linalg.norm(patch.lab_3 - was.lab_3) < 15 and 0.7 < patch.area / was.area < 1 / 0.7
            if was.frame < patch.frame and alike and way < np.ptp(was.ends_22[:, 0]):
                chain.append(patch)
                break
        else:
            chains.append([patch])
    return chains


def _liquid(chain: list[_Patch], view: View, start: int, clip_frames: int) -> Liquid:
    ends_F22 = np.full((clip_frames, 2, 2), np.nan)
    for patch in chain:
        ends_F22[start + patch.frame] = view.to_clip(patch.ends_22)
    width = float(np.median([np.linalg.norm(np.diff(patch.ends_22, axis=0)) for patch in chain]))
    sigma = float(np.median([patch.sigma for patch in chain]))
    return Liquid(ends_F22=ends_F22, sigma_px=sigma / view.scale, width_px=width / view.scale)
