"""From measurements to verdicts, and from verdicts to one number. Knows the card, and what a rule measured."""

import math
from collections.abc import Iterable

from vgen.judge.card import Card, Scale
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.verdict import Verdict

__all__ = ["UNCALIBRATED", "coverage_of", "plausibility_of", "verdict_of", "violation_of"]

UNCALIBRATED = "not calibrated: measured, but what the figure means was never tested"


def violation_of(strength: float, scale: Scale) -> float:
    """0 up to `scale.low`, .5 at `scale.threshold`, 1 from `scale.high` on, linear in between."""
    if strength < scale.threshold:
        return 0.5 * max(0.0, strength - scale.low) / (scale.threshold - scale.low)
    return 0.5 + 0.5 * min(1.0, (strength - scale.threshold) / (scale.high - scale.threshold))


def verdict_of(rule: Rule, measured: Measured, card: Card) -> Verdict:
    """What a rule's measurements mean by the card: the strongest of them decides."""
    scale = card.rules.get(rule.name)
    if isinstance(measured, Abstention):
        return Verdict(
            rule=rule.name,
            group=rule.group,
            status=measured.status,
            violation=None,
            reason=measured.reason,
            calibrated=scale is not None,
        )
    assert measured, f"{rule.name} measured nothing and did not abstain"
    odd = [m for m in measured if not (m.strength >= 0 and all(map(math.isfinite, _figures(m))))]
    assert not odd, f"{rule.name}: figures are finite and strengths at least 0, got {odd[0]}"
    evidence = tuple(sorted(measured, key=lambda m: (-m.strength, m.frames, m.objects)))
    if scale is None:
        return Verdict(
            rule=rule.name,
            group=rule.group,
            status="undecidable",
            violation=None,
            evidence=evidence,
            reason=UNCALIBRATED,
            calibrated=False,
        )
    violation = float(violation_of(evidence[0].strength, scale))  # strengths may be numpy's
    return Verdict(
        rule=rule.name,
        group=rule.group,
        status="violated" if violation >= 0.5 else "ok",
        violation=violation,
        evidence=evidence,
    )


def plausibility_of(verdicts: Iterable[Verdict]) -> float | None:
    """1 minus the noisy or of the decided violations; None where nothing was decided."""
    decided = [v.violation for v in verdicts if v.violation is not None]
    return math.prod(1 - violation for violation in decided) if decided else None


def coverage_of(verdicts: Iterable[Verdict]) -> float:
    """Decided rules over those that apply, calibrated ones alone; 0 where none applies."""
    apply = [v for v in verdicts if v.calibrated and v.status != "not_applicable"]
    return sum(v.violation is not None for v in apply) / len(apply) if apply else 0.0


def _figures(measurement: Measurement) -> tuple[float, ...]:
    return measurement.strength, measurement.value, measurement.expected, measurement.sigma
