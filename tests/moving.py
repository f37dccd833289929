"""A small moving picture for tests that only need frames: smooth colours that drift, with one pause."""

import numpy as np

from vgen.frames import Frames


def moving_frames(frames: int = 10, height: int = 32, width: int = 48) -> Frames:
    """uint8 [F, Y, X, 3], every frame different but the fourth, which repeats the third."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    times = [min(t, 2) if t < 4 else t for t in range(frames)]
    pictures = [np.stack([x * 5 + t * 7, y * 7 - t * 3, 128 + 0 * x + t * 9], axis=-1) for t in times]
    waves = 127.5 + 127.5 * np.sin(np.stack(pictures) / 40)
    return np.rint(waves).astype(np.uint8)
