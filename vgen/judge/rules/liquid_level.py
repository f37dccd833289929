"""liquid_level: the surface of a liquid at rest lies level.

Formula: |atan2(dy, dx)| of its two ends, the median of three measured frames running, over 15 degrees; two degrees and
three standard errors taken off.
Source: hydrostatics (a free surface at rest is perpendicular to gravity); the water-level task, Piaget and Inhelder
1948. Gravity points down the picture: a clip from a camera that leans is off by that lean.
Strength: 1 is a surface aslant by 15 degrees more than what is not counted.
Abstains where no vessel shows its liquid, or where noise hides half of 15 degrees.
"""

import numpy as np

from vgen.judge.observation import Liquid, Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule

__all__ = ["RULE"]

RUN = 3  # measured frames
FLOOR_DEG = 2.0
FULL_DEG = 15.0


def measure(observation: Observation) -> Measured:
    surfaces = [liquid for liquid in observation.liquids if np.isfinite(liquid.ends_F22).all((1, 2)).sum() >= RUN]
    if not surfaces:
        return Abstention(status="not_applicable", reason="no vessel shows its liquid")
    found = tuple(m for m in map(_of, surfaces) if 3 * m.sigma < FULL_DEG / 2)
    return found or Abstention(status="undecidable", reason="surfaces are too short to tell their slope")


def _of(liquid: Liquid) -> Measurement:
    frames = np.flatnonzero(np.isfinite(liquid.ends_F22).all((1, 2)))
    along_N2 = liquid.ends_F22[frames, 1] - liquid.ends_F22[frames, 0]
    slant_N = np.degrees(np.arctan2(along_N2[:, 1], along_N2[:, 0]))
    run_N = np.array([np.median(slant_N[i : i + RUN]) for i in range(len(frames) - RUN + 1)])
    i = int(np.abs(run_N).argmax())
    value = float(abs(run_N[i]))
    sigma = float(np.degrees(np.sqrt(2) * liquid.sigma_px / liquid.width_px))
    strength = max(0.0, value - FLOOR_DEG - 3 * sigma) / FULL_DEG
    return Measurement(
        strength=strength,
        frames=(int(frames[i]), int(frames[i + RUN - 1])),
        objects=(),
        quantity="slant of a liquid's surface, degrees",
        value=value,
        expected=0.0,
        sigma=sigma,
        text=f"the surface of a liquid lies {value:.0f} degrees aslant at frame {frames[i]}"
        if strength
        else "the surface of a liquid stays level",
    )


RULE = Rule(
    name="liquid_level",
    group="materials",
    statement="The surface of a liquid at rest lies level.",
    measure=measure,
    motion=False,
)
