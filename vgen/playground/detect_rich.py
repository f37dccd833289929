"""The detector of the rich world: from things that were seen to one event or two, in their order.

Sees pixels only, through the same `see.py` as `detect.py`. Each event has its own signs in the main thing's track and a
moment: of a hit the touch before a push, of hiding the vanishing, of a ramp the middle of a descent that goes sideways,
of a fall the fastest free descent, of what travels or swings its start. Frozen as `detect.py` is, with a digest of its
own.
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

__all__ = ["RichAgreement", "RichDetection", "agrees_rich", "detect_rich", "rich_digest"]

Floats = npt.NDArray[np.float32]

WINDOW_S = 3.0  # events are read from the first 49 frames at 16 fps; later ones show walls and rest
FLOOR_Y = 0.14
MIN_MOVE = 0.08  # less than this, in world units, is standing still
HIT_MIN_PUSH = 0.06  # the pushed thing moves at least this far ...
HIT_MAX_DRIFT = 0.04  # ... and before it is pushed at most this far
HIT_GAP = 0.06  # between the outlines, when the push begins
HIDE_MIN_FRAMES = 2  # out of sight
SWING_MIN_HEIGHT = 0.02  # above the floor at its lowest
SWING_MIN_WIDTH = 0.12
SWING_MIN_SAG = 0.025  # of its path; what rolls on a ledge is as high but goes level
THROW_MIN_RISE = 0.08
SINKING_PER_S = 0.12  # slower than this is level
STEEP = 0.95  # of down to sideways: above it a descent is free, below it there is a ramp
FALL_MIN_DROP = 0.12  # within one free descent
RAMP_MIN_DROP = 0.06  # within one descent on a ramp
ROLL_MIN_WIDTH = 0.08  # before a fall
SLIDE_MAX_LATE_SPEED = 0.35  # of the early speed; a rolling ball keeps nearly all of it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RichDetection:
    """What a clip shows.

    Args:
        objects: what was seen; the one that the events are about first, then the one that it hits.
        seen: the events and their moments in frames, one or two, the earlier one first; none where nothing moves.
        direction: where they go; None for a fall or a swing alone.
    """

    objects: tuple[Thing, ...]
    seen: tuple[tuple[Event, float], ...]
    direction: Direction | None

    @property
    def event(self) -> Event | None:
        """The earlier event."""
        return self.seen[0][0] if self.seen else None

    @property
    def then(self) -> Event | None:
        """The later one of two."""
        return self.seen[1][0] if len(self.seen) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RichAgreement:
    """Does a clip show what a text claims? A part that the text leaves open agrees.

    Args:
        colours: every named colour is there.
        shapes: every named thing has the named shape.
        event: the named event is there; where it is the only one, it is the first that is seen.
        direction: it goes the named way.
        then: the event that is named second is there.
        order: both are there, in the named order.
        roles: the events are about the thing that is named first, and it hits the one that is named second.
    """

    colours: bool
    shapes: bool
    event: bool
    direction: bool
    then: bool
    order: bool
    roles: bool

    @property
    def overall(self) -> bool:
        return all((self.colours, self.shapes, self.event, self.direction, self.then, self.order, self.roles))


def detect_rich(frames_FYX3: npt.NDArray[np.uint8], fps: float) -> RichDetection:
    """Colours, shapes and up to two events of a clip of the rich world.

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
    things = see(frames_FYX3[: max(4, round(WINDOW_S * fps) + 1)])
    for main, other in [(a, b) for a in things for b in things if a is not b]:
        if (touch := _touch(main, other)) is not None:
            rest = tuple(thing for thing in things if thing is not main and thing is not other)
            before = [found for found in _events(main, fps, until=touch) if found[0] in ("ramp", "hide", "swing")]
            seen = (*before, ("hit", float(touch)))[-2:]
            return RichDetection(objects=(main, other, *rest), seen=seen, direction=_side(main, other))
    things = tuple(sorted(things, key=_travel, reverse=True))
    seen = tuple(_events(things[0], fps))[:2] if things else ()
    directed = len(seen) > 1 or (len(seen) == 1 and seen[0][0] not in ("fall", "swing"))
    return RichDetection(objects=things, seen=seen, direction=_heading(things[0]) if directed else None)


def agrees_rich(detection: RichDetection, claim: Claim) -> RichAgreement:
    """Holds a detection against a claim."""
    shape_of = {thing.colour: thing.shape for thing in detection.objects}
    order = [event for event, _ in detection.seen]
    named = claim.colours[: 2 if "hit" in (claim.event, claim.then) else 1]
    alone = claim.then is None
    return RichAgreement(
        colours=set(claim.colours) <= set(shape_of),
        shapes=all(shape_of.get(c) == s for c, s in zip(claim.colours, claim.shapes, strict=False)),
        event=claim.event is None or (detection.event == claim.event if alone else claim.event in order),
        direction=claim.direction is None or detection.direction == claim.direction,
        then=claim.then is None or claim.then in order,
        order=alone or order == [claim.event, claim.then],
        roles=tuple(thing.colour for thing in detection.objects[: len(named)]) == named,
    )


def rich_digest() -> str:
    """sha256 over the detector's source, in hex: names the version that a score was made with."""
    paths = (Path(see_module.__file__), Path(__file__))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _events(thing: Thing, fps: float, until: int | None = None) -> list[tuple[Event, float]]:
    """The events of a single thing in the order of their moments, as far as frame `until`."""
    seen = np.flatnonzero(thing.seen_F)
    seen = seen if until is None else seen[seen <= until]
    if len(seen) < 4:
        return []
    x_N, y_N, low_N = thing.track_F3[seen].T
    if float(np.hypot(np.ptp(x_N), np.ptp(y_N))) < MIN_MOVE:
        return []
    start = float(seen[0])
    hangs = (low_N - FLOOR_Y).min() > SWING_MIN_HEIGHT and np.ptp(y_N) > SWING_MIN_SAG
    if hangs and np.ptp(x_N) > SWING_MIN_WIDTH:
        return [("swing", start)]
    if y_N.max() - y_N[:2].mean() > THROW_MIN_RISE:
        return [("throw", start)]
    fall, ramp = _descents(seen, x_N, y_N, fps)
    found: list[tuple[Event, float]] = []
    if fall is not None:
        found.append(("fall", fall[1]))
        before = x_N[seen < fall[0]]
        if ramp is None and before.size and np.ptp(before) > ROLL_MIN_WIDTH:
            found.append(("roll", start))
    if ramp is not None:
        found.append(("ramp", ramp))
    if (vanishes := _vanishes(thing, seen)) is not None:
        found.append(("hide", vanishes))
    if not found and np.ptp(x_N) > MIN_MOVE:
        found.append(("slide" if _late_speed(seen, x_N) < SLIDE_MAX_LATE_SPEED else "roll", start))
    return sorted(found, key=lambda event: event[1])


def _descents(
    seen: npt.NDArray[np.intp], x_N: Floats, y_N: Floats, fps: float
) -> tuple[tuple[float, float] | None, float | None]:
    """The largest free descent, as its beginning and its fastest moment, and the middle of the largest on a ramp."""
    step_s = np.diff(seen) / fps
    down, along = -np.diff(y_N) / step_s, np.abs(np.diff(x_N)) / step_s
    sinking = (down > SINKING_PER_S) & (np.diff(seen) <= 2)
    drop = -np.diff(y_N)
    fall, ramp = None, None
    most = FALL_MIN_DROP
    for first, last in _runs(sinking & (down > STEEP * along)):
        if drop[first:last].sum() > most:
            most = float(drop[first:last].sum())
            fall = float(seen[first]), float(seen[first + int(down[first:last].argmax())])
    most = RAMP_MIN_DROP
    for first, last in _runs(sinking & (down <= STEEP * along)):
        if drop[first:last].sum() > most:
            most = float(drop[first:last].sum())
            ramp = float(seen[first] + seen[last]) / 2
    return fall, ramp


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last-plus-one of each unbroken run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _vanishes(thing: Thing, seen: npt.NDArray[np.intp]) -> float | None:
    """When it goes out of sight, if it moves on meanwhile and shows again."""
    x_F = thing.track_F3[:, 0]
    for gap in np.flatnonzero(np.diff(seen) > HIDE_MIN_FRAMES):
        if abs(x_F[seen[gap + 1]] - x_F[seen[gap]]) > thing.radius:
            return float(seen[gap] + 1)
    return None


def _late_speed(seen: npt.NDArray[np.intp], x_N: Floats) -> float:
    """Speed along x in the last third over that in the first."""
    third = max(2, len(seen) // 3)
    early = abs(x_N[third - 1] - x_N[0]) / (seen[third - 1] - seen[0])
    late = abs(x_N[-1] - x_N[-third]) / (seen[-1] - seen[-third])
    return float(late / max(early, 1e-6))


def _travel(thing: Thing) -> float:
    return float(np.hypot(*np.ptp(thing.track_F3[thing.seen_F, :2], axis=0)))


def _heading(thing: Thing) -> Direction | None:
    """The side on which it gets farthest from where it started."""
    x_N = thing.track_F3[thing.seen_F, 0]
    away_N = x_N - x_N[0]
    farthest = float(away_N[np.abs(away_N).argmax()])
    if abs(farthest) < MIN_MOVE:
        return None
    return "right" if farthest > 0 else "left"


def _touch(main: Thing, other: Thing) -> int | None:
    """The frame in which `main` begins to push `other`: that stood still, main came near, and it moved away from it."""
    both = np.flatnonzero(main.seen_F & other.seen_F)
    if len(both) < 4:
        return None
    main_N2, other_N2 = main.track_F3[both, :2], other.track_F3[both, :2]
    gap_N = np.hypot(*(main_N2 - other_N2).T) - main.radius - other.radius
    near = np.flatnonzero(gap_N < HIT_GAP)
    if not near.size or near[0] == 0:
        return None
    touch = int(near[0])
    start_x = main.track_F3[np.flatnonzero(main.seen_F)[0], 0]
    side = float(np.sign(other_N2[0, 0] - start_x))
    came = (main_N2[touch, 0] - start_x) * side
    drifted = np.abs(other_N2[: touch + 1, 0] - other_N2[0, 0]).max()
    pushed = ((other_N2[touch:, 0] - other_N2[0, 0]) * side).max()
    if came < MIN_MOVE or drifted > HIT_MAX_DRIFT or pushed < HIT_MIN_PUSH:
        return None
    return int(both[touch])


def _side(main: Thing, other: Thing) -> Direction:
    """On which side of where the one began the other one began."""
    starts = [float(thing.track_F3[np.flatnonzero(thing.seen_F)[0], 0]) for thing in (main, other)]
    return "right" if starts[1] > starts[0] else "left"
