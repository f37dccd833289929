"""momentum: when two bodies collide, one is pushed along the line on which the other is pushed back.

Formula: |component of m_B dv_B across dv_A| over m_B |dv_B|, together with how much m_B |dv_B| exceeds what the striker
lost; masses between areas and volumes of their discs.
Source: conservation of momentum (Huygens 1669; Newton's third law).
Strength: share of the struck body's change of velocity, beyond 3 standard errors. An answer that is too small is
`missing_effect`.
Abstains where no two bodies collide alone, or where the changes are less than the noise.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.meetings import Meeting, meetings

__all__ = ["RULE"]


def measure(observation: Observation) -> Measured:
    met = [meeting for meeting in meetings(observation) if meeting.alone and not meeting.pressed]
    if not met:
        return Abstention(status="not_applicable", reason="no two bodies collide on their own")
    found = tuple(m for meeting in met if (m := _of(meeting)) is not None)
    return found or Abstention(status="undecidable", reason="the changes of velocity drown in noise")


def _of(meeting: Meeting) -> Measurement | None:
    lost_2, won_2 = -meeting.one.change_2, meeting.other.change_2
    lost, won = float(np.linalg.norm(lost_2)), float(np.linalg.norm(won_2))
    sigma = float(np.hypot(meeting.one.sigma / max(lost, 1e-9), meeting.other.sigma / max(won, 1e-9)))
    if 3 * sigma > 0.5:
        return None
    across = abs(float(lost_2[0] * won_2[1] - lost_2[1] * won_2[0])) / (lost * won)
    if lost_2 @ won_2 < 0:
        across = 2 - across  # pulled towards the striker: worse than straight aside
    diameters = meeting.other.path.track.diameter_px / meeting.one.path.track.diameter_px
    masses = min(diameters**2, diameters**3)
    excess = max(0.0, masses * won / lost - 1)
    value = float(np.hypot(across, excess))
    return Measurement(
        strength=max(0.0, value - 3 * sigma),
        frames=meeting.frames,
        objects=meeting.ids,
        quantity="momentum that nothing gave, share of the struck body's",
        value=value,
        expected=0.0,
        sigma=sigma,
        text=f"thing {meeting.ids[1]} leaves the blow of thing {meeting.ids[0]} with {value:.0%} of its momentum "
        "from nowhere",
    )


RULE = Rule(
    name="momentum",
    group="mechanics",
    statement="When two bodies collide, one gains the momentum that the other loses.",
    measure=measure,
)
