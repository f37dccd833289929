"""effect_before_cause: what is pushed does not start before the pusher is there.

Formula: lead = t(arrival of the pusher at the resting body) - t(the resting body starts), in frames: the first from the
pusher's own answer to the blow or its way there, the second from the body's two segments. Only bodies at rest count,
and only a pusher that arrives within the next moments. Where the pusher itself sets off later than the body by o
frames, 2 o are taken off: once because nothing was on its way yet, once because `event_order` explains that much.
Source: causal perception of launching (Michotte 1946); effect and cause in order (Hume).
Strength: frames of lead beyond 2 standard errors. A body that starts with no pusher coming is `motion_without_cause`.
Abstains where no moving body comes to one at rest.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import noise_px
from vgen.judge.rules.meetings import arrival, reach_px
from vgen.judge.rules.segments import Joint, Path, paths

__all__ = ["RULE", "first_start", "pusher_time", "starts"]

_LONGEST_LEAD = 20.0  # frames; a pusher that comes later than this has nothing to do with the start
_THERE = 1.4  # of the distance at which the two touch
_UNSEEN = 4.5  # frames for which a way may go on while what goes it is not wholly seen
_LAG = 4.0  # frames; one that came earlier than this neither


def measure(observation: Observation) -> Measured:
    found = [
        measurement
        for path in paths(observation)
        for joint in starts(path)
        if (measurement := _of(observation, path, joint)) is not None
    ]
    return tuple(found) or Abstention(status="not_applicable", reason="no moving body comes to one at rest")


def starts(path: Path) -> list[Joint]:
    """The joints at which a body passes from rest to motion."""
    diameter = path.track.diameter_px
    return [
        joint
        for joint in path.joints
        if joint.before.resting(diameter) and not joint.after.resting(diameter) and joint.passage != "unclear"
    ]


def first_start(path: Path) -> Joint | None:
    """The joint at which a body sets off for the first time; None where it moves from the first, or never."""
    joint = next(iter(starts(path)), None)
    if joint is None:
        return None
    earlier = (segment for segment in path.good if segment.last <= joint.before.last)
    return joint if all(segment.resting(path.track.diameter_px) for segment in earlier) else None


def pusher_time(observation: Observation, path: Path, joint: Joint) -> tuple[int, float, float] | None:
    """(id, frame, standard error) of the moving body that comes to where this one rested, nearest to its start.

    By its own answer to the blow there, else by its raw places (what touches shows in part), else by its way.
    """
    place_2 = joint.before.fit.at(joint.before.last)
    came = []
    for other in paths(observation):
        if other is path:
            continue
        reach = reach_px(observation, path, other)
        came += [
            (other.track.id, answer.frame, answer.sigma_frames)
            for answer in other.joints
            if path.track.id in answer.others and _answers(answer, place_2, reach, joint.frame)
        ]
        if _is_there(other, place_2, reach, joint.frame):
            came.append((other.track.id, joint.frame, 0.5))
        nexts = [*(segment.first for segment in other.good[1:]), observation.num_frames]
        for segment, following in zip(other.good, nexts, strict=False):
            if segment.resting(other.track.diameter_px) or segment.last < joint.frame - _LAG:
                continue
            unseen = min(following + 0.5, segment.last + _UNSEEN)
            until = min(max(segment.last + 2.5, unseen), joint.frame + _LONGEST_LEAD)
            there = arrival(segment, place_2, reach, until)
            if there is not None and there[0] > joint.frame - _LAG:
                came.append((other.track.id, *there))
    return min(came, key=lambda c: abs(c[1] - joint.frame)) if came else None


def _answers(answer: Joint, place_2: Floats, reach: float, frame: float) -> bool:
    """Whether a joint may be what a blow at this place did to the pusher, some moments about a frame."""
    there = float(np.linalg.norm(answer.before.fit.at(answer.frame) - place_2)) < _THERE * reach
    return answer.passage != "bend" and frame - _LAG < answer.frame < frame + _LONGEST_LEAD and there


def _is_there(other: Path, place_2: Floats, reach: float, frame: float) -> bool:
    """Whether a body that plainly comes nearer arrives within a frame of this one."""
    near = other.track.xy_F2[max(0, round(frame) - 3) : round(frame) + 2]
    apart_N = np.linalg.norm(near - place_2, axis=1)
    step_N = -np.diff(apart_N)
    if np.isfinite(step_N).sum() < 2:
        return False
    step = float(np.nanmedian(step_N))
    return step > 3 * noise_px(other.track) and float(np.nanmin(apart_N)) < reach + step


def _of(observation: Observation, path: Path, joint: Joint) -> Measurement | None:
    pusher = pusher_time(observation, path, joint)
    if pusher is None:
        return None
    other, arrives, error = pusher
    sets_off = [first_start(p) for p in paths(observation) if p.track.id == other]
    late = max([0.0, *(start.frame - joint.frame for start in sets_off if start and start.frame < arrives)])
    lead = arrives - joint.frame - 2 * late
    sigma = float(np.hypot(joint.sigma_frames, error))
    return Measurement(
        strength=max(0.0, lead - 2 * sigma),
        frames=(joint.before.last, max(joint.after.first, round(arrives))),
        objects=(path.track.id, other),
        quantity="start before the pusher's arrival, frames",
        value=lead,
        expected=0.0,
        sigma=sigma,
        text=f"thing {path.track.id} starts at frame {joint.frame:.1f}, thing {other} reaches it at {arrives:.1f}",
    )


RULE = Rule(
    name="effect_before_cause",
    group="causal",
    statement="What is pushed does not start before the pusher is there.",
    measure=measure,
)
