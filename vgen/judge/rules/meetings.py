"""Where two bodies met, and what that did to both: shared by the rules of cause and of impact.

A meeting is a moment at which the free space between two bodies closes while at least one of them answers with a change
of velocity, or an event names both. Things that pass in front of each other leave both velocities alone and are none.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vgen.judge.observation import Floats, Observation
from vgen.judge.rules.fits import polynomial
from vgen.judge.rules.lives import level_px
from vgen.judge.rules.segments import Path, Segment, paths

__all__ = ["Meeting", "Side", "arrival", "meetings", "reach_px"]

_CLUSTER_FRAMES = 3.0
_CLOSE_FRAMES = 4.5  # velocities are carried this far to the moment at most
_STEADY_SAMPLES = 6  # of a segment whose velocity needs no help
_ROUGH_FRAMES = 8  # of a body that is only seen partly after a blow
_ROUGH_D = 0.05  # standard error of its centre then, in diameters


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One body at a meeting: its velocities in px per frame, carried to the moment from both sides.

    Args:
        path: the body.
        before, after: its segments.
        place_2: its centre at the moment.
        v_before_2, v_after_2: velocities; `sigma` the standard error of one coordinate of their difference.
    """

    path: Path
    before: Segment
    after: Segment
    place_2: Floats
    v_before_2: Floats
    v_after_2: Floats
    sigma: float

    @property
    def change_2(self) -> Floats:
        return self.v_after_2 - self.v_before_2

    def near_ground(self, frame: float) -> bool:
        """Whether it stood on something then, or came near it."""
        track = self.path.track
        step = float(max(np.linalg.norm(self.v_before_2), np.linalg.norm(self.v_after_2)))
        near = slice(max(round(frame) - 1, 0), round(frame) + 2)
        return bool(np.any(track.surface_px_F[near] <= level_px(track) + 0.6 * step))

    @property
    def area(self) -> float:
        """Of its disc: the mass of a flat thing up to a factor, in px^2."""
        return self.path.track.diameter_px**2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Meeting:
    """Two bodies at the moment they met.

    Args:
        one, other: the sides; `one` came to `other`: it was the faster along the line between them.
        frame: when.
        normal_2: unit vector from `one` to `other`.
        closing: speed of approach along it, px per frame.
        alone: whether no third body was near.
    """

    one: Side
    other: Side
    frame: float
    normal_2: Floats
    closing: float
    alone: bool

    @property
    def pressed(self) -> bool:
        """Whether the ground may take part: the blow is steep, and one of the two stands on it or was near it."""
        steep = abs(float(self.one.change_2[1])) > 0.5 * float(np.linalg.norm(self.one.change_2))
        return steep and (self.one.near_ground(self.frame) or self.other.near_ground(self.frame))

    @property
    def ids(self) -> tuple[int, int]:
        return self.one.path.track.id, self.other.path.track.id

    @property
    def frames(self) -> tuple[int, int]:
        """From the last before to the first after; about the moment alone where neither breaks its way."""
        sides = (self.one, self.other)
        last, first = min(s.before.last for s in sides), max(s.after.first for s in sides)
        return min(last, int(self.frame)), max(first, math.ceil(self.frame))


@lru_cache(maxsize=4)
def meetings(obs: Observation) -> tuple[Meeting, ...]:
    """All meetings of two bodies whose velocities can be told before and after, in order."""
    found = []
    known = [path for path in paths(obs) if not path.swings]
    for index, one in enumerate(known):
        for other in known[index + 1 :]:
            for frame in _moments(obs, one, other):
                meeting = _meeting(obs, one, other, frame)
                if meeting is not None:
                    found.append(meeting)
    return tuple(sorted(found, key=lambda meeting: meeting.frame))


def reach_px(obs: Observation, one: Path, other: Path) -> float:
    """Distance between the centres at which the two touch, from their outlines or how their gap closes."""
    gap_F = obs.gap(one.track.id, other.track.id)
    both_F = one.track.seen_F & other.track.seen_F & (gap_F > 0)
    if not both_F.any():
        return (one.track.diameter_px + other.track.diameter_px) / 2
    apart_F = np.linalg.norm(one.track.xy_F2 - other.track.xy_F2, axis=1)
    nearest = np.argsort(np.where(both_F, gap_F, np.inf))[: min(5, int(both_F.sum()))]
    return float(np.median((apart_F - gap_F)[nearest]))


def arrival(segment: Segment, place_2: Floats, reach: float, until: float) -> tuple[float, float] | None:
    """When a moving body's outline comes to a place: (frame, standard error), None where it does not by `until`."""
    times = np.arange(segment.first, until, 0.05)
    if not times.size:
        return None
    apart_N = np.linalg.norm(segment.fit.along(times) - place_2, axis=1)
    inside = np.flatnonzero(apart_N <= reach)
    if not inside.size or inside[0] == 0:
        return None
    time = float(times[inside[0]])
    speed = float(apart_N[inside[0] - 1] - apart_N[inside[0]]) / 0.05
    return time, segment.fit.error(time) / max(speed, 1e-9)


def _moments(obs: Observation, one: Path, other: Path) -> list[float]:
    """Candidate moments, nearer than `_CLUSTER_FRAMES` ones made one; the answers of the bodies tell best when."""
    answers = [
        joint.frame
        for path, partner in ((one, other), (other, one))
        for joint in path.joints
        if joint.passage in ("kick", "jump") and partner.track.id in joint.others
    ]
    ids = {one.track.id, other.track.id}
    told = [e.frame for e in obs.events if e.kind in ("contact", "bounce") and ids <= set(e.tracks)]
    told += _blows(obs, one, other) + _blows(obs, other, one)
    moments: list[list[float]] = []
    for frame in sorted(answers):
        if moments and frame - moments[-1][-1] < _CLUSTER_FRAMES:
            moments[-1].append(frame)
        else:
            moments.append([frame])
    found = [float(np.mean(cluster)) for cluster in moments]
    for frame in told:
        if all(abs(frame - other) >= _CLUSTER_FRAMES for other in found):
            found.append(frame)
    return found


def _blows(obs: Observation, striker: Path, struck: Path) -> list[float]:
    """When one body comes to another that stays at rest, whether that answers or not."""
    reach = reach_px(obs, striker, struck)
    found = []
    for rest in struck.good:
        if not rest.resting(struck.track.diameter_px):
            continue
        for segment in striker.good:
            there = arrival(segment, rest.fit.at(rest.middle), reach, segment.last + 2.5)
            if there is not None and rest.first <= there[0] <= rest.last + 2.5:
                found.append(there[0])
    return found


def _meeting(obs: Observation, one: Path, other: Path, frame: float) -> Meeting | None:
    sides = [_side(one, frame), _side(other, frame)]
    if sides[0] is None or sides[1] is None:
        return None
    a, b = sides[0], sides[1]
    apart_2 = b.place_2 - a.place_2
    reach = reach_px(obs, one, other)
    distance = float(np.linalg.norm(apart_2))
    smaller = min(one.track.diameter_px, other.track.diameter_px)
    if not 0.6 * reach <= distance <= reach + 0.4 * smaller:
        return None
    normal_2 = apart_2 / distance
    if a.v_before_2 @ normal_2 < -(b.v_before_2 @ normal_2):
        a, b, normal_2 = b, a, -normal_2
    closing = float((a.v_before_2 - b.v_before_2) @ normal_2)
    if closing < 3 * float(np.hypot(a.sigma, b.sigma)):
        return None
    return Meeting(
        one=a, other=b, frame=frame, normal_2=normal_2, closing=closing, alone=_alone(obs, one, other, frame)
    )


def _side(path: Path, frame: float) -> Side | None:
    good = path.good
    before = [s for s in good if s.middle < frame and s.first < frame - 1]
    after = [s for s in good if s.middle > frame and s.last > frame + 1]
    across = [s for s in good if s.first < frame - 2 and s.last > frame + 2]
    if across:  # no answer: the same parabola goes on
        before = after = across
    elif before and not after:
        after = _touching(path, frame)
    if not before or not after:
        return None
    b, a = _steadier(path, before[-1], frame), _steadier(path, after[0], frame)
    if frame - b.last > _CLOSE_FRAMES or a.first - frame > _CLOSE_FRAMES:
        return None
    return Side(
        path=path,
        before=b,
        after=a,
        place_2=b.fit.at(frame),
        v_before_2=b.velocity(frame),
        v_after_2=a.velocity(frame),
        sigma=float(np.hypot(b.fit.error(frame, 1), a.fit.error(frame, 1))),
    )


def _steadier(path: Path, segment: Segment, frame: float) -> Segment:
    """The segment next to a moment; the rough way on that side, if straight, where it is short or ends too early.

    What two bodies that touch do to each other's outlines moves their centres by parts of a pixel, which breaks a way
    into pieces whose velocity says little.
    """
    away = max(frame - segment.last, segment.first - frame)
    if len(segment.frames_N) >= _STEADY_SAMPLES and away <= _CLOSE_FRAMES:
        return segment
    side = 1 if segment.middle > frame else -1
    for frames in range(_ROUGH_FRAMES, 3, -2):  # no farther than to the blow before
        rough = _rough(path, frame, side, frames)
        if rough is not None:
            off_N = np.linalg.norm(rough.xy_N2 - rough.fit.along(rough.frames_N), axis=1)
            if float(off_N.max()) < 2 * rough.sigma_px:
                return rough
    return segment


def _touching(path: Path, frame: float) -> list[Segment]:
    """A body's rough way after a moment from which on it is only seen partly, as what touches another one is."""
    rough = _rough(path, frame, 1, _ROUGH_FRAMES)
    return [] if rough is None else [rough]


def _rough(path: Path, frame: float, side: int, frames: int) -> Segment | None:
    """A straight way through a body's places in some frames before (-1) or after (1) a moment, partly seen ones too."""
    track = path.track
    near = np.arange(round(frame) + 1, round(frame) + 1 + frames)
    near = near if side > 0 else np.sort(2 * round(frame) - near)
    near = near[(near >= 0) & (near < len(track.xy_F2))]
    near = near[np.isfinite(track.xy_F2[near]).all(1)]
    if len(near) < 4:
        return None
    sigma = max(_ROUGH_D * track.diameter_px, track.sigma_px)
    frames_N, xy_N2 = near.astype(float), track.xy_F2[near]
    fit = polynomial(frames_N, xy_N2, sigma, 1)
    return Segment(track=track.id, frames_N=frames_N, xy_N2=xy_N2, sigma_px=sigma, fit=fit, ground="unknown")


def _alone(obs: Observation, one: Path, other: Path, frame: float) -> bool:
    near = slice(max(round(frame) - 2, 0), round(frame) + 3)
    for third in paths(obs):
        if third is one or third is other:
            continue
        for path in (one, other):
            gap_N = obs.gap(path.track.id, third.track.id)[near]
            if np.any(gap_N < 0.12 * path.track.diameter_px):
                return False
    return True
