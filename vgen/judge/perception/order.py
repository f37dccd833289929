"""Whether the frames of a clip follow each other: neighbours are more alike than frames some way apart.

Needs no thing to be told apart, so it still speaks where shuffled frames leave nothing to follow.
"""

import cv2
import numpy as np

from vgen.judge.observation import Floats
from vgen.judge.perception.view import Bytes, View

__all__ = ["disorder"]

LONG_SIDE_PX = 96
CHANGING = 0.02  # share of the pixels, those that differ most: what moves may be small
APART = (5, 6, 7, 8)  # frames
MIN_FRAMES = 12
MIN_CHANGE = 6.0  # of 255; below, it is noise that frames differ by


def disorder(view: View) -> float:
    """Difference of neighbouring frames over that of frames 5 to 8 apart, in the pixels that change most.

    Well below 1 for anything that moves by less than its own size per frame, about 1 for frames in no order; 0 where
    hardly anything changes or the clip is short.
    """
    if view.frames < MIN_FRAMES:
        return 0.0
    height, width = view.size
    scale = min(1.0, LONG_SIDE_PX / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small_FYX3 = np.stack([_small(frame, size) for frame in view.rgb_FYX3])
    inside_FYX = np.ones(small_FYX3.shape[:3], np.uint8)
    if view.inside_FYX is not None:
        inside_FYX = np.stack([cv2.resize(i_YX.astype(np.uint8), size) for i_YX in view.inside_FYX])
    near = float(np.median(_change(small_FYX3, inside_FYX, 1)))
    far = float(np.median(np.concatenate([_change(small_FYX3, inside_FYX, lag) for lag in APART])))
    return near / far if far >= MIN_CHANGE else 0.0


def _small(frame_YX3: Bytes, size: tuple[int, int]) -> Floats:
    small = cv2.resize(frame_YX3, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0))


def _change(small_FYX3: Floats, inside_FYX: Bytes, lag: int) -> Floats:
    """Mean difference of frames this far apart over the pixels that change most, per pair."""
    red, green, blue = (np.abs(small_FYX3[lag:, ..., c] - small_FYX3[:-lag, ..., c]) for c in range(3))
    differ_MYX = np.maximum(np.maximum(red, green), blue) * (inside_FYX[lag:] & inside_FYX[:-lag])
    flat = differ_MYX.reshape(len(differ_MYX), -1)
    most = max(1, round(CHANGING * flat.shape[1]))
    return np.asarray(np.partition(flat, -most, axis=1)[:, -most:].mean(axis=1))
