"""Second thoughts about the background, once things have been followed: ghosts in it, and things that are touched.

A trail that never moves may be no thing but a mistake of the background, which shows something there that the frames do
not: then the outline stands out in the background more than in the frames, and the frames are right.
In the still picture a thing is a compact patch with edges inside or around it, surrounded by larger even surfaces. Most
such patches stay scenery; one that a moving thing meets from the side, or crosses, has a part in what happens.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from vgen.judge.perception.background import Background, repainted
from vgen.judge.perception.link import Box, Thing
from vgen.judge.perception.refine import ANGLES_A, outline
from vgen.judge.perception.segment import SHADOW_MAX, SHADOW_MIN, SHADOW_TINT, Blob
from vgen.judge.perception.sift import throws
from vgen.judge.perception.track import Trail
from vgen.judge.perception.view import Mask, Picture, View

__all__ = ["mended", "shows", "strays", "touched", "uncut"]

MOVED_PX, MOVED_DIAMETERS = 1.5, 0.15  # a trail that strays by less never moves
UNCUT = 0.9  # of its usual area: what passes in front of a ghost cuts it, and moves the centre of what is left
MIN_WITNESSES = 2  # frames that show the background's version with nothing else near
CONTRAST = 1.15  # of the background's outline over the frames', from which the background is wrong

EVEN_STEP_LAB = 3.5  # between neighbouring pixels of one surface, at least
SURFACE_AREA = 0.04  # of the picture: a larger even patch is scenery
THIN_PX = 2  # edges between surfaces are no thicker than twice this
MIN_FILL = 0.55  # of its convex hull that a thing covers
MIN_SHOWN, MIN_COVERED = 0.6, 0.6  # of all frames, and of what was taken out
MAX_PATCHES = 6  # more are a pattern of the scenery, as bricks
MIN_RIM_SHARE = 0.6  # of a thing's outline that stands out
MIN_AREA, MAX_AREA = 0.25, 4.0  # of the touching thing's area
TOUCH_PX = 2.0
STANDS_ON = 0.8  # sine of the direction of touch from which on one stands on the other, which may well be scenery
UNDERFOOT = 0.3  # diameters below a thing's centre, from where on what begins there lies under it
CROSSED_DIAMETERS = 0.12  # how deep an outline reaches into what is crossed


def mended(background: Background, view: View, things: list[Thing]) -> Background | None:
    """The background with what the frames show in place of its ghosts; None where it has none."""
    trails = [trail for thing in things for trail in thing.trails]
    rgb_YX3 = background.rgb_YX3.copy()
    found = False
    for trail in trails:
        if trail.kind != "body":
            continue
        whole = uncut(trail.blobs)
        if strays(whole):
            continue
        frames = sorted(whole)
        middle = trail.blobs[frames[len(frames) // 2]]
        picks = frames[:: max(1, len(frames) // 9)]
        shown_YX3 = np.median(view.rgb_FYX3[picks][(slice(None), *middle.crop)], axis=0).astype(np.float32)
        if _is_ghost(trail, middle, shown_YX3, background, trails, view.frames):
            blob = (middle.share_YX > 0.5).astype(np.uint8)
            patch = cv2.dilate(blob, np.ones((5, 5), np.uint8)) > 0
            rgb_YX3[middle.crop][patch] = shown_YX3[patch]
            found = True
    return repainted(background, rgb_YX3) if found else None


def strays(blobs: Mapping[int, Blob], diameters: float = MOVED_DIAMETERS) -> bool:
    """Whether a thing's centre leaves its place by some of its diameters, and by more than an unsteady outline does."""
    xy = np.array([blob.xy for blob in blobs.values()])
    diameter = 2 * np.sqrt(np.median([blob.area for blob in blobs.values()]) / np.pi)
    return bool(np.ptp(xy, axis=0).max() > max(MOVED_PX, diameters * diameter))


def uncut(blobs: Mapping[int, Blob]) -> dict[int, Blob]:
    """The frames in which nothing that passes cuts a thing: those with about its usual area."""
    usual = float(np.quantile([blob.area for blob in blobs.values()], 0.75))
    return {frame: blob for frame, blob in blobs.items() if blob.area > UNCUT * usual}


def _is_ghost(
    trail: Trail, middle: Blob, shown_YX3: Picture, background: Background, trails: list[Trail], frames: int
) -> bool:
    """Whether a trail that never moves is what the background should show.

    So it is where no frame shows the background's version freely; where that version is this one in the shadow of a
    body that stands above just then; and where its outline stands out more in the background than in the frames.
    """
    blob = middle.share_YX > 0.5
    if not background.known_YX[middle.crop][blob].all():
        return False  # nothing was known here, so something may well rest in front of it
    elsewhere = [frame for frame in range(frames) if frame not in trail.blobs]
    others = [other for other in trails if other is not trail]
    free = [f for f in elsewhere if not any(f in other.blobs and _covers(other.blobs[f], middle) for other in others)]
    if len(free) < MIN_WITNESSES:
        return bool(elsewhere)
    behind_YX3 = background.rgb_YX3[middle.crop]
    factor = (behind_YX3 * shown_YX3).sum(-1) / np.maximum((shown_YX3**2).sum(-1), 1.0)
    tint = np.linalg.norm(behind_YX3 - factor[..., None] * shown_YX3, axis=-1)
    darker = (factor > SHADOW_MIN) & (factor < SHADOW_MAX) & (tint < SHADOW_TINT)
    bodies = [other for other in others if other.kind == "body"]
    if darker[blob].mean() > 0.7 and bodies:
        shaded, lit = (
            np.mean([any(throws(body, frame, middle) for body in bodies) for frame in some])
            for some in (free, list(trail.blobs))
        )
        if shaded > 0.7 and lit < 0.3:
            return True
    wide = cv2.dilate(blob.astype(np.uint8), np.ones((3, 3), np.uint8))
    rim = (wide - cv2.erode(blob.astype(np.uint8), np.ones((3, 3), np.uint8))) > 0
    return _steepness(behind_YX3, rim) > CONTRAST * _steepness(shown_YX3, rim)


def _covers(other: Blob, blob: Blob) -> bool:
    """Whether one blob lies over a part of another one's pixels, or next to them."""
    if not other.reaches(blob):
        return False
    top, left = min(other.top, blob.top), min(other.left, blob.left)
    masks = [np.zeros((0, 0), np.uint8)] * 2
    bottom, right = (max(one.crop[axis].stop for one in (other, blob)) for axis in (0, 1))
    for index, one in enumerate((other, blob)):
        masks[index] = np.zeros((bottom - top, right - left), np.uint8)
        rows, columns = one.crop
        masks[index][rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
            one.share_YX > 0.5
        )
    wide = cv2.dilate(masks[1], np.ones((3, 3), np.uint8))
    return bool(((masks[0] > 0) & (wide > 0)).any())


def _steepness(rgb_YX3: Picture, rim: Mask) -> float:
    """Mean gradient of a picture along an outline."""
    steps = [np.linalg.norm(np.gradient(rgb_YX3, axis=axis), axis=-1) for axis in (0, 1)]
    return float(np.hypot(*steps)[rim].mean())


def touched(background: Background, things: list[Thing], boxes: list[Box]) -> Mask | None:
    """Pixels of the still things that a moving one touches; None where there are none."""
    found = np.zeros(background.known_YX.shape, np.bool_)
    bodies = [thing for thing in things if thing.kind == "body"]
    for patch_YX in _patches(background) if bodies else []:
        if not any(_hides(box, patch_YX) for box in boxes) and any(_meets(thing, patch_YX) for thing in bodies):
            found |= patch_YX
    return found if found.any() else None


def shows(things: list[Thing], still_YX: Mask, frames: int) -> bool:
    """Whether things, followed anew, lie where still ones were taken out, in most frames."""
    steady = 0
    for frame in range(frames):
        covered = np.zeros(still_YX.shape, np.bool_)
        for blob in (thing.blobs[frame] for thing in things if frame in thing.blobs):
            covered[blob.crop] |= blob.share_YX > 0.5
        steady += bool(covered[still_YX].mean() > MIN_COVERED)
    return steady > MIN_SHOWN * frames


def _patches(background: Background) -> list[Mask]:
    """Compact patches of the still picture that no large surface covers."""
    lab_YX3 = background.lab_YX3
    steps = [np.linalg.norm(np.diff(lab_YX3, axis=axis, append=lab_YX3.take([-1], axis)), axis=-1) for axis in (0, 1)]
    step_YX = np.maximum(*steps)
    even_YX = (step_YX < max(EVEN_STEP_LAB, 4 * background.noise)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(even_YX, connectivity=4)
    height, width = even_YX.shape
    at_border = (
        (stats[:, 0] == 0)
        | (stats[:, 1] == 0)
        | (stats[:, 0] + stats[:, 2] == width)
        | (stats[:, 1] + stats[:, 3] == height)
    )
    surface = at_border | (stats[:, cv2.CC_STAT_AREA] > SURFACE_AREA * even_YX.size)
    surface[0] = False  # the edges
    rest_YX = (~surface[labels]).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * THIN_PX + 1,) * 2)
    rest_YX = cv2.morphologyEx(rest_YX, cv2.MORPH_OPEN, disc)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rest_YX)
    patches = []
    for index in range(1, count):
        left, top, wide, tall, area = (int(value) for value in stats[index])
        if area < 16 or left == 0 or top == 0 or left + wide == width or top + tall == height:
            continue
        patch = labels == index
        if _rim_share(step_YX, patch, max(EVEN_STEP_LAB, 4 * background.noise)) < MIN_RIM_SHARE:
            continue
        contours, _ = cv2.findContours(patch.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        hull = cv2.contourArea(cv2.convexHull(contours[0]))
        if area >= MIN_FILL * hull:
            patches.append(patch)
    return patches if len(patches) <= MAX_PATCHES else []


def _rim_share(step_YX: Picture, patch: Mask, edge: float) -> float:
    """Share of the ring around a patch that lies on an edge."""
    mask = patch.astype(np.uint8)
    ring = (cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0) & (cv2.erode(mask, np.ones((3, 3), np.uint8)) == 0)
    near = cv2.dilate((step_YX > edge).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return float(near[ring].mean())


def _hides(box: Box, patch_YX: Mask) -> bool:
    left, top, right, low = (round(value) for value in box)
    return float(patch_YX[max(0, top) : low, max(0, left) : right].sum()) > 0.3 * patch_YX.sum()


def _meets(thing: Thing, patch_YX: Mask) -> bool:
    """Whether a thing comes to touch a patch from the side or crosses it."""
    whole = float(np.quantile([blob.area for blob in thing.blobs.values()], 0.75))
    if not MIN_AREA * whole < patch_YX.sum() < MAX_AREA * whole:
        return False
    patch = patch_YX.astype(np.uint8)
    outside, inside = (cv2.distanceTransform(mask, cv2.DIST_L2, 3) for mask in (1 - patch, patch))
    diameter = 2 * np.sqrt(whole / np.pi)
    near = np.flatnonzero(patch_YX.any(0)), np.flatnonzero(patch_YX.any(1))
    top = float(np.quantile(np.nonzero(patch_YX)[0], 0.15))
    for blob in thing.blobs.values():
        reach = diameter / 2 + 2 * TOUCH_PX
        if not (
            near[0][0] - reach < blob.xy[0] < near[0][-1] + reach
            and near[1][0] - reach < blob.xy[1] < near[1][-1] + reach
            and top < blob.xy[1] + UNDERFOOT * diameter  # else it passes over a mark on the ground
        ):
            continue
        rays = np.stack([np.cos(ANGLES_A), np.sin(ANGLES_A)], 1)
        points = blob.xy + outline(blob)[:, None] * rays
        column, row = np.clip(np.floor(points).astype(int), 0, np.array(patch_YX.shape[::-1]) - 1).T
        beside = (outside[row, column] < TOUCH_PX) & (np.sin(ANGLES_A) < STANDS_ON)
        if beside.any() or inside[row, column].max() > CROSSED_DIAMETERS * diameter:
            return True
    return False
