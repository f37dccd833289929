"""A report in words, for a terminal and for headlines."""

from collections.abc import Sequence

from vgen.judge.asked import Asked, Outcome, by_outcome
from vgen.judge.card import Card, Figure
from vgen.judge.rule import GROUPS, Measurement, Rule
from vgen.judge.verdict import Report, Status

__all__ = ["OUTCOMES", "answers", "asked_lines", "counted", "headline", "listing", "share", "span", "summary", "table"]

NAMES: dict[Status, str] = {
    "violated": "violated",
    "ok": "kept",
    "undecidable": "undecidable",
    "not_applicable": "not applicable",
    "error": "failed",
}


OUTCOMES: dict[Outcome, str] = {
    "broken": "says broken",
    "kept": "says kept",
    "abstained": "cannot tell",
    "premise": "saw no case of",
    "error": "failed",
}


def headline(report: Report) -> str:
    """The outcome in one clause."""
    broken = sum(verdict.status == "violated" for verdict in report.verdicts)
    if report.plausibility is None:
        return "nothing could be decided"
    if not broken:
        return "no law found broken"
    return f"{broken} {'law' if broken == 1 else 'laws'} broken"


def counted(report: Report) -> dict[Status, int]:
    """How many verdicts of each status there are."""
    return {status: sum(verdict.status == status for verdict in report.verdicts) for status in NAMES}


def summary(report: Report) -> str:
    """One clip for a terminal: the outcome, each violation with its evidence, what was not decided, the warnings."""
    lines = [
        f"{report.clip}: {headline(report)}",
        f"plausibility {share(report.plausibility)}, coverage {_coverage(report)}; "
        + ", ".join(f"{count} {NAMES[status]}" for status, count in counted(report).items() if count),
    ]
    broken = sorted((v for v in report.verdicts if v.status == "violated"), key=lambda v: -(v.violation or 0))
    width = max((len(verdict.rule) for verdict in broken), default=0)
    for verdict in broken:
        strongest = verdict.evidence[0]
        lines.append(f"  {share(verdict.violation)}  {verdict.rule:{width}}  {span(strongest)}: {strongest.text}")
    lines += [f"undecidable: {reason} ({', '.join(names)})" for reason, names in _open(report).items()]
    lines += [f"warning: {warning}" for warning in report.warnings]
    return "\n".join([*lines, *asked_lines(report)])


def asked_lines(report: Report) -> list[str]:
    """What a model that sees said on laws that were left open; nothing where none was asked."""
    if not report.asked:
        return []
    first = report.asked[0]
    lines = [f"asked of {first.judge}#{first.prompts}, which counts for nothing above:"]
    for outcome, found in by_outcome(report.asked).items():
        if outcome == "error":
            reasons = dict.fromkeys(one.reason for one in found)
            lines += [f"  failed: {reason} ({_laws(found, reason)})" for reason in reasons]
        else:
            lines.append(f"  {OUTCOMES[outcome]}: {', '.join(one.law + answers(one) for one in found)}")
    return lines


def answers(asked: Asked) -> str:
    """` 2 of 3`, with the chance where it is told: how many votes are for what came out."""
    if not asked.votes:
        return ""
    chance = "" if asked.chance is None else f", chance of kept {asked.chance:.2f}"
    return f" ({asked.votes.count(asked.outcome)} of {len(asked.votes)}{chance})"


def table(reports: Sequence[Report]) -> str:
    """Several clips for a terminal, a line each."""
    width = max(4, *(len(report.clip) for report in reports))
    lines = [f"{'clip':{width}}  plausible  coverage  broken"]
    for report in reports:
        broken = sorted((v for v in report.verdicts if v.status == "violated"), key=lambda v: -(v.violation or 0))
        laws = ", ".join(f"{v.rule} {share(v.violation)}" for v in broken) or ("-" if report.plausibility else "?")
        lines.append(f"{report.clip:{width}}  {share(report.plausibility):>9}  {report.coverage:8.2f}  {laws}")
        lines += asked_lines(report)
    return "\n".join(lines)


def listing(rules: Sequence[Rule], card: Card) -> str:
    """The rules by group for a terminal: statement, and the calibrated figures of each."""
    width = max(len(rule.name) for rule in rules)
    figures = list(dict.fromkeys(name for scale in card.rules.values() for name in scale.figures))
    lines = []
    for group in GROUPS:
        lines += [f"{group}", *(f"  {rule.name:{width}}  {rule.statement}" for rule in rules if rule.group == group)]
        lines.append("")
    lines.append(
        f"calibration {card.digest[:12]}" + (", provisional: nothing has tested it" if card.provisional else "")
    )
    if figures:
        lines.append("  ".join([f"{'':{width}}", *figures]))
    for rule in rules:
        scale = card.rules.get(rule.name)
        if scale is None:
            lines.append(f"{rule.name:{width}}  uncalibrated: measured, counts for nothing")
        elif figures:
            cells = (f"{_figure(scale.figures.get(name)):>{len(name)}}" for name in figures)
            lines.append("  ".join([f"{rule.name:{width}}", *cells]))
    return "\n".join(lines)


def span(measurement: Measurement) -> str:
    """`frame 12` or `frames 12-20`."""
    first, last = measurement.frames
    return f"frame {first}" if first == last else f"frames {first}-{last}"


def share(value: float | None) -> str:
    """`0.25`, or a dash where there is no figure."""
    return "-" if value is None else f"{value:.2f}"


def _laws(asked: Sequence[Asked], reason: str) -> str:
    return ", ".join(one.law for one in asked if one.reason == reason)


def _coverage(report: Report) -> str:
    apply = [v for v in report.verdicts if v.calibrated and v.status != "not_applicable"]
    return f"{sum(v.violation is not None for v in apply)} of {len(apply)} rules that apply"


def _open(report: Report) -> dict[str, list[str]]:
    """Reasons why rules gave no decision where they might have, and which."""
    reasons: dict[str, list[str]] = {}
    for verdict in report.verdicts:
        if verdict.status in ("undecidable", "error"):
            reasons.setdefault(verdict.reason, []).append(verdict.rule)
    return reasons


def _figure(figure: Figure | None) -> str:
    return "-" if figure is None or figure.value is None else f"{figure.value:.3f}"
