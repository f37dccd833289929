"""What perception saw in a clip: camera, tracks, events. All that a rule may look at; nothing here knows a rule.

Coordinates are pixels of the clip's own size, x to the right, y down, with the camera's motion taken out: they belong
to the frame `Camera.reference`. Times are frames, which may be fractions of one. Nothing has metres or known gravity.
Letters beyond the project's legend: `A` directions around an outline; a last axis of 2 is x, y.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = [
    "EVENTS",
    "OUTLINE_DIRECTIONS",
    "Camera",
    "Event",
    "EventKind",
    "Floats",
    "Liquid",
    "Observation",
    "Sight",
    "Track",
]

Floats = npt.NDArray[np.float64]

EventKind = Literal[
    "contact",
    "separation",
    "bounce",
    "onset",
    "stop",
    "appear",
    "vanish",
    "enter",
    "exit",
    "merge",
    "split",
    "turn",
]
EVENTS: tuple[EventKind, ...] = get_args(EventKind)
OUTLINE_DIRECTIONS = 24  # A: of `Track.outline_FA`, every 15 degrees, the first to the right, turning towards down


class Sight(IntEnum):
    """How much of a thing a frame shows."""

    SEEN = 0  # wholly
    PARTLY = 1  # cut by something in front of it, by the border or by another thing it touches: centre unreliable
    OCCLUDED = 2  # not at all, and something that could hide it stands where it should be
    OUTSIDE = 3  # left the picture, or has not entered it yet
    LOST = 4  # not at all, and nothing says why


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """One thing over the whole clip; every array has one row per frame of the clip, NaN where nothing was measured.

    Args:
        id: its index in `Observation.tracks`.
        kind: a body, or the shadow of one (a patch that only darkens what it lies on).
        xy_F2: centre, in pixels; given for SEEN and PARTLY.
        sigma_px: standard error of one coordinate of a SEEN centre, from the track's own scatter.
        sight_F: `Sight` codes.
        area_px_F: visible area, in square pixels.
        box_F4: left, top, right, bottom of what shows, in pixels.
        outline_px_FA: distance from the centre to the outline in `OUTLINE_DIRECTIONS` directions, in pixels.
        angle_F: orientation in radians, unwrapped, turning as x turns to y; NaN where looks do not tell it.
        lab_F3: mean colour, CIE L*a*b*, with changes of the whole picture's light taken out.
        surface_px_F: free space below the outline's lowest point down to the nearest still surface, in pixels;
            0 where it stands on one (or on another body), NaN where the background does not tell.
    """

    id: int
    kind: Literal["body", "shadow"] = "body"
    xy_F2: Floats
    sigma_px: float
    sight_F: npt.NDArray[np.uint8]
    area_px_F: Floats
    box_F4: Floats
    outline_px_FA: Floats
    angle_F: Floats
    lab_F3: Floats
    surface_px_F: Floats

    @property
    def seen_F(self) -> npt.NDArray[np.bool_]:
        """Frames that show it wholly."""
        return self.sight_F == Sight.SEEN

    @property
    def diameter_px(self) -> float:
        """Of the disc with its median area while wholly seen; of what showed at most where it never was."""
        return _diameter_px(self)


@lru_cache(maxsize=32)  # every rule asks for it again and again
def _diameter_px(track: Track) -> float:
    area = track.area_px_F[track.seen_F]
    whole = np.nanmedian(area) if area.size else np.nanmax(track.area_px_F)
    return float(2 * np.sqrt(whole / np.pi))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Liquid:
    """The surface of a liquid in an open vessel.

    Args:
        ends_F22: left and right end of its straight surface (x, y), in pixels; NaN where it was not measured.
        sigma_px: standard error of the height of one end.
        width_px: median distance of the ends.
    """

    ends_F22: Floats
    sigma_px: float
    width_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at one moment.

    Args:
        kind: one of `EVENTS`. contact and separation name two tracks, or one that met the scenery; a bounce is a
            contact that turns the velocity round; a turn changes it with nothing near; onset and stop are changes
            between rest and motion; appear and vanish have no border and no occluder to explain them, enter and exit
            have the border.
        frame: when, in frames.
        sigma_frames: its standard error.
        tracks: ids of the things it happened to.
        xy: where, in pixels.
        strength: change of velocity in pixels per frame (contact, bounce, turn, onset, stop), else share of the
            thing's area.
    """

    kind: EventKind
    frame: float
    sigma_frames: float
    tracks: tuple[int, ...]
    xy: tuple[float, float]
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """How the camera moved.

    Args:
        to_reference_F33: homography from each frame's pixels to those of frame `reference`.
        inliers_F: share of tracked background points that agree with it, 0..1; below .5 positions mean nothing.
        reference: index of the frame whose coordinates all positions use.
        moving: whether it moved by more than noise.
    """

    to_reference_F33: Floats
    inliers_F: Floats
    reference: int
    moving: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """All that was seen in one clip.

    Args:
        num_frames, fps, height, width: of the clip.
        camera: its motion.
        tracks: everything that moved, and everything still that something touched or that came or went.
        events: in the order of their frames.
        gap_px: free space between the outlines of two tracks per frame, in pixels, by (id, id) with the lower id
            first; negative where they overlap, NaN where one of them does not show.
        front: for pairs of tracks that overlapped: +1 per frame where the lower id lies in front, -1 where behind, 0
            where not told.
        occluders: still things that hid something, as boxes left, top, right, bottom, in pixels.
        background_YX3: uint8 sRGB median picture without the things, in the reference frame; None where none exists.
        cuts: frames that start a new shot; rules judge the longest shot alone, `shot` below.
        shot: first and one past the last frame that the tracks cover.
        liquids: surfaces of liquids in vessels.
        motion_share: speed that the fastest track reaches in a tenth of its frames, over the picture's diagonal, per
            frame; tells a still clip.
        churn: share of tracks that begin or end unexplained, 0..1.
        clutter: share of what moves, by area and frames, that no track explains, 0..1.
        disorder: difference of neighbouring frames over that of frames some way apart: well below 1 where things move,
            about 1 where frames are in no order; 0 where hardly anything changes.
    """

    num_frames: int
    fps: float
    height: int
    width: int
    camera: Camera
    tracks: tuple[Track, ...]
    events: tuple[Event, ...]
    gap_px: dict[tuple[int, int], Floats] = field(default_factory=dict)
    front: dict[tuple[int, int], npt.NDArray[np.int8]] = field(default_factory=dict)
    occluders: tuple[tuple[float, float, float, float], ...] = ()
    background_YX3: npt.NDArray[np.uint8] | None = None
    cuts: tuple[int, ...] = ()
    shot: tuple[int, int] = (0, 0)
    liquids: tuple[Liquid, ...] = ()
    motion_share: float = 0.0
    churn: float = 0.0
    clutter: float = 0.0
    disorder: float = 0.0

    def gap(self, one: int, other: int) -> Floats:
        """Free space between two tracks per frame, in pixels; NaN throughout where they never came near."""
        return self.gap_px.get((min(one, other), max(one, other)), np.full(self.num_frames, np.nan))
