"""irreversibility: what has broken does not put itself together again.

Formula: the larger of two shares. For each piece of a body that breaks, 1 - d(end) / max d, with d(t) its distance from
where the body broke, counted from the frame on in which it breaks no further; the mean over the pieces; pieces that
never get anywhere count as kept. And (c(end) - min c) / (1 - min c), with c(t) the share of the place of the whole, as
it stood before, that its pieces fill: which of several alike went back does not matter to that.
Source: second law of thermodynamics (Clausius 1865); the arrow of time in videos (Pickup et al. 2014).
Strength: share of the pieces, or of what they had left empty, that went back, 0..1.
Abstains where nothing breaks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Event, Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules import lives
from vgen.judge.rules.lives import bodies
from vgen.judge.rules.looks import SAME_LAB, mean_lab

__all__ = ["RULE"]

_TOGETHER = 8.0  # frames within which the pieces of one break part
_NEAR_D = 1.5  # diameters of the broken body within which its pieces show first
_PARTED_D = 0.4  # of a piece's own diameter: what goes less far has not parted
_END = 3  # frames that tell where a piece ends
_FEWEST = 4  # frames of a piece
_SLACK = 0.1  # share of its way that noise and a short roll back explain
_SAME_SIDES = 0.05  # of a body's sides, by which they may differ before it breaks
_GRID = 24  # points along either side of a body's place
_STEADY = 5  # frames running that tell how much of a place is filled
_LEFT = 0.75  # of its place, that the pieces leave at least in part: else they lie where it was


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
    whole: int
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
        _Break(
            frame=group[0].frame,
            whole=group[0].tracks[0],
            origin_2=np.asarray(group[0].xy),
            pieces=_pieces(observation, group),
        )
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
    share = max(float(np.mean(list(told.values()))), _refilled(observation, broken))
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


def _refilled(observation: Observation, broken: _Break) -> float:
    """Share of what the pieces had left empty of the whole's place that they fill again in the end."""
    things = {track.id: track for track in bodies(observation)}
    whole = things.get(broken.whole)
    stood = _stood(whole, int(np.ceil(broken.frame))) if whole is not None else None
    if whole is None or stood is None:
        return 0.0
    left, top, right, low = whole.box_F4[stood]
    grid_x, grid_y = np.meshgrid(
        left + (right - left) * (np.arange(_GRID) + 0.5) / _GRID, top + (low - top) * (np.arange(_GRID) + 0.5) / _GRID
    )
    points_P2 = np.stack([grid_x.ravel(), grid_y.ravel()], 1)
    points_P2 = points_P2[_inside(points_P2, whole, stood)]
    lab_3 = mean_lab(whole)
    pieces = {piece.id: piece for piece, _ in broken.pieces} | {
        id: things[id] for id in lives.broken(observation) if id in things
    }
    alike = [piece for piece in pieces.values() if np.linalg.norm(mean_lab(piece) - lab_3) < SAME_LAB]
    past = observation.shot[1]
    filled_FP = np.zeros((past - stood, len(points_P2)), np.bool_)
    for piece in alike:
        inside_P = np.zeros(len(points_P2), np.bool_)
        for frame in range(stood, past):
            if np.isfinite(piece.xy_F2[frame]).all():
                inside_P = _inside(points_P2, piece, frame)
            elif piece is whole:
                inside_P = np.zeros_like(
                    inside_P
                )  # a piece that does not show lies where it was, but this is in pieces
            filled_FP[frame - stood] |= inside_P
    share_F = filled_FP.mean(1)
    if len(share_F) < 2 * _STEADY:
        return 0.0
    steady_N = np.median(np.lib.stride_tricks.sliding_window_view(share_F, _STEADY), axis=1)
    least = float(steady_N.min())
    if least > _LEFT:
        return 0.0
    back = (float(steady_N[-1]) - least) / (1 - least)
    return max(0.0, (back - _SLACK) / (1 - _SLACK))


def _stood(whole: Track, breaks: int) -> int | None:
    """The last frame before a break in which a body has the sides that it had; None where it never shows before."""
    shown = np.flatnonzero(np.isfinite(whole.box_F4[:breaks]).all(1) & np.isfinite(whole.xy_F2[:breaks]).all(1))
    if len(shown) < _FEWEST:
        return None
    sides_N2 = whole.box_F4[shown, 2:] - whole.box_F4[shown, :2]
    usual_2 = np.median(sides_N2[: max(_FEWEST, len(shown) // 2)], axis=0)
    same_N = (np.abs(sides_N2 - usual_2) <= np.maximum(_SAME_SIDES * usual_2, 1.0)).all(1)
    return int(shown[same_N][-1]) if same_N.any() else None


def _inside(points_P2: Floats, track: Track, frame: int) -> npt.NDArray[np.bool_]:
    """Whether points lie within a thing's outline."""
    x_P, y_P = (points_P2 - track.xy_F2[frame]).T
    outline_A = track.outline_px_FA[frame]
    turn_P = np.mod(np.arctan2(y_P, x_P), 2 * np.pi) / (2 * np.pi) * len(outline_A)
    return np.asarray(
        np.hypot(x_P, y_P) <= np.interp(turn_P, np.arange(len(outline_A)), outline_A, period=len(outline_A))
    )


RULE = Rule(
    name="irreversibility",
    group="causal",
    statement="What has broken does not put itself together again.",
    measure=measure,
)
