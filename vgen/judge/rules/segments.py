"""The life of each body as smooth segments and the joints between them: flights, runs, rests, and what broke them.

A segment is a stretch of wholly seen frames that one parabola explains within noise; a joint is the passage to the
next one, with what happens to place and velocity there and everything near that may explain it. Rules differ in what
they make of unexplained joints; finding them is the same for all, and happens here, once per observation.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import EventKind, Floats, Observation, Sight, Track
from vgen.judge.rules.fits import Fit, polynomial, split
from vgen.judge.rules.lives import bodies, level_px, noise_px, unbroken
from vgen.judge.rules.reflections import images

__all__ = ["DOWN", "Joint", "Path", "Segment", "gravity", "paths", "usable"]

DOWN = np.array([0.0, 1.0])

Ground = Literal["air", "ground", "unknown"]
Passage = Literal["bend", "kick", "jump", "unclear"]
Cause = Literal["contact", "surface", "body", "border", "hidden", "event"]

_MET: tuple[EventKind, ...] = ("contact", "separation", "bounce", "merge")
_GOOD_SAMPLES = 4  # of a segment whose velocity can be told
_LONGEST_PASSAGE = 4.5  # frames between two segments; beyond it nobody knows what happened between
_NEAR_FRAMES = 2.0  # an explanation this far from a joint still explains it
_BORDER = 0.06  # of the width: what is so near the border may meet something beyond it
_TURN_D = 0.15  # diameters sideways that a swing near the ground takes to turn back at least
_ROLLS = 0.8  # share of its frames on the ground from which a body rolls rather than swings
_SAG_D = 0.05  # diameters that a swing's path is bent at least
_FALLS_D = 0.1  # diameters that a flight is bent at least, to tell what gravity is
_SURE = 4.0  # standard errors
_ONWARD = 0.9  # cosine of the largest turn of what goes on as it went
_CHI2_2 = 13.8  # 99.9 % point for 2 degrees of freedom
_CHI2_4 = 18.5  # for 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """Frames of one track that one parabola explains.

    Args:
        track: its id.
        frames_N: the wholly seen frames, ascending; hidden ones between them are left out.
        xy_N2: centres there, in pixels.
        sigma_px: standard error of one coordinate.
        fit: the parabola.
        ground: whether it flies freely, stands on something, or nothing tells.
    """

    track: int
    frames_N: Floats
    xy_N2: Floats
    sigma_px: float
    fit: Fit
    ground: Ground

    @property
    def first(self) -> int:
        return int(self.frames_N[0])

    @property
    def last(self) -> int:
        return int(self.frames_N[-1])

    @property
    def middle(self) -> float:
        return (self.first + self.last) / 2

    def velocity(self, time: float) -> Floats:
        return self.fit.at(time, 1)

    def resting(self, diameter_px: float) -> bool:
        """Whether it stays where it is, to a twentieth of its diameter or to noise, from one end to the other."""
        ends = self.fit.at(self.first) - self.fit.at(self.last)
        way = max(
            float(np.linalg.norm(ends)), float(np.linalg.norm(self.fit.at(self.first) - self.fit.at(self.middle)))
        )
        return way < max(0.05 * diameter_px, 4 * self.fit.error(self.first))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """Where one segment of a track ends and the next begins.

    Args:
        before, after: the segments, each long enough to tell a velocity.
        frame: when, in frames, and `sigma_frames` its standard error.
        passage: `bend` where place and velocity pass on unbroken, `kick` where the velocity alone changes, `jump`
            where the place does, `unclear` where too much between the segments was not seen.
        kick_2: change of velocity in px per frame; `kick_sigma` the standard error of one coordinate.
        jump_px: distance between the two segments' places at `frame`; `jump_sigma` likewise.
        causes: what was near enough to explain it.
        others: ids of bodies that were near.
    """

    before: Segment
    after: Segment
    frame: float
    sigma_frames: float
    passage: Passage
    kick_2: Floats
    kick_sigma: float
    jump_px: float
    jump_sigma: float
    causes: frozenset[Cause]
    others: tuple[int, ...]

    @property
    def frames(self) -> tuple[int, int]:
        return self.before.last, self.after.first

    @property
    def rolls_on(self) -> bool:
        """Whether it only runs from one ground onto the next, as where an incline ends."""
        grounded = self.before.ground == self.after.ground == "ground"
        return grounded and not self.others and float(self.v_before_2 @ self.v_after_2) > 0

    @property
    def v_before_2(self) -> Floats:
        return self.before.velocity(self.frame)

    @property
    def v_after_2(self) -> Floats:
        return self.after.velocity(self.frame)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """Everything about how one body moved.

    Args:
        track: the body.
        segments: in order, those of a few frames (between two quick bounces) included.
        joints: between the segments that tell a velocity.
        swings: whether it hangs on something and swings: its flights are no free ones.
    """

    track: Track
    segments: tuple[Segment, ...]
    joints: tuple[Joint, ...]
    swings: bool

    def runs(self, ground: Ground, passages: tuple[Passage, ...] = ("bend",)) -> list[list[Segment]]:
        """Stretches of segments on this ground that pass into each other in these ways, with nothing near."""

        def undisturbed(joint: Joint) -> bool:
            if ground != "ground":
                return not joint.causes
            return joint.causes <= ({"surface", "contact"} if joint.rolls_on else {"surface"})

        passed = {
            (id(joint.before), id(joint.after))
            for joint in self.joints
            if joint.passage in passages and undisturbed(joint)
        }
        runs: list[list[Segment]] = []
        for segment in self.good:
            if segment.ground != ground:
                continue
            if runs and (id(runs[-1][-1]), id(segment)) in passed:
                runs[-1].append(segment)
            else:
                runs.append([segment])
        return runs

    @property
    def good(self) -> list[Segment]:
        """The segments that are long enough to tell a velocity."""
        return [segment for segment in self.segments if len(segment.frames_N) >= _GOOD_SAMPLES]


def usable(obs: Observation, track: Track) -> npt.NDArray[np.bool_]:
    """Frames [F] in which a track's centre means something: wholly seen, in the shot, the camera known."""
    usable_F = track.seen_F & np.isfinite(track.xy_F2).all(1) & (obs.camera.inliers_F >= 0.5)
    first, end = obs.shot
    usable_F[:first] = False
    usable_F[end:] = False
    return usable_F


@lru_cache(maxsize=4)
def paths(obs: Observation) -> tuple[Path, ...]:
    """The paths of all bodies that were wholly seen in three frames at least.

    How the pieces of what broke move is for `irreversibility` alone to judge, and how images move for `mirror`.
    """
    moving = (track for track in unbroken(obs) if track.id not in images(obs))
    return tuple(_path(obs, track) for track in moving if usable(obs, track).sum() >= 3)


def _path(obs: Observation, track: Track) -> Path:
    frames_N = np.flatnonzero(usable(obs, track)).astype(float)
    xy_N2 = track.xy_F2[frames_N.astype(int)]
    sigma = noise_px(track)
    segments = tuple(
        _segment(obs, track, frames_N[first:end], xy_N2[first:end], sigma)
        for first, end in split(frames_N, xy_N2, sigma)
    )
    good = [segment for segment in segments if len(segment.frames_N) >= _GOOD_SAMPLES]
    joints = tuple(_joint(obs, track, before, after) for before, after in itertools.pairwise(good))
    return Path(track=track, segments=segments, joints=joints, swings=_swings(track, good, joints))


def _segment(obs: Observation, track: Track, frames_N: Floats, xy_N2: Floats, sigma: float) -> Segment:
    return Segment(
        track=track.id,
        frames_N=frames_N,
        xy_N2=xy_N2,
        sigma_px=sigma,
        fit=polynomial(frames_N, xy_N2, sigma, 2),
        ground=_ground(obs, track, frames_N.astype(int)),
    )


def _ground(obs: Observation, track: Track, frames_N: npt.NDArray[np.int_]) -> Ground:
    free_N = track.surface_px_F[frames_N]
    touching_N = np.zeros(len(frames_N), bool)
    for other in bodies(obs):
        if other.id != track.id:
            touching_N |= obs.gap(track.id, other.id)[frames_N] < 0.05 * track.diameter_px
    if np.median(touching_N) == 1:
        return "ground"
    known_N = free_N[np.isfinite(free_N)]
    if len(known_N) < (len(frames_N) + 1) // 2:
        return "unknown"
    return "air" if np.median(known_N) > level_px(track) else "ground"


def _joint(obs: Observation, track: Track, before: Segment, after: Segment) -> Joint:
    passage: Passage
    low, high = before.last - 0.5, after.first + 0.5
    # A smooth bend shows late, when it has grown past noise: look for an unbroken passage in a wider range.
    bend = min(
        np.arange(low - 2, high + 2.01, 0.25), key=lambda t: _broken(before, after, t) + _broken(before, after, t, 1)
    )
    frame = _meeting(before, after, low, high)
    wide = after.first - before.last > _LONGEST_PASSAGE
    if _broken(before, after, bend) + _broken(before, after, bend, 1) < _CHI2_4:
        passage, frame = "bend", float(bend)
    elif _broken(before, after, frame) < _CHI2_2:
        passage = "kick"
    else:
        passage = "jump"
    kick_2 = after.velocity(frame) - before.velocity(frame)
    place_sigma = float(np.hypot(before.fit.error(frame), after.fit.error(frame)))
    causes, others = _causes(obs, track, before, after, frame)
    return Joint(
        before=before,
        after=after,
        frame=frame,
        sigma_frames=min(place_sigma / max(float(np.linalg.norm(kick_2)), 1e-9), high - low),
        passage="unclear" if wide else passage,
        kick_2=kick_2,
        kick_sigma=float(np.hypot(before.fit.error(frame, 1), after.fit.error(frame, 1))),
        jump_px=float(np.linalg.norm(after.fit.at(frame) - before.fit.at(frame))),
        jump_sigma=place_sigma,
        causes=causes,
        others=others,
    )


def _broken(before: Segment, after: Segment, time: float, order: int = 0) -> float:
    """Chi^2 of the hypothesis that place (order 0) or velocity (1) passes on unbroken at a time."""
    variance = before.fit.error(time, order) ** 2 + after.fit.error(time, order) ** 2
    return float(((after.fit.at(time, order) - before.fit.at(time, order)) ** 2).sum() / variance)


def _meeting(before: Segment, after: Segment, low: float, high: float) -> float:
    """When the two parabolas come nearest to each other between these times."""

    def apart(time: float) -> Floats:
        return after.fit.at(time) - before.fit.at(time)

    times = np.linspace(low, high, 2 * round(high - low) + 3)
    time = float(min(times, key=lambda t: float(np.linalg.norm(apart(t)))))
    for _ in range(4):  # Gauss-Newton
        closing_2 = after.velocity(time) - before.velocity(time)
        time -= float(apart(time) @ closing_2) / max(float(closing_2 @ closing_2), 1e-12)
        time = min(max(time, low), high)
    return time


def _causes(
    obs: Observation, track: Track, before: Segment, after: Segment, frame: float
) -> tuple[frozenset[Cause], tuple[int, ...]]:
    """All that could explain a joint, generously: a missed explanation would accuse an innocent clip."""
    causes: set[Cause] = set()
    others: set[int] = set()
    around = range(max(round(frame - _NEAR_FRAMES), 0), min(round(frame + _NEAR_FRAMES) + 1, obs.num_frames))
    step_px = float(max(np.linalg.norm(before.velocity(frame)), np.linalg.norm(after.velocity(frame))))
    for event in obs.events:
        if track.id in event.tracks and abs(event.frame - frame) <= _NEAR_FRAMES + 2 * event.sigma_frames:
            if event.kind in _MET and (len(event.tracks) > 1 or not _speeds_up(before, after, frame)):
                causes.add("contact")
                others.update(set(event.tracks) - {track.id})
            elif event.kind in ("enter", "exit", "appear", "vanish"):
                causes.add("event")
    near = list(around)
    fall_px = max(abs(before.velocity(frame)[1]), abs(after.velocity(frame)[1]))
    if np.any(track.surface_px_F[near] <= level_px(track) + 0.6 * fall_px):
        causes.add("surface")
    for other in bodies(obs):
        gap_N = obs.gap(track.id, other.id)[near]
        # Between two frames a closing gap passes through zero unseen.
        closing = _closing(obs.gap(track.id, other.id), near)
        if other.id != track.id and np.any(gap_N <= 0.15 * track.diameter_px + closing):
            causes.add("body")
            others.add(other.id)
    if np.any(track.sight_F[near] > Sight.PARTLY) or after.first - before.last > _LONGEST_PASSAGE:
        causes.add("hidden")
    box_N4 = track.box_F4[near]
    reach = max(step_px + 2, _BORDER * obs.width)
    if not obs.camera.moving and np.any(
        (box_N4[:, :2] < reach) | (box_N4[:, 2:] > np.array([obs.width, obs.height]) - reach)
    ):
        causes.add("border")
    return frozenset(causes), tuple(sorted(others))


def _speeds_up(before: Segment, after: Segment, frame: float) -> bool:
    """Whether it goes on as it went, but surely faster: no still thing that it may have met does that."""
    v_before_2, v_after_2 = before.velocity(frame), after.velocity(frame)
    one, other = float(np.linalg.norm(v_before_2)), float(np.linalg.norm(v_after_2))
    sigma = float(np.hypot(before.fit.error(frame, 1), after.fit.error(frame, 1)))
    return other - one > _SURE * sigma and float(v_before_2 @ v_after_2) > _ONWARD * one * other


def _closing(gap_F: Floats, near: list[int]) -> float:
    """How far a gap may close between two frames around a moment, in pixels."""
    steps = np.abs(np.diff(gap_F[max(near[0] - 1, 0) : near[-1] + 2]))
    return float(np.nanmedian(steps)) if np.isfinite(steps).any() else 0.0


def _swings(track: Track, segments: list[Segment], joints: tuple[Joint, ...]) -> bool:
    """Whether a body turns back sideways smoothly, again and again or on a circle from above, as what hangs does."""
    if not segments or _grounded(segments) > _ROLLS:
        return False  # what rolls to and fro in a valley is held up from below
    slow = max(2 * s.fit.error(s.first, 1) for s in segments)
    settled = _TURN_D * track.diameter_px  # what turns within so little, and stands, has come to rest
    turning = [s for s in segments if s.ground != "ground" or np.ptp(s.xy_N2[:, 0]) > settled]
    pairs = [(s.velocity(s.first)[0], s.velocity(s.last)[0]) for s in turning]
    pairs += [(j.v_before_2[0], j.v_after_2[0]) for j in joints if j.passage == "bend"]
    returns = sum(bool(before * after < 0 and min(abs(before), abs(after)) > slow) for before, after in pairs)
    return returns > 1 or (returns == 1 and _on_circle(segments, track.diameter_px))


def _grounded(segments: list[Segment]) -> float:
    """The share of the frames in which something holds a body up."""
    frames = sum(len(segment.frames_N) for segment in segments)
    return sum(len(segment.frames_N) for segment in segments if segment.ground == "ground") / frames


def _on_circle(segments: list[Segment], diameter_px: float) -> bool:
    """Whether most of the places lie on one circle that hangs from above (Kasa's algebraic fit, made robust)."""
    xy_N2 = np.concatenate([segment.xy_N2 for segment in segments])
    centre_2 = xy_N2.mean(0)
    x_N, y_N = (xy_N2 - centre_2).T
    keep_N = np.ones(len(x_N), bool)
    for _ in range(5):
        basis_N3 = np.column_stack([x_N, y_N, np.ones_like(x_N)])[keep_N]
        (a, b, c), *_ = np.linalg.lstsq(basis_N3, (x_N**2 + y_N**2)[keep_N], rcond=None)
        off_N = np.abs(np.hypot(x_N - a / 2, y_N - b / 2) - np.sqrt(max(c + a**2 / 4 + b**2 / 4, 0)))
        keep_N = off_N <= np.quantile(off_N, 0.7)
    radius = float(np.sqrt(max(c + a**2 / 4 + b**2 / 4, 1e-9)))
    # What rolls on level ground and comes back is on a circle too, on a vast one.
    sag = float(np.ptp(x_N)) ** 2 / (8 * radius)
    curved = sag > max(_SAG_D * diameter_px, 6 * segments[0].sigma_px)
    return bool(b < 0 and curved and np.median(off_N) < min(0.1 * diameter_px, sag / 4))


@lru_cache(maxsize=4)
def gravity(obs: Observation) -> tuple[Floats, float]:
    """The clip's acceleration of free fall [x, y], px per frame^2, and its standard error; zero where nothing falls.

    The median over the frames of all free flights with a clear acceleration that bends them visibly.
    """
    pulls, sigmas, lengths = [], [], []
    for path in paths(obs):
        if path.swings:
            continue
        for segment in path.segments:
            if segment.ground == "air" and len(segment.frames_N) > _GOOD_SAMPLES:
                pull_2, sigma = segment.fit.at(segment.middle, 2), segment.fit.error(segment.middle, 2)
                bend = float(np.linalg.norm(pull_2)) * (segment.last - segment.first) ** 2 / 8
                if np.linalg.norm(pull_2) > 5 * sigma and bend > _FALLS_D * path.track.diameter_px:
                    pulls.append(pull_2)
                    sigmas.append(sigma)
                    lengths.append(len(segment.frames_N))
    if not pulls:
        return np.zeros(2), float("inf")
    return np.median(np.repeat(np.array(pulls), lengths, axis=0), axis=0), float(np.median(sigmas))
