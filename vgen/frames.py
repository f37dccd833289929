"""What a frame is: uint8 RGB, rows first. Checks, digest of a clip, rounding from floats, and how far two are apart."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgen.errors import NumericalError

__all__ = ["FloatFrames", "Frames", "FramesDigest", "check_frames", "digest_of", "psnr_db", "to_uint8"]

Frames = NDArray[np.uint8]
FloatFrames = NDArray[np.float32]


def check_frames(frames_FYX3: Frames) -> None:
    """Asserts that an array is uint8 [F, Y, X, 3] with at least one pixel in every frame."""
    assert isinstance(frames_FYX3, np.ndarray), f"frames must be a numpy array, got {type(frames_FYX3).__name__}"
    assert frames_FYX3.dtype == np.uint8, f"frames must be uint8, got {frames_FYX3.dtype}"
    shape = frames_FYX3.shape
    assert len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) >= 1, f"frames must be [F, Y, X, 3], got {shape}"


def to_uint8(frames: NDArray[np.floating[Any]]) -> Frames:
    """Rounds floats in 0..1 to 0..255; what lies outside is clipped.

    Raises:
        NumericalError: a value is not finite.
    """
    if not np.isfinite(frames).all():
        raise NumericalError("the picture holds values that are not finite")
    rounded: Frames = np.rint(np.clip(frames, 0.0, 1.0) * 255.0).astype(np.uint8)
    return rounded


class FramesDigest:
    """SHA-256 over height, width and pixels, frame by frame: the same for any chunking."""

    def __init__(self, *, height: int, width: int) -> None:
        self._hash = hashlib.sha256(f"uint8 RGB {height} {width}\n".encode())

    def update(self, frames_FYX3: Frames) -> None:
        self._hash.update(np.ascontiguousarray(frames_FYX3).data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def digest_of(frames_FYX3: Frames) -> str:
    """The `FramesDigest` of frames that are all at hand."""
    digest = FramesDigest(height=frames_FYX3.shape[1], width=frames_FYX3.shape[2])
    digest.update(frames_FYX3)
    return digest.hexdigest()


def psnr_db(a: Frames, b: Frames) -> float:
    """Peak signal-to-noise ratio of uint8 pictures of one shape in dB; 100 where they are equal."""
    assert a.shape == b.shape, f"pictures of one shape are compared, got {a.shape} and {b.shape}"
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 100.0 if error == 0 else float(10 * np.log10(255.0**2 / error))
