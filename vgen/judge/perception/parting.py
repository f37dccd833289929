"""Things that come out of one another: a body that shows first where another one loses as much area as it has.

What parts was one thing, or looked like one; its pieces were hidden in it before, and it is in them after. Run
backwards in time the same search finds what joins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vgen.judge.observation import Event, Floats, Sight, Track

__all__ = ["Parting", "find_joinings", "find_partings", "with_partings"]

NEAR_DIAMETERS = 0.9  # of the whole, from its last place to where a piece shows first
LATE_FRAMES = 2  # between the whole's last frame and its pieces' first one
AREA_FRAMES = 3  # that tell an area
SAME_AREA = (0.6, 1.8)  # area of all pieces over that of the whole; a blob that they still share counts twice
UNLIKE_LAB = 12.0  # CIE76 between two pieces that were never one thing
LEFT = 0.85  # of its area that the whole keeps at most where it is one of the pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """One thing before a moment, several after it (or the other way round, for what joins).

    Args:
        frame: the first that shows the pieces (the last, for what joins).
        whole: id of the thing.
        pieces: ids of what came out of it; the whole itself may go on as one more.
        share: of the whole's area that came out.
    """

    frame: int
    whole: int
    pieces: tuple[int, ...]
    share: float


@dataclass(frozen=True, slots=True)
class _Life:
    """What is needed of a track, so that time can be turned round: arrays per frame, first and last frame that show."""

    id: int
    xy_F2: Floats
    area_F: Floats
    first: int
    last: int
    lost_before: bool

    def area(self, start: int, end: int) -> float:
        """Median area between two frames; 0 where it does not show."""
        known = self.area_F[max(start, 0) : end]
        known = known[np.isfinite(known)]
        return float(np.median(known)) if known.size else 0.0


def find_partings(tracks: Sequence[Track]) -> list[Parting]:
    """Every moment at which one body becomes several, in order."""
    return _find([_life(track, turned=False) for track in tracks if _is_body(track)])


def find_joinings(tracks: Sequence[Track]) -> list[Parting]:
    """Every moment at which several bodies become one."""
    found = _find([_life(track, turned=True) for track in tracks if _is_body(track)])
    end = len(tracks[0].sight_F) - 1 if tracks else 0
    return [replace(parting, frame=end - parting.frame) for parting in reversed(found)]


def with_partings(tracks: Sequence[Track]) -> tuple[tuple[Track, ...], list[Event]]:
    """The tracks, in which what came out of a thing (or went into one) counts as hidden in it, and the events.

    Pieces of other colours than what is left were things that stood together: until then neither showed as it is.
    """
    hidden = {track.id: track.sight_F.copy() for track in tracks}
    events = []
    for parting in find_partings(tracks):
        for piece in parting.pieces:
            _hide(hidden[piece], slice(0, parting.frame))
        _hide(hidden[parting.whole], slice(parting.frame, None))
        if _stood_together(parting, tracks):
            _cut(hidden[parting.whole], slice(0, parting.frame))
        events.append(_event("split", parting.frame - 0.5, parting, tracks, parting.frame))
    for joining in find_joinings(tracks):
        for piece in joining.pieces:
            _hide(hidden[piece], slice(joining.frame + 1, None))
        _hide(hidden[joining.whole], slice(0, joining.frame + 1))
        events.append(_event("merge", joining.frame + 0.5, joining, tracks, joining.frame))
    return tuple(replace(track, sight_F=hidden[track.id]) for track in tracks), events


def _find(lives: list[_Life]) -> list[Parting]:
    found: list[Parting] = []
    for whole in lives:
        born = sorted((life for life in lives if _comes_out(life, whole)), key=lambda life: life.first)
        while born:
            frame = born[0].first
            pieces = [life for life in born if life.first <= frame + LATE_FRAMES]
            born = born[len(pieces) :]
            before = whole.area(frame - AREA_FRAMES - LATE_FRAMES, frame)
            after = whole.area(frame + LATE_FRAMES, frame + LATE_FRAMES + AREA_FRAMES)
            came_out = sum(life.area(life.first, life.first + AREA_FRAMES) for life in pieces)
            gone = whole.last <= frame + LATE_FRAMES
            broken = any(parting.whole == whole.id for parting in found)
            if gone and len(pieces) < 2 and not broken:  # one for one is no parting; of what has parted it is the rest
                continue
            kept = 0.0 if gone else after
            if before and kept <= LEFT * before and SAME_AREA[0] < (came_out + kept) / before < SAME_AREA[1]:
                ids = tuple(life.id for life in pieces)
                found.append(Parting(frame=frame, whole=whole.id, pieces=ids, share=came_out / before))
    return sorted(found, key=lambda parting: (parting.frame, parting.whole))


def _comes_out(piece: _Life, whole: _Life) -> bool:
    """Whether a thing shows first where another one is or just was."""
    if piece is whole or not piece.lost_before or whole.first >= piece.first:
        return False
    before = np.flatnonzero(np.isfinite(whole.area_F[: piece.first]))
    last = int(before[-1])
    if piece.first - last > LATE_FRAMES + 1:
        return False
    reach = NEAR_DIAMETERS * 2 * np.sqrt(whole.area(last - AREA_FRAMES, last + 1) / np.pi)
    return bool(np.hypot(*(piece.xy_F2[piece.first] - whole.xy_F2[last])) < reach)


def _life(track: Track, *, turned: bool) -> _Life:
    step = -1 if turned else 1
    area_F = track.area_px_F[::step]
    shown = np.flatnonzero(np.isfinite(area_F))
    first, last = int(shown[0]), int(shown[-1])
    lost = first > 0 and track.sight_F[::step][first - 1] == Sight.LOST
    return _Life(id=track.id, xy_F2=track.xy_F2[::step], area_F=area_F, first=first, last=last, lost_before=bool(lost))


def _is_body(track: Track) -> bool:
    return track.kind == "body" and bool(np.isfinite(track.area_px_F).any())


def _hide(sight_F: np.ndarray, frames: slice) -> None:
    part = sight_F[frames]
    part[part == Sight.LOST] = Sight.OCCLUDED


def _cut(sight_F: np.ndarray, frames: slice) -> None:
    part = sight_F[frames]
    part[part == Sight.SEEN] = Sight.PARTLY


def _stood_together(parting: Parting, tracks: Sequence[Track]) -> bool:
    """Whether what is left of a thing looks unlike what came out of it."""
    by_id = {track.id: track for track in tracks}
    left_F3 = by_id[parting.whole].lab_F3[parting.frame :]
    if not np.isfinite(left_F3).all(1).any():
        return False
    left_3 = np.nanmedian(left_F3, axis=0)
    came = [np.nanmedian(by_id[piece].lab_F3[parting.frame :], axis=0) for piece in parting.pieces]
    return all(bool(np.linalg.norm(lab_3 - left_3) > UNLIKE_LAB) for lab_3 in came)


def _event(kind: str, frame: float, parting: Parting, tracks: Sequence[Track], shown: int) -> Event:
    by_id = {track.id: track for track in tracks}
    places = np.array([by_id[piece].xy_F2[shown] for piece in parting.pieces])
    x, y = np.nanmean(places, axis=0)
    return Event(
        kind="split" if kind == "split" else "merge",
        frame=frame,
        sigma_frames=0.5,
        tracks=(parting.whole, *parting.pieces),
        xy=(float(x), float(y)),
        strength=parting.share,
    )
