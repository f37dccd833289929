"""Figures of rules whose behaviour is known: one that sees its law, one that draws lots, one that abstains."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from tests.judge.calibration.fakes import RULES, blind, fake_suite, sharp, table
from vgen.judge.calibration.attacks import audit
from vgen.judge.calibration.card import assess, make_card
from vgen.judge.calibration.figures import (
    against,
    cross_talk,
    curve_of,
    false_alarms,
    firing,
    hardest,
    null_floor,
    pairs_of,
    plausibility,
    rule_figures,
    violations,
)
from vgen.judge.calibration.fit import fit_rules
from vgen.judge.calibration.html import card_html
from vgen.judge.calibration.outcomes import STATES, Outcomes
from vgen.judge.card import Figure, Scale, load_card, write_card
from vgen.judge.scoring import violation_of

SHARP = {law: sharp(law) for law in RULES}
HALF = {"teleport": sharp("teleport"), "colour": blind}
SCALE = Scale(low=0.1, threshold=0.4, high=0.8)


def test_twins_are_pairs_of_one_scene_that_differ_in_the_law_alone() -> None:
    outcomes = table(fake_suite(4), SHARP)
    pairs = pairs_of(outcomes, "teleport")
    assert len(pairs.impossible) == 4 * 3
    for broken, kept in zip(pairs.impossible, pairs.possible, strict=True):
        assert outcomes.pieces[broken].possible_twin == outcomes.pieces[kept]
        assert outcomes.pieces[kept].law is None
    assert set(pairs_of(outcomes, "teleport", clear=True).severity) == {0.5, 1.0}


def test_violations_are_those_of_the_judge() -> None:
    outcomes = table(fake_suite(3), SHARP)
    violation_PR = violations(outcomes, {"colour": SCALE})
    colour, teleport = outcomes.column("colour"), outcomes.column("teleport")
    assert np.isnan(violation_PR[:, teleport]).all()
    for strength, violation in zip(outcomes.strength_PR[:, colour], violation_PR[:, colour], strict=True):
        assert violation == pytest.approx(violation_of(strength, SCALE))
    beyond = firing(outcomes, {"colour": SCALE})[:, colour]
    assert np.array_equal(np.minimum(beyond, 1), violation_PR[:, colour])
    assert beyond.max() > 1


def test_plausibility_is_one_minus_the_noisy_or_of_what_was_decided() -> None:
    said = plausibility(np.array([[0.5, 0.5, np.nan], [0, np.nan, 0], [np.nan, np.nan, np.nan], [1, 0.2, 0.3]]))
    assert said[:2] == pytest.approx([0.25, 1.0])
    assert np.isnan(said[2]) and said[3] == 0


def test_a_rule_that_sees_its_law_has_perfect_figures() -> None:
    outcomes = table(fake_suite(12), SHARP)
    figures = rule_figures(outcomes, "teleport", SCALE)
    values = {name: figure.value for name, figure in figures.items()}
    assert values == {"pairwise_accuracy": 1, "auc": 1, "deciding": 1, "iou": 0.5, "hit": 1, "found": 1,
                      "false_alarms": 0}  # fmt: skip
    assert figures["pairwise_accuracy"].count == 24
    assert figures["deciding"].count == 24 + 12
    curve = curve_of(outcomes, "teleport")
    assert curve is not None and curve.severities == (0.25, 0.5, 1.0)


def test_a_rule_that_draws_lots_stands_at_one_half() -> None:
    outcomes = table(fake_suite(150), HALF)
    for name in ("pairwise_accuracy", "auc"):
        figure = rule_figures(outcomes, "colour", None)[name]
        assert figure.interval is not None and figure.interval[0] < 0.5 < figure.interval[1]
    assert null_floor(outcomes).value == pytest.approx(0.5, abs=0.06)
    assert fit_rules(outcomes)["colour"].scale is None


def test_who_abstains_is_counted_and_never_right() -> None:
    half_closed = sharp("teleport")
    outcomes = table(
        fake_suite(20), {"teleport": lambda p, lots: None if p.seed % 2 else half_closed(p, lots), "colour": blind}
    )
    figures = rule_figures(outcomes, "teleport", SCALE)
    assert figures["deciding"].value == 0.5
    assert figures["pairwise_accuracy"].value == 1
    assert figures["pairwise_accuracy"].count == 20


def without_occasion(outcomes: Outcomes, rule: str, rows: Iterable[int]) -> Outcomes:
    """The same table, but this rule says of these clips that its law has no occasion there."""
    column, rows = outcomes.column(rule), list(rows)
    state_PR, strength_PR = outcomes.state_PR.copy(), outcomes.strength_PR.copy()
    state_PR[rows, column], strength_PR[rows, column] = STATES.index("not_applicable"), np.nan
    return replace(outcomes, state_PR=state_PR, strength_PR=strength_PR)


def test_what_has_no_occasion_holds_nothing_against_a_clip() -> None:
    outcomes = table(fake_suite(20), SHARP)
    pairs = pairs_of(outcomes, "teleport", clear=True)
    none_in_possible = without_occasion(outcomes, "teleport", pairs.possible)
    assert (against(none_in_possible, "teleport")[pairs.possible] == 0).all()
    figures = rule_figures(none_in_possible, "teleport", SCALE)
    assert figures["pairwise_accuracy"].value == figures["deciding"].value == 1
    assert figures["deciding"].count == len(pairs.impossible)  # the law does not apply to the others


def test_a_breach_without_an_occasion_is_lost_and_never_left_out() -> None:
    outcomes = table(fake_suite(20), SHARP)
    pairs = pairs_of(outcomes, "teleport", clear=True)
    blinded = without_occasion(outcomes, "teleport", pairs.impossible)
    figures = rule_figures(blinded, "teleport", SCALE)
    assert figures["pairwise_accuracy"].value == 0 and figures["pairwise_accuracy"].count == len(pairs.impossible)
    assert figures["deciding"].value == pytest.approx(20 / (20 + len(pairs.impossible)))
    nowhere = without_occasion(blinded, "teleport", pairs.possible)
    assert rule_figures(nowhere, "teleport", SCALE)["deciding"].value == 0
    assert rule_figures(nowhere, "teleport", SCALE)["pairwise_accuracy"].value is None


def test_false_alarms_count_decided_verdicts_on_possible_clips() -> None:
    always = table(fake_suite(5), {"teleport": lambda piece, lots: 1.0, "colour": sharp("colour")})
    assert false_alarms(always, {"teleport": SCALE}).value == 1
    assert false_alarms(always, {"teleport": SCALE, "colour": SCALE}).value == 0.5
    assert false_alarms(always, {"colour": SCALE}).count == 10  # edited clips are no evidence


def test_the_hardest_rule_is_shared_among_equals_and_absent_where_none_fires() -> None:
    scales = dict.fromkeys(RULES, SCALE)
    assert hardest(table(fake_suite(6), SHARP), scales)[0].value == 1
    equal = table(fake_suite(6), dict.fromkeys(RULES, lambda piece, lots: piece.severity))
    assert hardest(equal, scales)[0].value == 0.5
    silent = table(fake_suite(6), dict.fromkeys(RULES, lambda piece, lots: 0.0))
    assert hardest(silent, scales)[0].value == 0


def test_cross_talk_shines_on_the_diagonal_alone() -> None:
    laws, matrix = cross_talk(table(fake_suite(30), SHARP))
    assert laws == RULES
    for rule in RULES:
        for law in RULES:
            area = matrix[rule][law]
            assert area is not None
            assert area == 1 if rule == law else abs(area - 0.5) < 0.2


def test_the_audit_tells_edits_in_time_from_superficial_ones() -> None:
    told = audit(table(fake_suite(10), SHARP), dict.fromkeys(RULES, SCALE))
    assert told["reverse"]["lowered"].value == told["temporal"]["lowered"].value == 1
    assert told["border"]["moved"].value == 0
    assert told["reverse"]["change"].value == pytest.approx(-1)
    nothing_seen = audit(table(fake_suite(10), dict.fromkeys(RULES, lambda piece, lots: 0.0)), {"colour": SCALE})
    assert nothing_seen["temporal"]["lowered"].value == 0
    undecided = audit(table(fake_suite(10), dict.fromkeys(RULES, lambda piece, lots: None)), {"colour": SCALE})
    assert undecided["temporal"]["lowered"].value == 0  # what decides nothing lowers nothing
    assert undecided["border"]["moved"].value is None


def test_the_card_of_a_run_can_be_written_read_and_looked_at(tmp_path) -> None:  # type: ignore[no-untyped-def]
    calibration, test = table(fake_suite(40), HALF), table(fake_suite(30), HALF)
    fits = fit_rules(calibration)
    scales = {rule: fit.scale for rule, fit in fits.items() if fit.scale is not None}
    card = make_card(fits, assess(test, scales), suite={"size": "fake"}, versions={"vgen": "0"})
    write_card(card, tmp_path / "card.json")
    read = load_card(tmp_path / "card.json")
    assert read == card and read.digest == card.digest
    assert set(read.rules) == {"teleport"}
    assert read.rules["teleport"].figures["second.pairwise_accuracy"].count == 20
    assert read.figures["least_pairwise"] == read.rules["teleport"].figures["pairwise_accuracy"]
    assert read.figures["rules_meeting_bars"] == Figure(value=1.0, count=1)
    assert "colour" in read.details["uncalibrated"]
    page = card_html(read)
    assert "teleport" in page and "second world" in page and "<svg" in page
    assert "http" not in page
