"""What a rule is: one law, one measurement, and the right to abstain.

To add one: a file in `rules/` whose docstring gives formula, source and unit, its entry in `RULES`, scenes that break
it in `vgen.playground.twins`, and a new calibration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from vgen.judge.observation import Observation

__all__ = ["GROUPS", "Abstention", "Group", "Measured", "Measurement", "Rule"]

Group = Literal["causal", "mechanics", "permanence", "continuity", "materials", "optics"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One place where a law could be checked, kept or broken.

    Args:
        strength: how far the value lies off what the law allows, at least 0, unit-free, what noise explains taken
            off already; what the number means stands in the rule's docstring. The calibration turns it into a
            violation.
        frames: first and last frame that show it.
        objects: ids of the tracks it is about.
        quantity: what was measured, in words with its unit ("acceleration, diameters per s^2").
        value, expected: the measured figure and the nearest one that the law allows, in that unit.
        sigma: standard error of `value`, in that unit.
        text: one sentence for a person.
    """

    strength: float
    frames: tuple[int, int]
    objects: tuple[int, ...]
    quantity: str
    value: float
    expected: float
    sigma: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """Why a rule gives no figure.

    Args:
        status: `not_applicable` where the clip has no such situation, `undecidable` where it may have one that cannot
            be measured.
        reason: one clause for a person.
    """

    status: Literal["not_applicable", "undecidable"]
    reason: str


Measured = tuple[Measurement, ...] | Abstention  # a tuple is never empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A law that a clip can keep or break.

    Args:
        name: as `teleport`; unique.
        group: the room it belongs to.
        statement: the law in one plain sentence.
        measure: every place where it can be checked, the law kept or broken, or why there is none.
        motion: whether a clip in which hardly anything moves leaves it undecidable.
    """

    name: str
    group: Group
    statement: str
    measure: Callable[[Observation], Measured]
    motion: bool = True
