"""When a thing shows and what explains its coming and going: the ground of the rules of permanence.

A track's life is cut into `Absence`s. Those that something hides are followed through by `Passage`s, also where the
tracker lost the thread and another track comes out. Nothing here decides what is lawful.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.judge.rules.looks import SAME_LAB, mean_lab

__all__ = [
    "TOUCH_D",
    "TOUCH_FRAMES",
    "Absence",
    "Box",
    "Passage",
    "absences",
    "between_frames_px",
    "bodies",
    "broken",
    "certainty",
    "in_touch",
    "level_px",
    "merged_near",
    "noise_px",
    "passages",
    "runs",
    "successions",
    "unbroken",
    "whole_runs",
]

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
BETWEEN = 0.6  # of a step from frame to frame that may be hidden between the two
LOW_D = 0.15  # free space below, in diameters, that still counts as standing
PIECE_D = 0.85  # diameters of the whole that a piece has at most
SUCCESSION_FRAMES = 3  # a lost thing that shows again within these was never gone
SUCCESSION_REACH = 8.0  # diameters: a thing that looks the same and comes back within them is the same
TOUCH_FRAMES, TOUCH_D = 2, 0.1  # free space over the smaller diameter below which two may show as one
HIDER_D = 0.75  # diameters from its centre to what cuts it off
SCRAP_FRAMES = 3  # for which something may seem to be a thing
FLICKER_FRAMES = 2  # a tracker misses a thing for that long
MOVES_PX = 1.0  # in three frames: noise that comes of the grid of pixels shows from there on
SPECK = 0.03  # of the picture's diagonal: smaller things than this are easily lost, and count less


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Frames in which a thing does not show.

    Args:
        start, end: first missing frame and one past the last.
        cause: what its first frame says, or its last one for a thing that had not been seen yet.
        before, after: last frame that shows it before and first one after; None where there is none.
    """

    start: int
    end: int
    cause: Literal["lost", "hidden", "outside"]
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A thing behind something that hides it, from the last wholly seen frame before to the first one after.

    Args:
        entering, leaving: the tracks; the same where the tracker held on; None where nothing went in or came out.
        last, first: their frames; None like the tracks.
        box: of what hides it; None where that moves or is not known.
    """

    entering: Track | None
    leaving: Track | None
    last: int | None
    first: int | None
    box: Box | None


def bodies(observation: Observation) -> tuple[Track, ...]:
    """The tracks that are no shadows and show at all."""
    return tuple(
        track for track in observation.tracks if track.kind == "body" and bool((track.sight_F <= Sight.PARTLY).any())
    )


def runs(mask_F: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of True as (start, one past the end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask_F, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def whole_runs(track: Track, *, least: int, margin: int = 1) -> list[tuple[int, int]]:
    """Stretches that show it wholly, without the `margin` frames next to any that do not; `least` frames at least."""
    last = len(track.sight_F)
    cut = (
        (start + margin * (start > 0), end - margin * (end < last))
        for start, end in runs(track.seen_F & np.isfinite(track.xy_F2).all(-1))
    )
    return [(start, end) for start, end in cut if end - start >= least]


def absences(observation: Observation, track: Track) -> list[Absence]:
    """All stretches of the shot in which it does not show, in order."""
    first, past = observation.shot
    found = []
    for start, end in runs(track.sight_F[first:past] > Sight.PARTLY):
        start, end = start + first, end + first
        before = start - 1 if start > first else None
        code = track.sight_F[start] if before is not None else track.sight_F[end - 1]
        found.append(
            Absence(
                start=start,
                end=end,
                cause=_cause(observation, track, code, before if before is not None else end),
                before=before,
                after=end if end < past else None,
            )
        )
    return found


def _cause(observation: Observation, track: Track, code: int, edge: int) -> Literal["lost", "hidden", "outside"]:
    """What a sight says, but that what was last seen half hidden went all the way."""
    if code == Sight.LOST and edge < len(track.sight_F) and track.sight_F[edge] == Sight.PARTLY:
        x, y = track.xy_F2[edge]
        for left, top, right, bottom in observation.occluders:
            away = float(np.hypot(max(left - x, 0.0, x - right), max(top - y, 0.0, y - bottom)))
            if away <= HIDER_D * track.diameter_px:
                return "hidden"
    return "lost" if code == Sight.LOST else "hidden" if code == Sight.OCCLUDED else "outside"


def successions(observation: Observation) -> list[tuple[Track, Track]]:
    """Pairs of tracks of which the second carries on the first: lost in the open, and shown again at once.

    The tracker gives up on what jumps or changes its looks. A new thing is the old one if it has the looks of the old
    one, or stands where that would be.
    """
    ends = [(track, gone) for track in bodies(observation) for gone in absences(observation, track)]
    lost = [(track, gone) for track, gone in ends if gone.cause == "lost" and gone.after is None]
    born = [(track, gone) for track, gone in ends if gone.cause == "lost" and gone.before is None]
    pairs: list[tuple[float, Track, Track]] = []
    for old, gone in lost:
        for new, absent in born:
            if old.id == new.id or gone.before is None or absent.after is None:
                continue
            if not -1 <= absent.after - gone.start <= SUCCESSION_FRAMES:
                continue
            jump = float(np.hypot(*(new.xy_F2[absent.after] - old.xy_F2[gone.before]))) / old.diameter_px
            alike = np.linalg.norm(mean_lab(old) - mean_lab(new)) < SAME_LAB
            if jump < (SUCCESSION_REACH if alike else 1.5):
                pairs.append((jump, old, new))
    taken: set[tuple[str, int]] = set()
    kept = []
    for _, old, new in sorted(pairs, key=lambda pair: pair[0]):
        if ("old", old.id) not in taken and ("new", new.id) not in taken:
            taken |= {("old", old.id), ("new", new.id)}
            kept.append((old, new))
    return kept


def certainty(observation: Observation, track: Track, told: int, other: int) -> float:
    """0..1: how plainly a thing is both there and not there.

    Square root of the frames `told` that show the breach as a share of the shot, what a tracker misses taken off; at
    most three times the `other` frames, which show how it should be, without the few that a scrap shows as well; less
    for specks.
    """
    first, past = observation.shot
    share = max(0, min(told, 3 * (other - SCRAP_FRAMES)) - FLICKER_FRAMES) / max(past - first, 1)
    diagonal = np.hypot(observation.height, observation.width)
    return float(np.sqrt(share) * min(1.0, track.diameter_px / (SPECK * diagonal)))


def passages(observation: Observation) -> list[Passage]:
    """Every time a thing went out of sight behind something, or came out of hiding, in the order of time.

    What went in and never came out is joined with what came out of the same place unseen before, first in first out:
    whether it is still the same thing is for a rule to say. Things that break or join are left out: they hide in each
    other.
    """
    through: list[Passage] = []
    entered: list[Passage] = []
    emerged: list[Passage] = []
    joined = {id for event in observation.events if event.kind == "merge" for id in event.tracks}
    for track in unbroken(observation):
        if track.id in joined:
            continue
        for gone in absences(observation, track):
            if gone.cause != "hidden":
                continue
            last = _whole(track, gone.before, -1)
            first = _whole(track, gone.after, +1)
            box = _hider(observation, track, gone)
            if last is not None and first is not None:
                through.append(Passage(entering=track, leaving=track, last=last, first=first, box=box))
            elif last is not None and gone.after is None:
                entered.append(Passage(entering=track, leaving=None, last=last, first=None, box=box))
            elif first is not None and gone.before is None:
                emerged.append(Passage(entering=None, leaving=track, last=None, first=first, box=box))
    return sorted(through + _joined(entered, emerged), key=lambda p: (p.last or 0, p.first or 0))


def _joined(entered: list[Passage], emerged: list[Passage]) -> list[Passage]:
    done: list[Passage] = []
    waiting = sorted(emerged, key=lambda p: p.first or 0)
    for inward in sorted(entered, key=lambda p: p.last or 0):
        fits = [out for out in waiting if (out.first or 0) > (inward.last or 0) and _one_place(inward.box, out.box)]
        if not fits:
            done.append(inward)
            continue
        out = fits[0]
        waiting.remove(out)
        done.append(
            Passage(entering=inward.entering, leaving=out.leaving, last=inward.last, first=out.first, box=inward.box)
        )
    return done + waiting


def _one_place(one: Box | None, other: Box | None) -> bool:
    """Whether two boxes share half of the smaller one; boxes that are not known are one place."""
    if one is None or other is None:
        return one is other
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return wide > 0 and tall > 0 and wide * tall >= smaller / 2


def _whole(track: Track, frame: int | None, step: int) -> int | None:
    """The next frame that shows it wholly, going by `step` from one where it showed without a break."""
    while frame is not None and 0 <= frame < len(track.sight_F):
        if track.sight_F[frame] == Sight.SEEN:
            return frame
        if track.sight_F[frame] != Sight.PARTLY:
            return None
        frame += step
    return None


def _hider(observation: Observation, track: Track, gone: Absence) -> Box | None:
    """The box behind which it went or from which it came; None where none is within a diameter."""
    frame = gone.before if gone.before is not None else gone.after
    assert frame is not None, "a track that never shows has no absence that something hides"
    x, y = track.xy_F2[frame]
    near: list[tuple[float, Box]] = []
    for box in observation.occluders:
        left, top, right, bottom = box
        away = float(np.hypot(max(left - x, 0.0, x - right), max(top - y, 0.0, y - bottom)))
        if away <= track.diameter_px:
            near.append((away, box))
    return min(near)[1] if near else None


def in_touch(observation: Observation, track: Track, frame: int) -> bool:
    """Whether the outline of another body reaches its own within two frames of `frame`: two may then show as one."""
    around = slice(max(0, frame - TOUCH_FRAMES), frame + TOUCH_FRAMES + 1)
    return any(
        bool((observation.gap(track.id, other.id)[around] < TOUCH_D * min(track.diameter_px, other.diameter_px)).any())
        for other in bodies(observation)
        if other.id != track.id
    )


@lru_cache(maxsize=4)
def broken(observation: Observation) -> frozenset[int]:
    """Ids of what broke and of its pieces, which come and go as one hides another.

    Pieces look like the whole, are smaller, and show first after it broke, beside it or another piece. What parts and
    does not look alike were two things that stood together; of several that part from a thing at once, some may.
    """
    things = {track.id: track for track in bodies(observation)}
    splits = [event for event in observation.events if event.kind == "split"]
    ids: set[int] = set()
    for event in splits:
        whole = things.get(event.tracks[0])
        parts = _alike(event.tracks, things)
        if len(parts) < min(2, len(event.tracks)):
            continue
        ids |= {part.id for part in parts}
        if whole is None:
            continue
        for track in sorted(things.values(), key=_begins):
            if track.id not in ids and _begins(track) >= event.frame - 1 and _is_piece(track, whole, parts):
                ids.add(track.id)
                parts.append(track)
    return frozenset(ids)


def _alike(ids: tuple[int, ...], things: dict[int, Track]) -> list[Track]:
    """Those of these that have the colour of the first."""
    known = [things[id] for id in ids if id in things]
    return [part for part in known if float(np.linalg.norm(mean_lab(part) - mean_lab(known[0]))) < SAME_LAB]


def _begins(track: Track) -> int:
    return int(np.argmax(track.sight_F <= Sight.PARTLY))


def _is_piece(track: Track, whole: Track, parts: list[Track]) -> bool:
    """Whether something looks like a part of the whole and comes from where a part is, or was last seen."""
    alike = float(np.linalg.norm(mean_lab(track) - mean_lab(whole))) < SAME_LAB
    if not alike or track.diameter_px > PIECE_D * whole.diameter_px:
        return False
    begins = _begins(track)
    for part in parts:
        seen = np.flatnonzero(np.isfinite(part.xy_F2[: begins + 1]).all(1))
        if len(seen) and np.linalg.norm(part.xy_F2[seen[-1]] - track.xy_F2[begins]) < whole.diameter_px:
            return True
    return False


def unbroken(observation: Observation) -> tuple[Track, ...]:
    """The bodies that neither broke nor are pieces of one that did."""
    return tuple(track for track in bodies(observation) if track.id not in broken(observation))


def merged_near(observation: Observation, track: Track, frame: int) -> bool:
    """Whether it ran into another thing within two frames of `frame`."""
    return any(
        event.kind == "merge" and track.id in event.tracks and abs(event.frame - frame) <= 2
        for event in observation.events
    )


def noise_px(track: Track) -> float:
    """Standard error of one coordinate that the fits count with: the track's own, or what its samples show.

    What stands still is off by the same in every frame, so only what moves shows it, and along its way.
    """
    whole_F2 = np.where(track.seen_F[:, None], track.xy_F2, np.nan)
    third_F2 = np.diff(whole_F2, 3, axis=0)
    known_F = np.isfinite(third_F2).all(1)
    way_F2 = np.abs(whole_F2[3:] - whole_F2[:-3])
    told = [third_F2[known_F & (way_F2[:, axis] > MOVES_PX), axis] for axis in (0, 1)] + [third_F2[known_F].ravel()]
    scatter = max((_scatter(third_N) for third_N in told if third_N.size >= 12), default=0.0)
    return max(track.sigma_px, scatter, 0.002 * track.diameter_px)


def _scatter(third_N: Floats) -> float:
    """Standard error of what these are third differences of: their variance is 20 times its."""
    return float(np.median(np.abs(third_N))) / (0.6745 * np.sqrt(20))


def level_px(track: Track) -> float:
    """Free space below a body under which it counts as standing."""
    return max(LOW_D * track.diameter_px, 4 * track.sigma_px)


def between_frames_px(track: Track, frames: slice = slice(None)) -> float:
    """How far a thing may come down and go up again between two frames, unseen."""
    steps_N = np.abs(np.diff(track.xy_F2[frames, 1]))
    return BETWEEN * float(np.nanmax(steps_N)) if np.isfinite(steps_N).any() else 0.0
