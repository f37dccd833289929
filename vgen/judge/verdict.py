"""What the judge says: a verdict per rule with its evidence, and the report over all rules.

"Could not judge" is a status here, never a number.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from vgen.judge.asked import Asked
from vgen.judge.rule import Group, Measurement

__all__ = ["STATUSES", "Report", "Status", "Verdict"]

Status = Literal["ok", "violated", "not_applicable", "undecidable", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule found.

    Args:
        rule, group: of the rule.
        status: `ok` and `violated` are decided.
        violation: 0..1 where decided, from .5 on `violated`; None else.
        evidence: the measurements behind it, the strongest first.
        reason: why there is no decision; empty where there is one.
        calibrated: False for a rule that the card has no figures for: it is never decided and counts for nothing.
    """

    rule: str
    group: Group
    status: Status
    violation: float | None
    evidence: tuple[Measurement, ...] = ()
    reason: str = ""
    calibrated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The judge's report on one clip.

    Args:
        clip: the clip's name.
        verdicts: one per rule asked for, in the order of `RULES`.
        plausibility: 1 minus the noisy or of the decided violations; None where nothing was decided.
        coverage: decided rules over those that apply (decided, undecidable or in error), calibrated ones alone; 0 where
            none applies.
        calibration: digest of the calibration card behind it.
        versions: of what measured.
        warnings: what a reader must know first (still clip, cut, lost camera).
        asked: what a model that sees said on laws that were left open; counts for nothing in the rest.
    """

    clip: str
    verdicts: tuple[Verdict, ...]
    plausibility: float | None
    coverage: float
    calibration: str
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
