"""A tiny calibration of the real judge on real clips, two laws by two scenes."""

from pathlib import Path

import pytest

from vgen.judge.calibration.calibrate import measured, tuned
from vgen.judge.calibration.figures import curve_of, false_alarms, rule_figures
from vgen.judge.calibration.outcomes import Outcomes
from vgen.judge.calibration.perform import perform
from vgen.judge.calibration.run import run
from vgen.judge.calibration.suite import SIZES, Piece, Size, suite

TINY = Size(scenes=1, second=0, h264=0, severities=(1.0,), again=0, edited=0)
LAWS = ("teleport", "vanish")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    pieces = [piece for piece in suite("calibration", TINY, laws=LAWS) if piece.family in ("lob", "roll")]
    store: Path = tmp_path_factory.mktemp("run") / "tiny.jsonl"
    return Outcomes.gather((step.outcome for step in run(pieces, perform=perform, jobs=1, store=store)), pieces)


@pytest.mark.parametrize("law", LAWS)
def test_the_judge_tells_plain_violations_from_their_twins(outcomes: Outcomes, law: str) -> None:
    figures = rule_figures(outcomes, law, None)
    assert figures["pairwise_accuracy"].value == 1
    assert figures["pairwise_accuracy"].count == 2
    assert figures["deciding"].value == 1
    assert figures["hit"].value == 1
    assert curve_of(outcomes, law) is not None


def test_few_clips_are_no_calibration(outcomes: Outcomes) -> None:
    told = tuned(outcomes)
    assert not told["rules"]
    assert set(LAWS) <= set(told["uncalibrated"])
    assert false_alarms(outcomes, {}).count == 0


def test_a_piece_is_measured_the_same_each_time() -> None:
    piece = Piece(family="behind", seed=5, law="count", severity=0.5, swap="count")
    first, second = perform(piece), perform(piece)
    assert first.findings == second.findings


def test_a_split_is_measured_from_its_name() -> None:
    step = next(iter(measured("calibration", "quick", jobs=1, store=None, resume=False)))
    assert step.outcome.piece == suite("calibration", SIZES["quick"])[0]
