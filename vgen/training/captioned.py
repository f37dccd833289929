"""A folder of captioned videos, checked whole before anything is loaded.

clip.mp4 + clip.txt          a caption beside each clip
clip.mp4 + metadata.jsonl    or all captions in one file, {"file_name": "clip.mp4", "text": "..."} on each line
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgen.errors import InputError
from vgen.files import os_errors
from vgen.frames import Frames
from vgen.images import fit_image
from vgen.video.ffmpeg import VIDEO_KINDS
from vgen.video.read import iter_frames, probe

__all__ = ["Captioned", "read_captioned", "windows"]

METADATA = "metadata.jsonl"
METADATA_LIMIT_BYTES = 64 << 20
CAPTION_LIMIT_BYTES = 16 << 10
SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """One clip.

    Args:
        path: of the video.
        caption: what is seen.
        frames, fps: as the container says.
        picked: frames of the video that each window shows.
    """

    path: Path
    caption: str
    frames: int
    fps: float
    picked: tuple[tuple[int, ...], ...]


def read_captioned(folder: Path, *, num_frames: int, fps: float) -> list[Captioned]:
    """The clips of a folder, by name, each cut into as many windows as follow one another in it.

    Args:
        folder: with videos and captions.
        num_frames: of a window.
        fps: at which a window shows its clip; a faster clip is thinned out.

    Raises:
        InputError: no folder, no clips, or clips that cannot be used; names the first of them.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no folder; one with videos and a caption for each is needed")
    with os_errors("read", folder):
        videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_KINDS)
    if not videos:
        raise InputError(f"{folder}: no videos in it; possible: {', '.join(sorted(VIDEO_KINDS))}")
    listed = _listed(folder) if (folder / METADATA).is_file() else None
    clips, problems = [], _strangers(folder, videos, listed)
    for video in videos:
        try:
            clips.append(_clip(video, listed, num_frames, fps))
        except InputError as error:
            problems.append(str(error))
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputError(f"{folder}: {'; '.join(problems[:SHOWN])}{more}")
    return clips


def windows(clip: Captioned, *, height: int, width: int) -> Iterator[Frames]:
    """The frames of each window in one pass over the video, cropped to a size: uint8 [F, Y, X, 3]."""
    wanted = iter(clip.picked)
    picked, kept = next(wanted), []
    for number, frame_YX3 in enumerate(iter_frames(clip.path)):
        if number not in picked:
            continue
        kept.append(fit_image(frame_YX3, height=height, width=width))
        if number == picked[-1]:
            yield np.stack(kept)
            following = next(wanted, None)
            if following is None:
                return
            picked, kept = following, []
    raise InputError(f"{clip.path}: ends before its {clip.frames} frames")


def _clip(video: Path, listed: dict[str, str] | None, num_frames: int, fps: float) -> Captioned:
    caption = _beside(video) if listed is None else listed.get(video.name, "")
    if not caption:
        where = video.with_suffix(".txt").name if listed is None else METADATA
        raise InputError(f"{video.name} has no caption in {where}")
    info = probe(video)
    if info.fps < 0.99 * fps:
        raise InputError(f"{video.name} has {info.fps:g} fps, and {fps:g} are needed; see --fps")
    step = max(1.0, info.fps / fps)
    count = int((info.frames - 1) / step + 1 + 1e-6) // num_frames
    if count < 1:
        raise InputError(
            f"{video.name} has {info.frames} frames at {info.fps:g} fps, and {num_frames} at {fps:g} are needed"
        )
    places = [round(place * step) for place in range(count * num_frames)]
    picked = tuple(tuple(places[i * num_frames : (i + 1) * num_frames]) for i in range(count))
    return Captioned(path=video, caption=caption, frames=info.frames, fps=info.fps, picked=picked)


def _beside(video: Path) -> str:
    path = video.with_suffix(".txt")
    return " ".join(_text(path, CAPTION_LIMIT_BYTES).split()) if path.is_file() else ""


def _listed(folder: Path) -> dict[str, str]:
    """Captions by the name of their clip."""
    path, listed = folder / METADATA, {}
    for number, line in enumerate(_text(path, METADATA_LIMIT_BYTES).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is not JSON") from error
        named = isinstance(row, dict) and isinstance(row.get("file_name"), str) and isinstance(row.get("text"), str)
        if not named or row["file_name"] in listed:
            raise InputError(f'{path}: line {number} is no new {{"file_name": "clip.mp4", "text": "what is seen"}}')
        listed[row["file_name"]] = " ".join(row["text"].split())
    return listed


def _strangers(folder: Path, videos: list[Path], listed: dict[str, str] | None) -> list[str]:
    """Captions without a clip."""
    if listed is not None:
        return [f"{METADATA} names {name[:80]!r}, which is not there" for name in {*listed} - {v.name for v in videos}]
    stems = {video.stem for video in videos}
    doubled = sorted({video.stem for video in videos if sum(other.stem == video.stem for other in videos) > 1})
    lonely = sorted(path.name for path in folder.glob("*.txt") if path.stem not in stems)
    return [f"{stem} names two clips" for stem in doubled] + [f"{name} is a caption without a clip" for name in lonely]


def _text(path: Path, limit: int) -> str:
    try:
        if path.stat().st_size > limit:
            raise InputError(f"{path.name} has {path.stat().st_size} bytes; at most {limit}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is not readable as text") from error
