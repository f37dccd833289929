"""What happens to a picture after it was drawn: blur, noise, light, lossy compression. Frames are uint8 RGB."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from vgen.errors import ConfigError
from vgen.frames import Frames
from vgen.video.ffmpeg import Ffmpeg
from vgen.video.read import iter_frames
from vgen.video.write import KINDS

__all__ = ["H264", "Blur", "Light", "Noise", "PictureChange"]

_CODING_FPS = 25  # only a label in a file that is thrown away; the rate control is by quality


class PictureChange(Protocol):
    """Makes other frames of the same number and size out of frames; the same for the same seed."""

    def __call__(self, frames_FYX3: Frames, seed: int) -> Frames: ...


@dataclass(frozen=True, slots=True)
class Blur:
    """A Gaussian; `sigma` as a share of the picture's shorter side."""

    sigma: float

    def __call__(self, frames_FYX3: Frames, seed: int) -> Frames:
        sigma_px = self.sigma * min(frames_FYX3.shape[1:3])
        blurred = [cv2.GaussianBlur(f_YX3, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT) for f_YX3 in frames_FYX3]
        return np.stack(blurred).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Noise:
    """White Gaussian noise of its own in each pixel, channel and frame; `sigma` in steps of 255."""

    sigma: float

    def __call__(self, frames_FYX3: Frames, seed: int) -> Frames:
        noise = np.random.Generator(np.random.Philox(key=seed)).standard_normal(frames_FYX3.shape, dtype=np.float32)
        return np.rint(frames_FYX3 + self.sigma * noise).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """The same change of light in every pixel: value^gamma, times contrast about mid-grey, plus brightness (0..1)."""

    brightness: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0

    def __call__(self, frames_FYX3: Frames, seed: int) -> Frames:
        value = (np.arange(256) / 255) ** self.gamma
        curve = (value - 0.5) * self.contrast + 0.5 + self.brightness
        changed: Frames = np.rint(curve.clip(0, 1) * 255).astype(np.uint8)[frames_FYX3]
        return changed


@dataclass(frozen=True, slots=True)
class H264:
    """There and back through the encoder of `vgen.video`, at a constant rate factor: 0 best, 51 worst.

    One encoder thread, so that the machine's number of cores does not matter. Odd sizes are padded for the encoder,
    which wants even ones.

    Raises:
        ConfigError: for a rate factor out of range.
    """

    crf: int

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ConfigError(f"H.264 has no CRF {self.crf}; possible: 0 to 51")

    def __call__(self, frames_FYX3: Frames, seed: int) -> Frames:
        height, width = frames_FYX3.shape[1:3]
        padded = np.pad(frames_FYX3, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        codec = list(KINDS[".mp4"].codec)
        codec[codec.index("-crf") + 1] = str(self.crf)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            size = f"{padded.shape[2]}x{padded.shape[1]}"
            source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(_CODING_FPS), "-i", "pipe:0"]
            arguments = [*source, *codec, "-threads", "1", "-fps_mode", "passthrough", "-f", "mp4", f"file:{path}"]
            with Ffmpeg(arguments, task=f"encode a clip at CRF {self.crf}", feed=True) as run:
                run.feed(np.ascontiguousarray(padded).data)
                run.finish()
            decoded = np.stack(list(iter_frames(path)))
        assert len(decoded) == len(frames_FYX3), f"{len(frames_FYX3)} frames came back as {len(decoded)}"
        return decoded[:, :height, :width]
