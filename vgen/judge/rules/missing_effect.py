"""missing_effect: what is hit by a body that feels the blow answers to it.

Formula: share = m_B |dv_B| / (m_A |dv_A|), the struck body's answer over the one that the striker's own change of
velocity demands (action equals reaction); masses as areas.
Source: Newton's third law (Principia, 1687, Lex III).
Strength: 1 - share beyond 2 standard errors, 0..1. A share above 1, or a wrong direction, is `momentum`.
Abstains where no two bodies meet, where one then lies within the other, which is `solidity`, or where the striker's
change is not told from noise.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.meetings import Meeting, meetings, reach_px

__all__ = ["RULE", "answer_share"]

_SOON, _WITHIN = 10, 0.85  # frames, and the share of the distance at which they touch


def measure(observation: Observation) -> Measured:
    alone = (meeting for meeting in meetings(observation) if meeting.alone and not meeting.pressed)
    met = [meeting for meeting in alone if not _go_through(observation, meeting)]
    if not met:
        return Abstention(status="not_applicable", reason="no two bodies meet and stay outside each other")
    found = tuple(m for meeting in met if (m := _of(meeting)) is not None)
    return found or Abstention(status="undecidable", reason="the change of velocity at the impact drowns in noise")


def _go_through(observation: Observation, meeting: Meeting) -> bool:
    """Whether one soon lies within the other: then no blow is missing, but `solidity`."""
    soon = slice(round(meeting.frame) + 2, round(meeting.frame) + _SOON)
    one, other = meeting.one.path, meeting.other.path
    apart_N = np.linalg.norm(one.track.xy_F2[soon] - other.track.xy_F2[soon], axis=1)
    return bool(np.nanmin(apart_N, initial=np.inf) < _WITHIN * reach_px(observation, one, other))


def answer_share(meeting: Meeting) -> tuple[float, float] | None:
    """(share, standard error) of the answer that action and reaction demand; None where the noise is too large."""
    one, other = meeting.one, meeting.other
    push = one.area * float(np.linalg.norm(one.change_2))
    answer = other.area * float(np.linalg.norm(other.change_2))
    if push < 6 * one.area * one.sigma:
        return None
    share = answer / push
    sigma = float(np.hypot(other.area * other.sigma, share * one.area * one.sigma)) / push
    return (share, sigma) if sigma < 0.15 else None


def _of(meeting: Meeting) -> Measurement | None:
    told = answer_share(meeting)
    if told is None:
        return None
    share, sigma = told
    return Measurement(
        strength=min(max(0.0, 1 - share - 2 * sigma), 1.0),
        frames=meeting.frames,
        objects=meeting.ids,
        quantity="answer of the struck body over the one that the blow demands",
        value=share,
        expected=1.0,
        sigma=sigma,
        text=f"thing {meeting.ids[1]} answers with {share:.2f} of the push that thing {meeting.ids[0]} lost "
        f"at frame {meeting.frame:.1f}",
    )


RULE = Rule(
    name="missing_effect",
    group="causal",
    statement="What is hit by a body that feels the blow answers to it.",
    measure=measure,
)
