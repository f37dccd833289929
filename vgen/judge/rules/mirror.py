"""mirror: a reflection does what its thing does, the other way round, at the same time.

Formula: for two things that begin as thing and reflection (`reflections.py`), the largest median of five frames running
of how far the reflection is from where it belongs.
Source: plane mirrors, x' = 2 c - x; PhyGround, arXiv:2605.10806, law reflection.
Strength: diameters, .04 and three standard errors taken off.
Abstains where no two things begin as thing and reflection.
"""

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import lost_camera
from vgen.judge.rules.reflections import RUN, Reflection, reflections

__all__ = ["RULE"]


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    found = tuple(_said(pair) for pair in reflections(observation))
    return found or Abstention(status="not_applicable", reason="no two things begin as thing and reflection")


def _said(pair: Reflection) -> Measurement:
    (i, distance), strength = pair.worst, pair.excess
    one, other = pair.one.id, pair.other.id
    first, last = int(pair.frames_N[i]), int(pair.frames_N[i + RUN - 1])
    return Measurement(
        strength=strength,
        frames=(first, last),
        objects=(one, other),
        quantity="place of the reflection less where the mirror shows it, diameters",
        value=distance,
        expected=0.0,
        sigma=pair.sigma,
        text=f"the reflection of thing {one} lies {distance:.2f} diameters off at frame {first}"
        if strength
        else f"thing {other} is the reflection of thing {one} throughout",
    )


RULE = Rule(
    name="mirror",
    group="optics",
    statement="A reflection does what its thing does, the other way round, at the same time.",
    measure=measure,
)
