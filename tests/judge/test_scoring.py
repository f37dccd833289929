"""From measurements to verdicts: what a score always holds, and what never becomes a number."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judge.sights import measurement, rule
from vgen.errors import ConfigError, VgenError
from vgen.judge.card import CARD_PATH, Card, Figure, Scale, load_card, provisional_card, write_card
from vgen.judge.rule import Abstention, Measurement
from vgen.judge.scoring import UNCALIBRATED, coverage_of, plausibility_of, verdict_of, violation_of
from vgen.judge.verdict import Status, Verdict

SCALE = Scale(low=0.2, threshold=1.0, high=3.0)
CARD = Card(rules={"teleport": SCALE})
strengths = st.floats(0, 1e6)


@given(strengths, strengths)
def test_a_violation_is_a_share_and_grows_with_strength(one: float, other: float) -> None:
    less, more = sorted((violation_of(one, SCALE), violation_of(other, SCALE)))
    assert 0 <= less <= more <= 1
    assert (one <= other) == (violation_of(one, SCALE) <= violation_of(other, SCALE)) or less == more
    assert (violation_of(one, SCALE) >= 0.5) == (one >= SCALE.threshold)


def test_a_scale_is_met_where_it_says() -> None:
    found = [violation_of(strength, SCALE) for strength in (0, 0.2, 0.6, 1.0, 2.0, 3.0, 99)]
    assert found == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1])


def test_the_strongest_measurement_decides_and_comes_first() -> None:
    measured = (measurement(0.1), measurement(2.0, text="far"), measurement(0.6))
    verdict = verdict_of(rule("teleport", measured), measured, CARD)
    assert verdict.status == "violated" and verdict.violation == pytest.approx(0.75)
    assert [m.strength for m in verdict.evidence] == [2.0, 0.6, 0.1]
    kept = verdict_of(rule("teleport", measured[:1]), measured[:1], CARD)
    assert (kept.status, kept.violation) == ("ok", 0)


@pytest.mark.parametrize("status", ["not_applicable", "undecidable"])
def test_an_abstention_is_no_number(status: Status) -> None:
    assert status in ("not_applicable", "undecidable")
    verdict = verdict_of(rule("teleport", ()), Abstention(status=status, reason="too short"), CARD)
    assert (verdict.status, verdict.violation, verdict.reason) == (status, None, "too short")


def test_an_uncalibrated_rule_is_measured_and_never_decided() -> None:
    measured = (measurement(99.0),)
    verdict = verdict_of(rule("spin", measured), measured, CARD)
    assert (verdict.status, verdict.violation, verdict.calibrated) == ("undecidable", None, False)
    assert verdict.reason == UNCALIBRATED and verdict.evidence == measured
    assert coverage_of([verdict]) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        replace(measurement(1.0), strength=math.nan),
        replace(measurement(1.0), strength=-1.0),
        replace(measurement(1.0), value=math.nan),
        replace(measurement(1.0), expected=math.inf),
        replace(measurement(1.0), sigma=math.nan),
    ],
)
def test_a_figure_that_is_no_number_is_a_mistake_of_the_rule(wrong: Measurement) -> None:
    measured = (wrong,)
    with pytest.raises(AssertionError, match="teleport"):
        verdict_of(rule("teleport", measured), measured, CARD)


def decided(violation: float | None, status: Status, *, calibrated: bool = True) -> Verdict:
    return Verdict(rule="r", group="causal", status=status, violation=violation, calibrated=calibrated)


violations = st.lists(st.floats(0, 1), max_size=8)


@given(violations)
def test_plausibility_is_a_share_that_no_verdict_raises(found: list[float]) -> None:
    verdicts = [decided(violation, "ok" if violation < 0.5 else "violated") for violation in found]
    plausible = plausibility_of(verdicts)
    if not found:
        assert plausible is None
        return
    assert plausible is not None and 0 <= plausible <= 1 - max(found) + 1e-12
    assert plausibility_of(reversed(verdicts)) == pytest.approx(plausible)
    assert plausibility_of([*verdicts, decided(None, "undecidable")]) == plausible
    assert (plausibility_of([*verdicts, decided(0.3, "ok")]) or 0) <= plausible


def test_coverage_counts_what_applies_and_was_calibrated() -> None:
    verdicts = [
        decided(0.1, "ok"),
        decided(0.9, "violated"),
        decided(None, "undecidable"),
        decided(None, "error"),
        decided(None, "not_applicable"),
        decided(None, "undecidable", calibrated=False),
    ]
    assert coverage_of(verdicts) == 0.5
    assert coverage_of([decided(None, "not_applicable")]) == 0


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    figures = {"auc": Figure(value=0.98, interval=(0.95, 1.0), count=40), "deciding": Figure(value=None)}
    card = Card(
        rules={"teleport": replace(SCALE, figures=figures)},
        figures={"right_rule": Figure(value=0.9, count=3)},
        severity={"teleport": "a body jumps: 1 diameters"},
        details={"cross_talk": [[1.0, 0.5]]},
        versions={"vgen": "1"},
    )
    path = tmp_path / "card.json"
    write_card(card, path)
    assert load_card(path) == card and load_card(path).digest == card.digest
    assert card.digest != replace(card, provisional=True).digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rules": {}}, "digest"),
        ({"schema": "vgen judge card 0"}, "schema"),
        ({"more": 1}, "more"),
    ],
)
def test_a_card_that_was_changed_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps(CARD.as_dict() | change))
    with pytest.raises(ConfigError, match=message):
        load_card(path)


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b"\xff\xfe"])
def test_what_is_no_card_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(data)
    with pytest.raises(VgenError, match=r"card\.json"):
        load_card(path)
    with pytest.raises(VgenError, match="cannot read"):
        load_card(tmp_path / "none.json")


def test_a_provisional_card_says_so() -> None:
    card = provisional_card({"teleport": 0.5})
    assert card.provisional and card.rules["teleport"] == Scale(low=0.25, threshold=0.5, high=1.0)


def test_the_card_that_ships_loads() -> None:
    assert CARD_PATH.is_file() and load_card().rules
