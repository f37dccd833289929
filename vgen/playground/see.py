"""First half of the detector: from pixels to coloured things with a shape and a track.

Objects of the playground are saturated or bright, its backgrounds are neither; so colour alone finds them, frame by
frame, with no background model that a wobbling generated clip would upset. World units and axes are those of
`scene.py`.
Part of the frozen detector: `detect.digest` covers this file, and its constants are its own.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from vgen.playground.scene import COLOURS, Colour, Shape

__all__ = ["Thing", "see"]

Floats = npt.NDArray[np.float32]

HUE_STARTS_DEG: dict[Colour, float] = {"red": 328.0, "yellow": 25.0, "green": 90.0, "blue": 177.0, "purple": 257.0}
MIN_CHROMA = 0.23  # largest minus smallest of R, G, B; backgrounds stay below 0.13
MIN_WHITE = 0.66  # smallest of R, G, B; skies stay below 0.60
MAX_WHITE_CHROMA = 0.15
MIN_AREA = 0.0025  # of the unit square: a fifth of the smallest object
MIN_PEAK_AREA = 0.006  # an object shows at least this much of itself at its best: half of the smallest one
MIN_SEEN = 0.35  # share of frames in which a colour must show to be an object
MIN_VOLUME = 0.12  # of the biggest object's: what is smaller is fringe of another colour
BOX_SQUARENESS = 0.24  # discs measure up to 0.14, boxes from 0.45; after lossy compression 0.24 and 0.22
SMOOTH_FRAMES = 5  # a generated outline trembles; no event turns twice within five frames at 12 fps
WHOLE = 0.85  # of the largest area: below it an object is partly hidden and its shape is not read


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """An object that was seen.

    Args:
        colour, shape: as read from the pixels.
        track_F3: float32; centre x, y (median of `SMOOTH_FRAMES`) and lowest point y in world units; NaN in frames in
            which it does not show.
        area_F: float32; visible area in squares of the world unit; 0 where it does not show.
    """

    colour: Colour
    shape: Shape
    track_F3: Floats
    area_F: Floats

    @property
    def seen_F(self) -> npt.NDArray[np.bool_]:
        """Frames in which it shows."""
        return self.area_F > 0

    @property
    def radius(self) -> float:
        """Radius of a disc of its whole area, in world units."""
        return math.sqrt(float(self.area_F.max()) / math.pi)


def see(frames_FYX3: npt.NDArray[np.uint8]) -> tuple[Thing, ...]:
    """The things in a clip, at most one of each colour, largest first; never fewer frames than the clip has."""
    labels_FYX = _colour_of_pixels(frames_FYX3)
    things = [thing for index, colour in enumerate(COLOURS) if (thing := _follow(labels_FYX == index, colour))]
    things.sort(key=lambda thing: -float(thing.area_F.sum()))
    return tuple(thing for thing in things if thing.area_F.sum() >= MIN_VOLUME * things[0].area_F.sum())


def _colour_of_pixels(frames_FYX3: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Index into COLOURS per pixel, -1 for background."""
    rgb = frames_FYX3.astype(np.float32) / 255
    lightest, darkest = rgb.max(-1), rgb.min(-1)
    chroma = lightest - darkest
    flat = cv2.cvtColor(rgb.reshape(1, -1, 3), cv2.COLOR_RGB2HSV)
    hue_deg = flat[..., 0].reshape(chroma.shape)
    labels = np.full(chroma.shape, -1, np.int8)
    starts = sorted((start, COLOURS.index(colour)) for colour, start in HUE_STARTS_DEG.items())
    sector = np.searchsorted([start for start, _ in starts], hue_deg, side="right") - 1  # -1 wraps round to the last
    by_hue = np.array([index for _, index in starts], np.int8)[sector]
    vivid = chroma > MIN_CHROMA
    labels[vivid] = by_hue[vivid]
    labels[(darkest > MIN_WHITE) & (chroma < MAX_WHITE_CHROMA)] = COLOURS.index("white")
    return labels


def _follow(mask_FYX: npt.NDArray[np.bool_], colour: Colour) -> Thing | None:
    """The largest blob of one colour in each frame, if it is there often enough to be an object."""
    num_frames, height, width = mask_FYX.shape
    px = min(height, width)
    track_F3 = np.full((num_frames, 3), np.nan, np.float32)
    area_F = np.zeros(num_frames, np.float32)
    blobs: dict[int, npt.NDArray[np.uint8]] = {}
    for frame in np.flatnonzero(mask_FYX.reshape(num_frames, -1).sum(1) >= MIN_AREA * px * px):
        _, labels, stats, centres = cv2.connectedComponentsWithStats(mask_FYX[frame].astype(np.uint8))
        best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        area = float(stats[best, cv2.CC_STAT_AREA]) / px**2
        if area < MIN_AREA:
            continue
        column, row = centres[best]
        low = float(stats[best, cv2.CC_STAT_TOP] + stats[best, cv2.CC_STAT_HEIGHT])
        track_F3[frame] = (
            (column + 0.5 - width / 2) / px + 0.5,
            0.5 - (row + 0.5 - height / 2) / px,
            0.5 - (low - height / 2) / px,
        )
        area_F[frame] = area
        blobs[int(frame)] = (labels == best).astype(np.uint8)
    if (area_F > 0).mean() < MIN_SEEN or area_F.max() < MIN_PEAK_AREA:
        return None
    seen = np.flatnonzero(area_F)
    track_F3[seen, :2] = median_filter(track_F3[seen, :2], size=(SMOOTH_FRAMES, 1), mode="nearest")
    whole = [blobs[int(frame)] for frame in np.flatnonzero(area_F >= WHOLE * area_F.max())]
    squareness = float(np.median([_squareness(blob) for blob in whole]))
    return Thing(colour, "box" if squareness > BOX_SQUARENESS else "ball", track_F3, area_F)


def _squareness(blob_YX: npt.NDArray[np.uint8]) -> float:
    """How much the kurtosis of a blob's profile changes with the direction from which it is looked at.

    None for an ellipse, 0.6 for a square (1.8 seen on a side, 2.4 on a corner), whatever the rotation. As a mean over
    all pixels it suffers less from frayed outlines than a hull or a rectangle does.
    """
    contours, _ = cv2.findContours(blob_YX, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled_YX = cv2.drawContours(np.zeros_like(blob_YX), contours, -1, 1, cv2.FILLED)
    pixels = np.argwhere(filled_YX).astype(np.float64)
    angles = np.deg2rad(np.arange(0, 180, 5))
    profiles = (pixels - pixels.mean(0)) @ np.stack([np.cos(angles), np.sin(angles)])
    variance = np.maximum((profiles**2).mean(0), 1e-6)  # a line seen end on has none
    return float(np.ptp((profiles**4).mean(0) / variance**2))
