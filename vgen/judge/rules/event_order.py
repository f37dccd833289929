"""event_order: in a row of pushes, each body starts after the one that pushes it.

Formula: for each body at rest that another one, at rest before too, comes to: t(the pusher starts) - t(it starts), in
frames. The share of pairs in the wrong order is the normalised Kendall distance (Kendall 1938) of the row.
Source: transitivity of cause (Hume); ordering of procedural steps (VCRBench, arXiv:2505.08455).
Strength: frames of the wrong order, beyond 2 standard errors.
Abstains where no body is pushed by one that was at rest itself.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.effect_before_cause import first_start, pusher_time
from vgen.judge.rules.segments import Joint, Path, paths

__all__ = ["RULE"]


def measure(observation: Observation) -> Measured:
    begun = {path.track.id: (path, joint) for path in paths(observation) if (joint := first_start(path)) is not None}
    found = []
    for path, joint in begun.values():
        pusher = pusher_time(observation, path, joint)
        if pusher is not None and pusher[0] in begun:
            found.append(_of(path, joint, *begun[pusher[0]]))
    return tuple(found) or Abstention(
        status="not_applicable", reason="no body is pushed by one that was at rest itself"
    )


def _of(path: Path, joint: Joint, pusher: Path, first: Joint) -> Measurement:
    early = first.frame - joint.frame
    sigma = float(np.hypot(first.sigma_frames, joint.sigma_frames))
    return Measurement(
        strength=max(0.0, early - 2 * sigma),
        frames=(min(first.before.last, joint.before.last), max(first.after.first, joint.after.first)),
        objects=(path.track.id, pusher.track.id),
        quantity="start before the pusher's own start, frames",
        value=early,
        expected=min(early, 0.0),
        sigma=sigma,
        text=f"thing {path.track.id} starts at frame {joint.frame:.1f}, thing {pusher.track.id}, which pushes it, "
        f"at {first.frame:.1f}",
    )


RULE = Rule(
    name="event_order",
    group="causal",
    statement="In a row of pushes, each body starts after the one that pushes it.",
    measure=measure,
)
