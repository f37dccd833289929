"""Puts the card together: scales from the calibration split, figures from the test split, and what a reader needs.

`assess` alone is what `vgen.bench.judge` measures against the bars, with the card that ships.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vgen.judge.calibration.attacks import audit
from vgen.judge.calibration.figures import (
    cross_talk,
    curve_of,
    false_alarms,
    hardest,
    null_floor,
    rule_figures,
    undecidable,
)
from vgen.judge.calibration.fit import Fit
from vgen.judge.calibration.metrics import Curve
from vgen.judge.calibration.outcomes import Flags, Outcomes
from vgen.judge.calibration.suite import PARTS
from vgen.judge.card import Card, Figure, Scale
from vgen.playground.twins.severity import SEVERITY

__all__ = ["BARS", "Assessment", "assess", "make_card", "severity_table"]

DIGITS = 4

# figure of a rule -> least it should be; what `rules_meeting_bars` counts
BARS: Mapping[str, float] = {"pairwise_accuracy": 0.95, "deciding": 0.8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """How well scales do on a split they were not fitted to.

    Args:
        figures: of the judge as a whole.
        rules: figures by rule, those of a part of the split under `<part>.<figure>`.
        details: by part, cross-talk, curves, edits, as plain JSON.
    """

    figures: dict[str, Figure]
    rules: dict[str, dict[str, Figure]]
    details: dict[str, Any]


def assess(outcomes: Outcomes, scales: Mapping[str, Scale]) -> Assessment:
    """All figures of a split.

    Returns:
        figures:
            least_pairwise, least_deciding: of the rule that does worst, with its interval.
            rules_measured, rules_meeting_bars: how many have a scale, and do what `BARS` asks.
            false_alarms, undecidable, null_floor: see `figures.py`.
            hardest: at clear severity; hardest_any at any.
            temporal: share of clips whose plausibility temporal edits lower.
            superficial: median of how far superficial edits move it.
            seconds: of the processor, for perceiving and measuring a clip, in the median.
    """
    parts = {name: _part(outcomes, name) for name in PARTS}
    by_part = {name: _judge_figures(table, scales) for name, table in parts.items() if table.pieces}
    rules = {rule: rule_figures(outcomes, rule, scales.get(rule)) for rule in _tested(outcomes)}
    for rule, figure in hardest(outcomes, scales)[1].items():
        rules[rule]["hardest"] = figure
    least = {
        "least_pairwise": _least(rules, scales, "pairwise_accuracy"),
        "least_deciding": _least(rules, scales, "deciding"),
    }
    edits = audit(outcomes, scales)
    figures = {
        **{name: figure for name, (_, figure) in least.items()},
        "rules_measured": Figure(value=float(len(scales)), count=len(outcomes.rules)),
        "rules_meeting_bars": Figure(value=float(len(meeting(rules, scales))), count=len(scales)),
        **_judge_figures(outcomes, scales),
        "null_floor": null_floor(outcomes),
        "hardest_any": hardest(outcomes, scales, least=0.0)[0],
        "temporal": edits.get("temporal", {}).get("lowered", Figure(value=None)),
        "superficial": edits.get("superficial", {}).get("moved", Figure(value=None)),
        "seconds": Figure(value=float(np.median(outcomes.seconds_P)), count=len(outcomes.pieces)),
    }
    for name, table in parts.items():
        for rule in rules:
            own = rule_figures(table, rule, scales.get(rule)) if table.pieces else {}
            rules[rule] |= {f"{name}.{key}": figure for key, figure in own.items() if figure.count}
    laws, matrix = cross_talk(outcomes)
    curves = {rule: curve_of(outcomes, rule) for rule in rules}
    details: dict[str, Any] = {
        "least": {name: rule for name, (rule, _) in least.items()},
        "meeting_bars": meeting(rules, scales),
        "parts": {name: plain(part) for name, part in by_part.items()},
        "cross_talk": {
            "laws": list(laws),
            "auc": {rule: {law: _rounded(area) for law, area in row.items()} for rule, row in matrix.items()},
        },
        "curves": {rule: _curve(curve) for rule, curve in curves.items() if curve is not None},
        "edits": {name: plain(told) for name, told in edits.items()},
    }
    return Assessment(figures=figures, rules=rules, details=details)


def make_card(
    fits: Mapping[str, Fit], assessment: Assessment, *, suite: Mapping[str, Any], versions: Mapping[str, str]
) -> Card:
    """The card of a finished run.

    Args:
        fits: of the calibration split.
        assessment: of the test split with the scales of these fits.
        suite: what was run, as plain JSON: splits, seeds, machine, code.
        versions: of what measured.
    """
    scales = {rule: fit.scale for rule, fit in fits.items() if fit.scale is not None}
    rules = {
        rule: Scale(
            low=scale.low,
            threshold=scale.threshold,
            high=scale.high,
            figures=_all_rounded(assessment.rules.get(rule, {})),
        )
        for rule, scale in scales.items()
    }
    uncalibrated = {
        rule: {"reason": fit.problem, "figures": plain(assessment.rules.get(rule, {}))}
        for rule, fit in fits.items()
        if fit.scale is None
    }
    return Card(
        rules=rules,
        figures=_all_rounded(assessment.figures),
        severity=severity_table(),
        details={**assessment.details, "uncalibrated": uncalibrated, "suite": dict(suite)},
        versions=dict(versions),
    )


def meeting(rules: Mapping[str, Mapping[str, Figure]], scales: Mapping[str, Scale]) -> list[str]:
    """Rules with a scale that reach all of `BARS`."""
    return [rule for rule in rules if rule in scales and all(_reaches(rules[rule], *bar) for bar in BARS.items())]


def severity_table() -> dict[str, str]:
    """What severity .5 of breaking each law is, in words."""
    return {law: f"{s.breach}: {s.at_half:g} {s.unit}" for law, s in SEVERITY.items()}


def plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures as plain JSON."""
    return {
        name: {"value": f.value, "interval": list(f.interval) if f.interval else None, "count": f.count}
        for name, f in _all_rounded(figures).items()
    }


def _judge_figures(outcomes: Outcomes, scales: Mapping[str, Scale]) -> dict[str, Figure]:
    """What is said of the judge as a whole on any part of a split."""
    return {
        "false_alarms": false_alarms(outcomes, scales),
        "hardest": hardest(outcomes, scales)[0],
        "undecidable": undecidable(outcomes, scales),
    }


def _part(outcomes: Outcomes, name: str) -> Outcomes:
    return outcomes.only(_flags(PARTS[name](piece) for piece in outcomes.pieces))


def _flags(answers: Iterable[bool]) -> Flags:
    return np.array(list(answers), dtype=bool)


def _tested(outcomes: Outcomes) -> list[str]:
    """Rules whose law is broken somewhere in the split."""
    laws = {piece.law for piece in outcomes.pieces}
    return [rule for rule in outcomes.rules if rule in laws]


def _least(
    rules: Mapping[str, Mapping[str, Figure]], scales: Mapping[str, Scale], name: str
) -> tuple[str | None, Figure]:
    """The rule that does worst, and how; a rule with a scale that was never tested does worse than any."""
    told = {rule: rules.get(rule, {}).get(name, Figure(value=None)) for rule in scales}
    if not told:
        return None, Figure(value=None)
    rule = min(told, key=lambda rule: -1.0 if told[rule].value is None else told[rule].value or 0.0)
    return rule, told[rule]


def _reaches(figures: Mapping[str, Figure], name: str, least: float) -> bool:
    value = figures[name].value
    return value is not None and value >= least


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "severity": list(curve.severities),
        "share": [_rounded(figure.value) for figure in curve.shares],
        "interval": [[_rounded(end) for end in figure.interval or 2 * (figure.value,)] for figure in curve.shares],
        "count": [figure.count for figure in curve.shares],
        "point_75": _rounded(curve.point_75),
    }


def _all_rounded(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Figures with as many digits as anybody believes."""
    return {
        name: Figure(
            value=_rounded(figure.value),
            interval=(round(figure.interval[0], DIGITS), round(figure.interval[1], DIGITS))
            if figure.interval
            else None,
            count=figure.count,
        )
        for name, figure in figures.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
