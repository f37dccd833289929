"""Where a new shot starts: most of the picture changes within one frame, far more than around it.

A thing that jumps changes a small share of the picture, a fast pan changes as much before and after; a cut does
neither.
"""

from itertools import pairwise

import cv2
import numpy as np

from vgen.judge.perception.view import Bytes

__all__ = ["find_cuts", "longest_shot"]

THUMBNAIL_PX = 24  # per side
CHANGED_LEVELS = 22.0  # of 255: a cell of the thumbnail that changes by more shows something else
MIN_SHARE = 0.5  # of the thumbnail's cells
MIN_RATIO = 3.0  # over the largest change in the frames around


def find_cuts(rgb_FYX3: Bytes) -> tuple[int, ...]:
    """Frames that start a new shot, ascending."""
    if len(rgb_FYX3) < 2:
        return ()
    side = (THUMBNAIL_PX, THUMBNAIL_PX)
    small = np.stack([cv2.resize(frame, side, interpolation=cv2.INTER_AREA) for frame in rgb_FYX3]).astype(np.float32)
    step = np.abs(np.diff(small, axis=0)).max(-1)
    share_F = (step > CHANGED_LEVELS).mean((1, 2))
    change_F = step.mean((1, 2))
    cuts = []
    for frame in np.flatnonzero(share_F > MIN_SHARE):
        around = np.concatenate([change_F[max(0, frame - 3) : frame], change_F[frame + 1 : frame + 4]])
        if around.size and change_F[frame] > MIN_RATIO * around.max():
            cuts.append(int(frame) + 1)
    return tuple(cuts)


def longest_shot(frames: int, cuts: tuple[int, ...]) -> tuple[int, int]:
    """First and one past the last frame of the longest stretch between cuts, the earliest of equals."""
    bounds = [0, *cuts, frames]
    return max(pairwise(bounds), key=lambda shot: shot[1] - shot[0])
