"""Clip: finished frames, how fast they play, and how they were made; the value that everything else hands on.

Writing and reading is `vgen.video`'s work, records are `vgen.records`'; this file joins them to what a user calls.
"""

import base64
import html
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vgen.errors import InputError
from vgen.files import os_errors
from vgen.frames import FloatFrames, Frames, check_frames, digest_of
from vgen.records import Record, comment_of, write_record
from vgen.video.read import Limits, read_video
from vgen.video.write import open_writer

__all__ = ["Clip", "clip_of", "contact_sheet", "default_output", "spread"]

_PREVIEW_FRAMES = 48
_PREVIEW_SIDE_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """A finished video.

    Args:
        frames: uint8 RGB [F, Y, X, 3], F at least 1.
        fps: frames per second.
        record: how it was made, as plain JSON; empty for a clip from elsewhere.
    """

    frames: Frames
    fps: float
    record: Record = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_frames(self.frames)
        assert len(self.frames), "a clip has at least one frame"
        assert math.isfinite(self.fps) and self.fps > 0, f"fps must be positive, got {self.fps}"

    def __repr__(self) -> str:
        return f"Clip({self._summary()})"

    @property
    def duration_s(self) -> float:
        return len(self.frames) / self.fps

    def float_frames(self) -> FloatFrames:
        """The frames as fp32 [F, Y, X, 3] in 0..1, for metrics."""
        return self.frames.astype(np.float32) / np.float32(255)

    def sha256(self) -> str:
        """Digest of size and pixels, before any encoding."""
        return digest_of(self.frames)

    def save(self, path: Path | str) -> Path:
        """Writes the clip, and its record as `<stem>.json` beside it unless the record is empty.

        Args:
            path: the suffix picks the kind: .mp4, .gif, .mkv (lossless); none or .png makes a folder of PNG frames. mp4
                and mkv carry a copy of the record.

        Raises:
            InputError: the path, or this size in this kind, cannot be written; what stood there is untouched.
        """
        _, height, width, _ = self.frames.shape
        with open_writer(path, fps=self.fps, height=height, width=width) as writer:
            writer.write(self.frames)
            if self.record:
                writer.comment = comment_of(self.record)
        if self.record:
            write_record(path, self.record)
        return writer.path

    @classmethod
    def read(cls, path: Path | str, *, fps: float | None = None, limits: Limits | None = None) -> Self:
        """Reads a video file or a folder of PNG frames. `read_record` gives the record, which stays empty here.

        Args:
            path: mp4, mov, mkv, webm, avi, gif, or a folder.
            fps: for a folder whose pictures do not say it.
            limits: the largest that is read.

        Raises:
            InputError: it is missing, not a video, damaged, or above a limit.
        """
        frames, own_fps = read_video(path, fps=fps, limits=limits)
        return cls(frames=frames, fps=own_fps)

    def sheet(self, *, columns: int = 6, rows: int = 2) -> Image.Image:
        """A contact sheet: frames evenly spread over the clip, first and last included, with their times.

        Args:
            columns, rows: at most so many frames are shown; fewer where the clip is shorter.
        """
        shown = spread(len(self.frames), columns * rows)
        return contact_sheet(self.frames[shown], [f"{index / self.fps:.2f} s" for index in shown], columns=columns)

    def _summary(self) -> str:
        frames, height, width, _ = self.frames.shape
        return f"{frames} frames, {width}x{height}, {self.fps:g} fps, {self.duration_s:.2f} s"

    def _repr_html_(self) -> str:
        """A small moving preview in a notebook: at most 48 frames and 256 pixels wide or high."""
        _, height, width, _ = self.frames.shape
        shrink = min(1.0, _PREVIEW_SIDE_PX / max(height, width))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        pictures = [Image.fromarray(self.frames[i]).resize(size) for i in spread(len(self.frames), _PREVIEW_FRAMES)]
        data = io.BytesIO()
        pause_ms = round(1000 * self.duration_s / len(pictures))
        pictures[0].save(data, "GIF", save_all=True, append_images=pictures[1:], duration=pause_ms, loop=0)
        source = base64.b64encode(data.getvalue()).decode()
        return f'<img src="data:image/gif;base64,{source}"><br>{html.escape(self._summary())}'


def default_output(prompt: str, seed: int, *, root: Path | str = "outputs") -> Path:
    """Makes a new folder `<root>/<UTC time>-<words of the prompt>-<seed>` and returns `clip.mp4` in it.

    Making the folder claims the name, so that two runs at once do not share one; a taken name gets `-2`, `-3`, ...

    Raises:
        InputError: the folder cannot be made.
    """
    words = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", words)[:40].strip("-") or "clip"
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{slug}-{seed}"
    root = Path(root)
    with os_errors("make a folder in", root):
        root.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = root / (stem if attempt == 1 else f"{stem}-{attempt}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder / "clip.mp4"
    raise InputError(f"'{root}' holds too many runs named '{stem}'")


def clip_of(path: str | Path) -> Path:
    """The clip that a path means: itself, or what stands beside a record.

    Raises:
        InputError: a record without a clip beside it.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        return path
    places = [path.with_suffix(kind) for kind in (".mkv", ".mp4", ".gif", ".png", "")]
    beside = [place for place in places if place.exists()]
    if not beside:
        raise InputError(f"'{path}': no clip of that name beside the record; name the clip itself")
    return beside[0]


def contact_sheet(frames_FYX3: Frames, captions: Sequence[str], *, columns: int) -> Image.Image:
    """Frames side by side, at most `columns` in a row, a caption below each."""
    columns = min(columns, len(frames_FYX3))
    _, height, width, _ = frames_FYX3.shape
    text_px = max(10, min(height // 8, 24))
    cell_y, cell_x, gap = height + text_px + 4, width, max(2, width // 48)
    rows = math.ceil(len(frames_FYX3) / columns)
    sheet = Image.new("RGB", (columns * (cell_x + gap) + gap, rows * (cell_y + gap) + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(text_px)
    for place, (frame_YX3, caption) in enumerate(zip(frames_FYX3, captions, strict=True)):
        x, y = gap + place % columns * (cell_x + gap), gap + place // columns * (cell_y + gap)
        sheet.paste(Image.fromarray(frame_YX3), (x, y))
        draw.text((x, y + height + 1), caption, fill="black", font=font)
    return sheet


def spread(frames: int, count: int) -> list[int]:
    """At most `count` frame indices, evenly spread, first and last included."""
    assert count >= 1, f"at least one frame is shown, got {count}"
    return sorted({round(index) for index in np.linspace(0, frames - 1, min(frames, count))})
