"""A camera that pans, shakes and rolls: the film is drawn larger than the picture, which then moves over it.

Moves are sub-pixel exact to 1/32 pixel (OpenCV's cubic warp), and the border shows what truly lies there.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vgen.frames import Frames
from vgen.playground.scene import Dice

__all__ = ["STILL", "Camera", "margin_px", "moved"]

_WAVES = 3  # of which a shake is the sum
_SLOWEST_HZ, _FASTEST_HZ = 0.6, 3.5
_CUBIC = 3  # pixels that the warp looks beyond the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """How far the camera moves; lengths are shares of the picture's shorter side.

    Args:
        pan: way along x, once from side to side, with a soft start and end.
        shake: largest way from the middle along x and along y.
        roll_deg: largest turn of the shake.
    """

    pan: float = 0.0
    shake: float = 0.0
    roll_deg: float = 0.0


STILL = Camera()


def margin_px(camera: Camera, height: int, width: int) -> int:
    """Pixels by which the film must be drawn larger on each side."""
    reach = (camera.pan / 2 + camera.shake) * min(height, width)
    swept = math.sin(math.radians(camera.roll_deg)) * math.hypot(height, width) / 2
    return math.ceil(reach + swept) + _CUBIC


def moved(large_FYX3: Frames, camera: Camera, *, height: int, width: int, fps: float, seed: int) -> Frames:
    """What the moving camera sees of a film drawn `margin_px` larger on each side."""
    path_F3 = _path(camera, len(large_FYX3), fps, seed) * (min(height, width), min(height, width), 1)
    margin = margin_px(camera, height, width)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    seen_FYX3 = np.empty((len(large_FYX3), height, width, 3), np.uint8)
    for frame, (dx, dy, angle) in enumerate(path_F3):
        cos, sin = math.cos(angle), math.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        shift = margin + np.array([dx, dy]) + middle - turn @ middle
        seen_FYX3[frame] = cv2.warpAffine(
            large_FYX3[frame],
            np.column_stack([turn, shift]),
            (width, height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
    return seen_FYX3


def _path(camera: Camera, frames: int, fps: float, seed: int) -> npt.NDArray[np.float64]:
    """Offset x, y as shares of the shorter side, and roll in radians, per frame."""
    dice = Dice(seed)
    share_F = np.linspace(0, 1, frames)
    eased_F = share_F**2 * (3 - 2 * share_F) - 0.5
    path_F3 = np.zeros((frames, 3))
    path_F3[:, 0] = camera.pan * dice.pick((-1.0, 1.0)) * eased_F
    for axis, reach in enumerate((camera.shake, camera.shake, math.radians(camera.roll_deg))):
        path_F3[:, axis] += reach * _tremble(np.arange(frames) / fps, dice)
    return path_F3


def _tremble(time_s_F: npt.NDArray[np.float64], dice: Dice) -> npt.NDArray[np.float64]:
    """A smooth random wave within -1..1."""
    total_F = np.zeros_like(time_s_F)
    for _ in range(_WAVES):
        rate_hz, phase = dice.uniform(_SLOWEST_HZ, _FASTEST_HZ), dice.uniform(0, 2 * math.pi)
        total_F += np.sin(2 * math.pi * rate_hz * time_s_F + phase) / _WAVES
    return total_F
