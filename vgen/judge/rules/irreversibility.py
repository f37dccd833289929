"""irreversibility: what has broken does not put itself together again.

Formula: for each piece of a body that breaks, 1 - d(end) / max d, with d(t) its distance from where the body broke,
counted from the frame on in which it breaks no further; the mean over the pieces. Pieces that never get anywhere count
as kept.
Source: second law of thermodynamics (Clausius 1865); the arrow of time in videos (Pickup et al. 2014).
Strength: share of the pieces that went back, 0..1.
Abstains where nothing breaks.
"""

from dataclasses import dataclass

import numpy as np

from vgen.judge.observation import Event, Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import bodies

__all__ = ["RULE"]

_TOGETHER = 8.0  # frames within which the pieces of one break part
_NEAR_D = 1.5  # diameters of the broken body within which its pieces show first
_PARTED_D = 0.4  # of a piece's own diameter: what goes less far has not parted
_END = 3  # frames that tell where a piece ends
_FEWEST = 4  # frames of a piece
_SLACK = 0.1  # share of its way that noise and a short roll back explain


def measure(observation: Observation) -> Measured:
    breaks = _breaks(observation)
    if not breaks:
        return Abstention(status="not_applicable", reason="nothing breaks")
    found = tuple(m for broken in breaks if (m := _of(observation, broken)) is not None)
    return found or Abstention(status="undecidable", reason="the pieces are not seen for long enough")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Break:
    """A body in pieces: when and where it broke first, its pieces, and the frame from which on each breaks no more."""

    frame: float
    origin_2: Floats
    pieces: tuple[tuple[Track, int], ...]


def _breaks(observation: Observation) -> list[_Break]:
    """Everything that parts into two or more, pieces of pieces included."""
    groups: list[list[Event]] = []
    for event in observation.events:
        if event.kind != "split":
            continue
        if groups and event.frame - groups[-1][-1].frame <= _TOGETHER:
            groups[-1].append(event)
        else:
            groups.append([event])
    return [
        _Break(frame=group[0].frame, origin_2=np.asarray(group[0].xy), pieces=_pieces(observation, group))
        for group in groups
    ]


def _pieces(observation: Observation, group: list[Event]) -> tuple[tuple[Track, int], ...]:
    """What the events name, and what first shows then and there; the whole body itself only where it goes on."""
    named = {id for event in group for id in event.tracks}
    start, place_2 = group[0].frame, np.asarray(group[0].xy)
    pieces = []
    for track in bodies(observation):
        shown = np.flatnonzero(np.isfinite(track.xy_F2).all(1))
        since = max([start, *(event.frame for event in group if track.id in event.tracks)])
        if not shown.size or shown[-1] < since + _FEWEST:
            continue
        near = float(np.linalg.norm(track.xy_F2[shown[0]] - place_2)) < 2 * _NEAR_D * track.diameter_px
        if track.id in named or (abs(shown[0] - start) <= _TOGETHER and near):
            pieces.append((track, int(np.ceil(since))))
    return tuple(pieces)


def _of(observation: Observation, broken: _Break) -> Measurement | None:
    frame, pieces = broken.frame, [piece for piece, _ in broken.pieces]
    ways = [_way_back(broken.origin_2, piece, start) for piece, start in broken.pieces]
    told = {piece.id: way for piece, way in zip(pieces, ways, strict=True) if way is not None}
    if not told:
        return None
    share = float(np.mean(list(told.values())))
    return Measurement(
        strength=share,
        frames=(int(frame), observation.shot[1] - 1),
        objects=tuple(id for id, way in told.items() if way > 0) or tuple(told),
        quantity="share of the pieces that went back",
        value=share,
        expected=0.0,
        sigma=0.0,
        text=f"{share:.0%} of the pieces that parted at frame {frame:.0f} went back to where they came from",
    )


def _way_back(origin_2: Floats, piece: Track, start: int) -> float | None:
    """Share of its way that a piece went back from a frame on; None for one that is not seen for long enough."""
    xy_N2 = piece.xy_F2[start:][np.isfinite(piece.xy_F2[start:]).all(1)]
    if len(xy_N2) < _FEWEST:
        return None
    away_N = np.linalg.norm(xy_N2 - origin_2, axis=1)
    if away_N.max() < _PARTED_D * piece.diameter_px:
        return 0.0
    # What noise and a short roll back make is no return.
    back = 1 - float(np.median(away_N[-_END:])) / float(away_N.max())
    return max(0.0, (back - _SLACK) / (1 - _SLACK))


RULE = Rule(
    name="irreversibility",
    group="causal",
    statement="What has broken does not put itself together again.",
    measure=measure,
)
