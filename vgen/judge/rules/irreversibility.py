"""irreversibility: what has broken does not put itself together again.

Formula: for each piece of a body that breaks, 1 - d(end) / max d, with d(t) its distance from where it parted; the mean
over the pieces. Pieces that never get anywhere count as kept.
Source: second law of thermodynamics (Clausius 1865); the arrow of time in videos (Pickup et al. 2014).
Strength: share of the pieces that went back, 0..1.
Abstains where nothing breaks.
"""

import numpy as np

from vgen.judge.observation import Event, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.segments import bodies

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
    found = tuple(m for frame, pieces in breaks if (m := _of(observation, frame, pieces)) is not None)
    return found or Abstention(status="undecidable", reason="the pieces are not seen for long enough")


def _breaks(observation: Observation) -> list[tuple[float, tuple[Track, ...]]]:
    """(moment, pieces) of everything that parts into two or more."""
    groups: list[list[Event]] = []
    for event in observation.events:
        if event.kind != "split":
            continue
        if groups and event.frame - groups[-1][-1].frame <= _TOGETHER:
            groups[-1].append(event)
        else:
            groups.append([event])
    return [(group[0].frame, _pieces(observation, group)) for group in groups]


def _pieces(observation: Observation, group: list[Event]) -> tuple[Track, ...]:
    """What the events name, and what first shows then and there; the whole body itself only where it goes on."""
    named = {id for event in group for id in event.tracks}
    start, place_2 = group[0].frame, np.asarray(group[0].xy)
    pieces = []
    for track in bodies(observation):
        shown = np.flatnonzero(np.isfinite(track.xy_F2).all(1))
        if not shown.size or shown[-1] < start + _FEWEST:
            continue
        near = float(np.linalg.norm(track.xy_F2[shown[0]] - place_2)) < 2 * _NEAR_D * track.diameter_px
        if track.id in named or (abs(shown[0] - start) <= _TOGETHER and near):
            pieces.append(track)
    return tuple(pieces)


def _of(observation: Observation, frame: float, pieces: tuple[Track, ...]) -> Measurement | None:
    ways = [_way_back(frame, piece) for piece in pieces]
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


def _way_back(frame: float, piece: Track) -> float | None:
    """Share of its way that a piece went back; None for one that is not seen for long enough."""
    start = max(int(np.ceil(frame)), 0)
    xy_N2 = piece.xy_F2[start:][np.isfinite(piece.xy_F2[start:]).all(1)]
    if len(xy_N2) < _FEWEST:
        return None
    away_N = np.linalg.norm(xy_N2 - xy_N2[0], axis=1)
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
