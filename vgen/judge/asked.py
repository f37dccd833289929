"""What a model that sees was asked about laws that measurement left open, and what it said.

It stands apart from the verdicts: no plausibility, no coverage and no exit code knows of it. Who is asked, and how, is
the affair of `vgen.evaluate.vlm.laws`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["OUTCOMES", "Asked", "Outcome", "by_outcome"]

Outcome = Literal["broken", "kept", "abstained", "premise", "error"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The answer on one law.

    Args:
        law: name of the rule.
        outcome: of more than half of the votes; `abstained` where there is no such majority, `premise` where the model
            saw no case of the law, `error` where no answer came.
        votes: outcome of each; empty where the law itself was not asked.
        chance: probability of `kept` over that of `kept` or `broken`, mean over the votes; None where the model does
            not tell.
        reason: why the law was not asked, or what failed; empty else.
        judge, prompts: the model, and a hash of all that is said to it.
    """

    law: str
    outcome: Outcome
    votes: tuple[Outcome, ...] = ()
    chance: float | None = None
    reason: str = ""
    judge: str
    prompts: str


def by_outcome(asked: Iterable[Asked]) -> dict[Outcome, list[Asked]]:
    """Those of each outcome that there is, what is broken first."""
    answers = list(asked)
    rows = {outcome: [one for one in answers if one.outcome == outcome] for outcome in OUTCOMES}
    return {outcome: found for outcome, found in rows.items() if found}
