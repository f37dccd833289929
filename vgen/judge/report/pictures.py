"""Frames as pictures inside a page, with outlines and paths drawn over them as vector graphics.

Every frame is stored once, in a hidden drawing that the others refer to by `#frame-<index>`. Drawings are in pixels of
the frame; what perception gives in reference coordinates is carried back by the camera's motion first.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from vgen.frames import Frames
from vgen.judge.observation import OUTLINE_DIRECTIONS, Floats, Observation, Track
from vgen.judge.report.svg import path_of, tag

__all__ = ["crop_of", "frame_store", "in_frame", "overlay"]

LARGEST_SIDE_PX = 640
JPEG_QUALITY = 88
TRAIL_FRAMES = 12
Box = tuple[float, float, float, float]  # left, top, width, height


def frame_store(frames_FYX3: Frames, shown: Sequence[int]) -> Markup:
    """The hidden drawing that holds the pictures of these frames."""
    height, width = frames_FYX3.shape[1:3]
    pictures = [
        tag("image", id=f"frame-{index}", width=width, height=height, href=_jpeg(frames_FYX3[index]))
        for index in sorted({*shown})
    ]
    return tag("svg", tag("defs", *pictures), width=0, height=0, style="position:absolute", aria_hidden="true")


def overlay(seen: Observation, frame: int, tracks: Sequence[int], crop: Box, *, marked: bool) -> Markup:
    """One frame with the outlines of things and where they came from.

    Args:
        seen: the observation.
        frame: its index.
        tracks: ids of what is drawn over it.
        crop: the part that shows, in pixels.
        marked: whether the frame is among those that show the breach.
    """
    unit = crop[2] / 200  # about one pixel on the screen
    drawn = [tag("use", href=f"#frame-{frame}")]
    for number in tracks:
        track = seen.tracks[number]
        drawn.append(_trail(seen, track, frame, unit))
        drawn.append(_outline(seen, track, frame, unit))
        drawn.append(_number(seen, track, frame, unit))
    left, top, width, height = (f"{value:.1f}" for value in crop)
    kind = "still marked" if marked else "still"
    return tag("svg", *drawn, class_=kind, viewBox=f"{left} {top} {width} {height}", role="img")


def crop_of(seen: Observation, frames: Sequence[int], tracks: Sequence[int]) -> Box:
    """The part of the picture around some things in some frames; the whole where they are large or nowhere."""
    boxes = [_box(seen, seen.tracks[number], frame) for number in tracks for frame in frames]
    corners_P2 = np.concatenate([box for box in boxes if box is not None] or [np.zeros((0, 2))])
    if not len(corners_P2):
        return 0, 0, seen.width, seen.height
    (left, top), (right, bottom) = corners_P2.min(axis=0), corners_P2.max(axis=0)
    share = max((right - left) / seen.width, (bottom - top) / seen.height) * 1.5
    share = min(1.0, max(share, 0.4))
    width, height = share * seen.width, share * seen.height
    x = np.clip((left + right) / 2 - width / 2, 0, seen.width - width)
    y = np.clip((top + bottom) / 2 - height / 2, 0, seen.height - height)
    return float(x), float(y), width, height


def in_frame(seen: Observation, frame: int, points_P2: Floats) -> Floats:
    """Points of reference coordinates in the pixels of a frame."""
    if not seen.camera.moving:
        return points_P2
    back_33 = np.linalg.inv(seen.camera.to_reference_F33[frame])
    homogeneous_P3 = np.concatenate([points_P2, np.ones((len(points_P2), 1))], axis=1) @ back_33.T
    moved: Floats = homogeneous_P3[:, :2] / homogeneous_P3[:, 2:]
    return moved


def _box(seen: Observation, track: Track, frame: int) -> Floats | None:
    left, top, right, bottom = track.box_F4[frame]
    if not np.isfinite(track.box_F4[frame]).all():
        return None
    return in_frame(seen, frame, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))


def _outline(seen: Observation, track: Track, frame: int, unit: float) -> Markup:
    centre, reach_A = track.xy_F2[frame], track.outline_px_FA[frame]
    if not (np.isfinite(centre).all() and np.isfinite(reach_A).all()):
        return Markup()
    turn_A = 2 * np.pi * np.arange(OUTLINE_DIRECTIONS) / OUTLINE_DIRECTIONS
    around_A2 = centre + reach_A[:, None] * np.stack([np.cos(turn_A), np.sin(turn_A)], axis=1)
    line = path_of(in_frame(seen, frame, around_A2)) + "Z"
    return _haloed(line, f"t{track.id % 8}", unit)


def _trail(seen: Observation, track: Track, frame: int, unit: float) -> Markup:
    before_P2 = track.xy_F2[max(0, frame - TRAIL_FRAMES) : frame + 1]
    line = path_of(in_frame(seen, frame, before_P2))
    dots = [
        tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{1.4 * unit:.2f}", class_=f"dot t{track.id % 8}")
        for x, y in in_frame(seen, frame, before_P2)
        if np.isfinite([x, y]).all()
    ]
    return _haloed(line, f"trail t{track.id % 8}", unit) + Markup().join(dots)


def _number(seen: Observation, track: Track, frame: int, unit: float) -> Markup:
    corners_P2 = _box(seen, track, frame)
    if corners_P2 is None:
        return Markup()
    x, y = corners_P2.max(axis=0)[0] + 3 * unit, corners_P2.min(axis=0)[1] + 3 * unit
    size = f"font-size:{11 * unit:.1f}px;stroke-width:{3 * unit:.1f}"
    return tag("text", str(track.id), x=f"{x:.1f}", y=f"{y:.1f}", class_=f"number t{track.id % 8}", style=size)


def _haloed(line: str, kind: str, unit: float) -> Markup:
    """A coloured line that shows on any picture."""
    wide, fine = f"stroke-width:{3.2 * unit:.2f}", f"stroke-width:{1.6 * unit:.2f}"
    return tag("path", d=line, class_="halo", style=wide) + tag("path", d=line, class_=f"line {kind}", style=fine)


def _jpeg(frame_YX3: Frames) -> str:
    picture = Image.fromarray(frame_YX3)
    picture.thumbnail((LARGEST_SIDE_PX, LARGEST_SIDE_PX))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
