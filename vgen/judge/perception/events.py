"""What happened when: changes of motion, of touch, and of being there, each at a fraction of a frame where possible."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Event, EventKind, Floats, Sight, Track
from vgen.judge.perception.motion import Piece, kink
from vgen.judge.perception.refine import ANGLES_A
from vgen.judge.perception.surface import Edges, edge_near

__all__ = ["Scenery", "find_events", "in_order"]

TOUCH_PX = 1.6  # working pixels of gap, up to which two outlines touch
TOUCH_DIAMETERS = 0.04
NEAR_FRAMES = 1.6  # a touch this near in time explains a change of motion
MIN_PIECE_FRAMES = 3
REST_DIAMETERS = 0.012  # per frame: slower is rest
MIN_CHANGE_DIAMETERS = 0.02  # per frame: a smaller change of velocity is no event
MIN_CHANGE_SHARE = 0.12  # of the speed
MIN_CHANGE_SIGMAS = 4.0
SMOOTH_SHARE = 0.5  # of a change between two pieces that a smooth curve must leave unexplained
FACING = 0.85  # cosine between a ray and the push that it could take
TURNED = 0.3  # share of its speed along the change that a bounce gives back at least


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scenery:
    """The still world in the clip's pixels: long edges, and how to get from clip to working pixels.

    Args:
        edges: of the background, on the canvas.
        scale, origin: as the view's.
        touch_px: gap up to which things touch, in pixels of the clip.
        size: height and width of the clip.
    """

    edges: Edges
    scale: float
    origin: tuple[float, float]
    touch_px: float
    size: tuple[int, int]

    def near(self, xy: Floats) -> bool:
        """Whether a still edge or the picture's border passes a point, in pixels of the clip."""
        height, width = self.size
        border = min(xy[0], xy[1], width - xy[0], height - xy[1])
        canvas = xy * self.scale - np.array(self.origin)
        return border < self.touch_px or edge_near(self.edges, canvas) < 1.6 * self.touch_px * self.scale


def find_events(
    tracks: tuple[Track, ...],
    pieces: dict[int, list[Piece]],
    gap_px: dict[tuple[int, int], Floats],
    scenery: Scenery,
    shot: tuple[int, int],
) -> tuple[Event, ...]:
    """Events of all bodies in order of their frames."""
    bodies = [track for track in tracks if track.kind == "body"]
    events = [event for pair, gap_F in gap_px.items() for event in _touches(tracks, pair, gap_F, scenery)]
    for track in bodies:
        events += _presence(track, shot)
        for before, after in _kinks(track, pieces[track.id]):
            event = _change(track, before, after, events, scenery)
            if event is not None:
                events.append(event)
    return in_order(events)


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Events by time, whatever order they were found in."""
    return tuple(sorted(events, key=lambda event: (event.frame, event.kind, event.tracks)))


def _touches(tracks: tuple[Track, ...], pair: tuple[int, int], gap_F: Floats, scenery: Scenery) -> list[Event]:
    """Contacts and separations of a pair: where their gap closes and opens."""
    one, other = (tracks[index] for index in pair)
    touch = max(scenery.touch_px, TOUCH_DIAMETERS * min(one.diameter_px, other.diameter_px))
    known = np.flatnonzero(np.isfinite(gap_F))
    events: list[Event] = []
    touching = False
    for place, frame in enumerate(known):
        near = gap_F[frame] < (2 * touch if touching else touch)
        if near != touching and place > 0:
            around = known[max(0, place - 3) : place] if near else known[place : place + 3]
            when, speed = _crossing(around, gap_F, float(frame), closing=near)
            kind: EventKind = "contact" if near else "separation"
            events.append(
                Event(
                    kind=kind,
                    frame=max([when, *(event.frame for event in events[-1:])]),
                    sigma_frames=_time_error(one, other, speed),
                    tracks=pair,
                    xy=_between(one, other, int(frame)),
                    strength=abs(speed),
                )
            )
        touching = bool(near)
    return events


def _crossing(around: npt.NDArray[np.intp], gap_F: Floats, frame: float, *, closing: bool) -> tuple[float, float]:
    """When a gap is zero, from a line through the frames on its open side, and its speed."""
    if len(around) < 2:
        return frame - 0.5, 0.0
    slope, level = np.polyfit(around, gap_F[around], 1)
    if (slope < 0) != closing or slope == 0:
        return frame - 0.5, 0.0
    when = -level / slope
    return float(np.clip(when, frame - 1.5, frame + 1.0)), float(slope)


def _time_error(one: Track, other: Track, speed: float) -> float:
    sigma = float(np.hypot(one.sigma_px, other.sigma_px))
    return float(np.clip(sigma / max(abs(speed), 1e-6), 0.05, 1.0)) if np.isfinite(sigma) else 1.0


def _between(one: Track, other: Track, frame: int) -> tuple[float, float]:
    middle = (one.xy_F2[frame] + other.xy_F2[frame]) / 2
    return float(middle[0]), float(middle[1])


def _presence(track: Track, shot: tuple[int, int]) -> list[Event]:
    """Coming and going: with the border, or with nothing to explain it."""
    sight_F = track.sight_F
    shown = np.flatnonzero((sight_F == Sight.SEEN) | (sight_F == Sight.PARTLY))
    events = []
    for edge, outside, kinds in (
        (shown[0], shown[0] - 1, ("enter", "appear")),
        (shown[-1], shown[-1] + 1, ("exit", "vanish")),
    ):
        if not shot[0] <= outside < shot[1]:
            continue
        kind: EventKind | None = None
        if sight_F[outside] == Sight.OUTSIDE:
            kind = kinds[0]  # type: ignore[assignment]
        elif sight_F[outside] == Sight.LOST:
            kind = kinds[1]  # type: ignore[assignment]
        if kind is not None:
            xy = track.xy_F2[edge]
            share = float(track.area_px_F[edge] / np.nanmax(track.area_px_F))
            events.append(
                Event(
                    kind=kind,
                    frame=(edge + outside) / 2,
                    sigma_frames=0.3,
                    tracks=(track.id,),
                    xy=(float(xy[0]), float(xy[1])),
                    strength=share,
                )
            )
    return events


def _kinks(track: Track, pieces: list[Piece]) -> list[tuple[Piece, Piece]]:
    """Neighbouring pieces between which velocity jumps or rest begins or ends.

    A smooth curve that is no parabola, as a pendulum's, falls into pieces too. So the mildest change is held against a
    smooth curve over all frames up to the next changes, and struck out where that explains it; then the next.
    """
    seen_F2 = np.where(track.seen_F[:, None], track.xy_F2, np.nan)
    lasting = [piece for piece in pieces if piece.last - piece.first + 1 >= MIN_PIECE_FRAMES]
    pairs = list(pairwise(lasting))
    while True:
        bounds = [0, *((before.last + after.first) / 2 for before, after in pairs), len(seen_F2) - 1]
        mild: list[tuple[float, int]] = []
        for place, (before, after) in enumerate(pairs):
            if _is_rest(before, track) != _is_rest(after, track):
                continue
            when = _meeting(before, after)
            window = (int(np.ceil(bounds[place])), int(np.floor(bounds[place + 2])))
            jump, error = kink(seen_F2, when, window, track.sigma_px)
            size = float(np.hypot(*(after.velocity(when) - before.velocity(when))))
            found = float(np.hypot(*jump)) if np.isfinite(error) else size
            least = max(MIN_CHANGE_SIGMAS * error if np.isfinite(error) else 0.0, SMOOTH_SHARE * size)
            speed = max(np.hypot(*before.velocity(when)), np.hypot(*after.velocity(when)))
            if found < least or found < MIN_CHANGE_SHARE * speed:
                mild.append((found, place))
        if not mild:
            return pairs
        del pairs[min(mild)[1]]


def _change(track: Track, before: Piece, after: Piece, events: list[Event], scenery: Scenery) -> Event | None:
    """What the moment between two pieces of a path is; None where velocity hardly changes."""
    when = _meeting(before, after)
    old, new = before.velocity(when), after.velocity(when)
    change = new - old
    size = float(np.hypot(*change))
    diameter = track.diameter_px
    resting = [_is_rest(piece, track) for piece in (before, after)]
    xy = (before.at(when) + after.at(when)) / 2
    common = {"frame": when, "sigma_frames": _change_error(track, size, before, after)}
    place = (float(xy[0]), float(xy[1]))
    if resting[0] != resting[1]:
        peak = max(float(np.hypot(*piece.velocity(f))) for piece in (before, after) for f in (piece.first, piece.last))
        return Event(kind="stop" if resting[1] else "onset", tracks=(track.id,), xy=place, strength=peak, **common)
    if all(resting) or size < MIN_CHANGE_DIAMETERS * diameter:
        return None
    met = [
        event
        for event in events
        if event.kind == "contact" and track.id in event.tracks and abs(event.frame - when) < NEAR_FRAMES
    ]
    if met:
        return None  # the contact of the pair is the event
    direction = change / size
    if _meets_scenery(track, when, xy, -direction, scenery):
        bounced = new @ direction > TURNED * abs(old @ direction) * 0.3 and old @ direction < 0
        return Event(kind="bounce" if bounced else "contact", tracks=(track.id,), xy=place, strength=size, **common)
    return Event(kind="turn", tracks=(track.id,), xy=place, strength=size, **common)


def _meets_scenery(track: Track, when: float, xy: Floats, towards: Floats, scenery: Scenery) -> bool:
    """Whether around a moment the part of its outline that faces one way lies on a still edge or the border."""
    facing = np.flatnonzero(np.cos(ANGLES_A) * towards[0] + np.sin(ANGLES_A) * towards[1] > FACING)
    rays = np.stack([np.cos(ANGLES_A[facing]), np.sin(ANGLES_A[facing])], 1)
    known = np.flatnonzero(np.isfinite(track.outline_px_FA[:, 0]))
    around = known[np.abs(known - when) <= NEAR_FRAMES]
    nearest = int(known[np.abs(known - when).argmin()])
    places = [(track.xy_F2[frame], frame) for frame in around] + [(xy, nearest)]
    return any(
        scenery.near(centre + reach * ray)
        for centre, frame in places
        for reach, ray in zip(track.outline_px_FA[frame, facing], rays, strict=True)
    )


def _meeting(before: Piece, after: Piece) -> float:
    """When the two pieces lie nearest to each other, around the frames between them."""
    times = np.linspace(before.last - 0.75, after.first + 0.75, 61)
    apart = [float(np.hypot(*(before.at(time) - after.at(time)))) for time in times]
    return float(times[int(np.argmin(apart))])


def _is_rest(piece: Piece, track: Track) -> bool:
    """Whether it hardly moves throughout."""
    span = max(1, piece.last - piece.first)
    limit = max(REST_DIAMETERS * track.diameter_px, 2 * track.sigma_px / span)
    return all(float(np.hypot(*piece.velocity(frame))) < limit for frame in (piece.first, piece.middle, piece.last))


def _change_error(track: Track, size: float, before: Piece, after: Piece) -> float:
    return float(np.clip(2 * track.sigma_px / max(size, 1e-6), 0.1, 1.0)) if np.isfinite(track.sigma_px) else 1.0
