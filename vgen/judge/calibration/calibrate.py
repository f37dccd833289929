"""The whole calibration, from a size to a card; the command line and `vgen.bench.judge` are thin over this."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vgen.judge.calibration.card import assess, make_card, plain
from vgen.judge.calibration.digest import code_digest
from vgen.judge.calibration.fit import fit_rules
from vgen.judge.calibration.outcomes import Outcome, Outcomes
from vgen.judge.calibration.perform import perform
from vgen.judge.calibration.run import Step, run
from vgen.judge.calibration.suite import SIZES, families_of, suite
from vgen.judge.card import Card
from vgen.playground.twins.families import SPLITS, Split

__all__ = ["calibrated", "gathered", "measured", "tuned"]


def measured(split: Split, size: str, *, jobs: int, store: Path | None, resume: bool) -> Iterator[Step]:
    """Measures every rule on all clips of a split; arguments as `run`.

    Raises:
        InputError: the store cannot be written, or holds something else.
    """
    return run(suite(split, SIZES[size]), perform=perform, jobs=jobs, store=store, resume=resume)


def gathered(outcomes: Iterable[Outcome], split: Split, size: str) -> Outcomes:
    """The table of a split, in the order of its suite, whatever order it was measured in."""
    return Outcomes.gather(outcomes, suite(split, SIZES[size]))


def calibrated(calibration: Outcomes, test: Outcomes, *, size: str, stamp: Mapping[str, Any]) -> Card:
    """The card of a finished run.

    Args:
        calibration, test: the splits.
        size: of `SIZES`.
        stamp: commit and machine, and whatever else names the run; `versions` goes to the card's own.
    """
    fits = fit_rules(calibration)
    scales = {rule: fit.scale for rule, fit in fits.items() if fit.scale is not None}
    told = {
        "size": size,
        "code": code_digest(),
        "clips": {"calibration": len(calibration.pieces), "test": len(test.pieces)},
        "seeds": {"calibration": _seeds(calibration), "test": _seeds(test)},
        "families": {split: sorted(families_of(split)) for split in SPLITS},
        **{key: value for key, value in stamp.items() if key != "versions"},
    }
    return make_card(fits, assess(test, scales), suite=told, versions=stamp["versions"])


def tuned(calibration: Outcomes) -> dict[str, Any]:
    """What the calibration split says of the rules, as plain JSON; too good to report, since scales were fitted to it.

    Returns:
        `figures` of the judge, `rules` with scale and figures, `uncalibrated` with reasons and figures, `details`.
    """
    fits = fit_rules(calibration)
    scales = {rule: fit.scale for rule, fit in fits.items() if fit.scale is not None}
    found = assess(calibration, scales)
    rules = {
        rule: {"scale": [scale.low, scale.threshold, scale.high], "figures": plain(found.rules.get(rule, {}))}
        for rule, scale in scales.items()
    }
    return {
        "figures": plain(found.figures),
        "rules": rules,
        "uncalibrated": {
            rule: {"reason": fit.problem, "figures": plain(found.rules.get(rule, {}))}
            for rule, fit in fits.items()
            if fit.scale is None
        },
        "details": found.details,
    }


def _seeds(outcomes: Outcomes) -> list[int]:
    seeds = [piece.seed for piece in outcomes.pieces]
    return [min(seeds), max(seeds)] if seeds else []
