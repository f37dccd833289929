"""Second half of the detector: from things that were seen to one event, and whether that is what a text claims.

Sees pixels only, never a prompt or a state. Events are told apart by how the main thing moves within `WINDOW_S`:
whether it falls, rises, vanishes, slows down, pushes. Frozen: `digest` names this version, and a change means scoring
anew all that it scored.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vgen.errors import InputError
from vgen.playground import see as see_module
from vgen.playground.caption import Claim
from vgen.playground.scene import Direction, Event
from vgen.playground.see import Thing, see

__all__ = ["Agreement", "Detection", "agrees", "detect", "digest"]

Floats = npt.NDArray[np.float32]

WINDOW_S = 2.7  # events are read from the first 33 frames at 12 fps; later ones show walls and rest
FLOOR_Y = 0.14
MIN_MOVE = 0.08  # less than this, in world units, is standing still
HIT_MIN_PUSH = 0.07  # the pushed thing moves at least this far ...
HIT_MAX_DRIFT = 0.05  # ... and before it is pushed at most this far
HIT_GAP = 0.06  # between the outlines, when the push begins
HIDE_MIN_FRAMES = 2  # out of sight
FALL_MAX_DRIFT = 0.12
FALL_MIN_DROP = 0.2
SWING_MIN_HEIGHT = 0.10  # above the floor at its lowest
SWING_MIN_WIDTH = 0.12
THROW_MIN_RISE = 0.08
RAMP_MIN_DROP = 0.07
SLIDE_MAX_LATE_SPEED = 0.35  # of the early speed; a rolling ball keeps nearly all of it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detection:
    """What a clip shows.

    Args:
        objects: what was seen, the one that the event is about first.
        event: the one event, or None where nothing moves.
        direction: where it goes; None for events without one.
    """

    objects: tuple[Thing, ...]
    event: Event | None
    direction: Direction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Does a clip show what a text claims? A part that the text leaves open agrees.

    Args:
        colours: every named colour is there.
        shapes: every named thing has the named shape.
        event: the event is the named one.
        direction: it goes the named way.
        roles: the event is about the thing that is named first.
    """

    colours: bool
    shapes: bool
    event: bool
    direction: bool
    roles: bool

    @property
    def overall(self) -> bool:
        return self.colours and self.shapes and self.event and self.direction and self.roles


def detect(frames_FYX3: npt.NDArray[np.uint8], fps: float) -> Detection:
    """Colours, shapes and one event of a playground-like clip.

    Args:
        frames_FYX3: uint8 sRGB, at least 4 frames of at least 32x32.
        fps: frames per second.

    Raises:
        InputError: for another dtype or shape, too little to see, or a rate that is not positive.
    """
    if frames_FYX3.dtype != np.uint8 or frames_FYX3.ndim != 4 or frames_FYX3.shape[-1] != 3:
        raise InputError(f"detect needs uint8 frames [F, Y, X, 3], got {frames_FYX3.dtype} {frames_FYX3.shape}")
    if frames_FYX3.shape[0] < 4 or min(frames_FYX3.shape[1:3]) < 32 or not fps > 0:
        raise InputError(
            f"detect needs at least 4 frames of 32x32 and fps above 0, got {frames_FYX3.shape} at {fps} fps"
        )
    window = frames_FYX3[: max(4, round(WINDOW_S * fps) + 1)]
    things = see(window)
    for main, other in [(a, b) for a in things for b in things if a is not b]:
        if (direction := _hit_direction(main, other)) is not None:
            rest = tuple(thing for thing in things if thing is not main)
            return Detection(objects=(main, *rest), event="hit", direction=direction)
    things = tuple(sorted(things, key=_travel, reverse=True))
    event = _event_of(things[0]) if things else None
    directed = event not in (None, "fall", "swing")
    return Detection(objects=things, event=event, direction=_heading(things[0]) if directed else None)


def agrees(detection: Detection, claim: Claim) -> Agreement:
    """Holds a detection against a claim."""
    shape_of = {thing.colour: thing.shape for thing in detection.objects}
    main = detection.objects[0].colour if detection.objects else None
    return Agreement(
        colours=set(claim.colours) <= set(shape_of),
        shapes=all(shape_of.get(c) == s for c, s in zip(claim.colours, claim.shapes, strict=False)),
        event=claim.event is None or detection.event == claim.event,
        direction=claim.direction is None or detection.direction == claim.direction,
        roles=not claim.colours or main == claim.colours[0],
    )


def digest() -> str:
    """sha256 over the detector's source, in hex: names the version that a score was made with."""
    paths = (Path(see_module.__file__), Path(__file__))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _event_of(thing: Thing) -> Event | None:
    """The event of a single thing; each line rules out what the ones before it caught."""
    x_F, y_F, low_F = thing.track_F3[thing.seen_F].T
    height_F = low_F - FLOOR_Y
    drift, drop = float(np.ptp(x_F)), float(np.ptp(y_F))
    if drift < FALL_MAX_DRIFT:
        return "fall" if drop > FALL_MIN_DROP else None
    if height_F.min() > SWING_MIN_HEIGHT and drift > SWING_MIN_WIDTH:
        return "swing"
    if y_F.max() - y_F[:2].mean() > THROW_MIN_RISE:
        return "throw"
    if y_F[:2].mean() - np.median(y_F[-4:]) > RAMP_MIN_DROP:
        return "ramp"
    if _is_hidden(thing):
        return "hide"
    return "slide" if _late_speed(thing) < SLIDE_MAX_LATE_SPEED else "roll"


def _is_hidden(thing: Thing) -> bool:
    """It vanishes between two frames that show it, and moves on meanwhile."""
    seen = np.flatnonzero(thing.seen_F)
    gaps = np.flatnonzero(np.diff(seen) > HIDE_MIN_FRAMES)
    x_F = thing.track_F3[:, 0]
    return any(abs(x_F[seen[gap + 1]] - x_F[seen[gap]]) > thing.radius for gap in gaps)


def _late_speed(thing: Thing) -> float:
    """Speed along x in the last third over that in the first."""
    seen = np.flatnonzero(thing.seen_F)
    x_F = thing.track_F3[seen, 0]
    third = max(2, len(seen) // 3)
    early = abs(x_F[third - 1] - x_F[0]) / (seen[third - 1] - seen[0])
    late = abs(x_F[-1] - x_F[-third]) / (seen[-1] - seen[-third])
    return float(late / max(early, 1e-6))


def _travel(thing: Thing) -> float:
    return float(np.hypot(*np.ptp(thing.track_F3[thing.seen_F, :2], axis=0)))


def _heading(thing: Thing) -> Direction | None:
    """The side on which it gets farthest from where it started."""
    x_F = thing.track_F3[thing.seen_F, 0]
    away_F = x_F - x_F[0]
    farthest = float(away_F[np.abs(away_F).argmax()])
    if abs(farthest) < MIN_MOVE:
        return None
    return "right" if farthest > 0 else "left"


def _hit_direction(main: Thing, other: Thing) -> Direction | None:
    """Where `main` pushes `other`, if it does: other stood still, main came near, other moved on the same way."""
    both = np.flatnonzero(main.seen_F & other.seen_F)
    if len(both) < 4:
        return None
    main_x, other_x = main.track_F3[both, 0], other.track_F3[both, 0]
    gap_F = np.abs(main_x - other_x) - main.radius - other.radius
    touching = np.flatnonzero(gap_F < HIT_GAP)
    if not touching.size or touching[0] == 0:
        return None
    touch = touching[0]
    side = float(np.sign(other_x[0] - main_x[0]))
    came = (main_x[touch] - main_x[0]) * side
    drifted = np.abs(other_x[: touch + 1] - other_x[0]).max()
    pushed = ((other_x[touch:] - other_x[0]) * side).max()
    if came < HIT_MIN_PUSH or drifted > HIT_MAX_DRIFT or pushed < HIT_MIN_PUSH:
        return None
    return "right" if side > 0 else "left"
