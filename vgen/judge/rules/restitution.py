"""restitution: nothing leaves an impact faster than it came.

Formula: e = -(u_after . n) / (u_before . n) with u the velocity against what was struck (another body, or the scenery
at rest) and n the direction in which the velocity changed; e <= 1.
Source: Newton's law of restitution (Principia, 1687, Scholium to the laws).
Strength: e - 1 beyond 3 standard errors: gain over the speed of impact.
Abstains where nothing strikes anything, or where half the speed of impact is less than the noise.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.meetings import meetings
from vgen.judge.rules.segments import Joint, Path, paths

__all__ = ["RULE"]

_MET_FRAMES = 3.0


def measure(observation: Observation) -> Measured:
    met = [meeting for meeting in meetings(observation) if meeting.alone]
    impacts: list[tuple[tuple[int, ...], tuple[int, int], Floats, Floats, float]] = [
        (
            meeting.ids,
            meeting.frames,
            meeting.one.v_before_2 - meeting.other.v_before_2,
            meeting.one.v_after_2 - meeting.other.v_after_2,
            float(np.hypot(meeting.one.sigma, meeting.other.sigma)),
        )
        for meeting in met
    ]
    for path in paths(observation):
        times = [meeting.frame for meeting in meetings(observation) if path.track.id in meeting.ids]
        for joint in path.joints:
            if _strikes_scenery(path, joint) and all(abs(time - joint.frame) > _MET_FRAMES for time in times):
                impacts.append(((path.track.id,), joint.frames, joint.v_before_2, joint.v_after_2, joint.kick_sigma))
    if not impacts:
        return Abstention(status="not_applicable", reason="nothing strikes anything")
    found = tuple(m for impact in impacts if (m := _of(*impact)) is not None)
    return found or Abstention(status="undecidable", reason="the speeds at the impact drown in noise")


def _strikes_scenery(path: Path, joint: Joint) -> bool:
    return (
        not path.swings
        and joint.passage == "kick"
        and bool(joint.causes & {"surface", "contact"})
        and not joint.causes & {"body", "hidden", "border"}
        and not joint.others
        and not joint.rolls_on
    )


def _of(
    ids: tuple[int, ...], frames: tuple[int, int], before_2: Floats, after_2: Floats, sigma: float
) -> Measurement | None:
    change_2 = after_2 - before_2
    normal_2 = change_2 / max(float(np.linalg.norm(change_2)), 1e-9)
    came, left = -float(before_2 @ normal_2), float(after_2 @ normal_2)
    if came <= 0 or 3 * sigma > 0.5 * came:
        return None
    e = left / came
    error = sigma / came * float(np.sqrt((1 + e**2) / 2))
    return Measurement(
        strength=max(0.0, e - 1 - 3 * error),
        frames=frames,
        objects=ids,
        quantity="speed of separation over speed of approach",
        value=e,
        expected=min(max(e, 0.0), 1.0),
        sigma=error,
        text=f"thing {ids[0]} leaves the impact with {e:.2f} of its speed",
    )


RULE = Rule(
    name="restitution",
    group="mechanics",
    statement="Nothing leaves an impact faster than it came.",
    measure=measure,
)
