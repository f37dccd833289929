"""The clip as perception works on it: one shot at working size, the camera's motion taken out.

Working pixels are larger than the clip's where the clip is large; `View.to_clip` leads back. Coordinates count from the
corner of the picture, so a pixel's centre lies at a half and scaling needs no offset.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Camera, Floats

__all__ = ["Bytes", "Mask", "Picture", "View", "denoised", "shrink", "steady", "to_lab"]

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.float32]

LONG_SIDE_PX = 320  # of a frame at working size: things of a clip span tens of pixels, work grows with the square
MAX_PIXELS = 48_000_000  # of a whole clip at working size: bounds memory at about 1.5 GiB
NOISY_LEVELS = 2.0  # of 255: median change of a pixel between neighbouring frames
DENOISE_PX = 1.1
SHORT_SIDE_PX = 48  # below it nothing can be told apart
MAX_GROWTH = 2.0  # of the canvas over a frame, per side, when the camera pans


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One shot on a canvas that stands still.

    Args:
        rgb_FYX3: uint8 sRGB.
        lab_FYX3: float32 CIE L*a*b*, smoothed by about half a pixel, light changes taken out.
        inside_FYX: which pixels of the canvas a frame shows; None where all frames show all of it.
        scale: working pixels per pixel of the clip.
        origin: of the canvas, x and y, in working pixels of the reference frame.
    """

    rgb_FYX3: Bytes
    lab_FYX3: Picture
    inside_FYX: Mask | None
    scale: float
    origin: tuple[float, float] = (0.0, 0.0)

    @property
    def frames(self) -> int:
        return len(self.rgb_FYX3)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return self.rgb_FYX3.shape[1], self.rgb_FYX3.shape[2]

    def to_clip(self, xy: Floats) -> Floats:
        """Pixels of the clip, of its reference frame, from pixels of the canvas; the last axis is x, y."""
        return (xy + np.array(self.origin)) / self.scale


def shrink(frames_FYX3: Bytes) -> tuple[Bytes, float]:
    """The clip at working size and working pixels per pixel; small clips stay as they are."""
    frames, height, width, _ = frames_FYX3.shape
    scale = min(1.0, LONG_SIDE_PX / max(height, width), (MAX_PIXELS / (frames * height * width)) ** 0.5)
    if scale == 1.0:
        return frames_FYX3, 1.0
    scale = max(scale, min(1.0, SHORT_SIDE_PX / min(height, width)))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames_FYX3])
    return small, size[0] / width


def denoised(rgb_FYX3: Bytes) -> Bytes:
    """The frames, smoothed where they are noisy: what a smoothing takes from outlines is less than noise does."""
    picks = np.unique(np.linspace(0, max(0, len(rgb_FYX3) - 2), 5).round().astype(int))
    pairs = [(rgb_FYX3[pick].astype(np.int16), rgb_FYX3[min(pick + 1, len(rgb_FYX3) - 1)]) for pick in picks]
    noise = float(np.median([np.median(np.abs(one - other)) for one, other in pairs]))
    if noise < NOISY_LEVELS:
        return rgb_FYX3
    return np.stack([cv2.GaussianBlur(frame, (0, 0), DENOISE_PX) for frame in rgb_FYX3])


def steady(rgb_FYX3: Bytes, camera: Camera) -> tuple[Bytes, Mask | None, tuple[float, float]]:
    """Frames on a canvas in the reference frame, which pixels each shows, and the canvas' origin.

    Args:
        rgb_FYX3: frames at working size.
        camera: in working pixels, one row per frame of `rgb_FYX3`.
    """
    if not camera.moving:
        return rgb_FYX3, None, (0.0, 0.0)
    frames, height, width, _ = rgb_FYX3.shape
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
    reached = np.concatenate([cv2.perspectiveTransform(corners, to)[0] for to in camera.to_reference_F33])
    room = np.array([width, height]) * (MAX_GROWTH - 1) / 2
    low = np.floor(np.maximum(reached.min(0), -room))
    high = np.ceil(np.minimum(reached.max(0), np.array([width, height]) + room))
    size = tuple((high - low).astype(int))
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1.0]])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # from pixel indices to coordinates
    canvas = np.empty((frames, size[1], size[0], 3), np.uint8)
    inside = np.empty(canvas.shape[:3], np.bool_)
    white = np.full((height, width), 255, np.uint8)
    for frame, to in enumerate(camera.to_reference_F33):
        warp = np.linalg.inv(half) @ shift @ to @ half
        canvas[frame] = cv2.warpPerspective(rgb_FYX3[frame], warp, size, borderMode=cv2.BORDER_REPLICATE)
        inside[frame] = cv2.warpPerspective(white, warp, size) > 250
    return canvas, inside, (float(low[0]), float(low[1]))


def to_lab(rgb_FYX3: Bytes) -> Picture:
    """CIE L*a*b* of sRGB pictures, L in 0..100."""
    lab = np.empty(rgb_FYX3.shape, np.float32)
    for frame, rgb in enumerate(rgb_FYX3):
        cv2.cvtColor(rgb.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2Lab, dst=lab[frame])
    return lab
