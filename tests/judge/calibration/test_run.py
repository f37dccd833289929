"""The driver: any number of processes and any interruption give the same table."""

from itertools import islice
from pathlib import Path

import pytest

from tests.judge.calibration.fakes import RULES, fake_outcome, fake_suite, sharp
from vgen.errors import InputError
from vgen.judge.calibration.digest import code_digest
from vgen.judge.calibration.outcomes import Outcome, Outcomes
from vgen.judge.calibration.run import run
from vgen.judge.calibration.suite import Piece

PIECES = fake_suite(3)
SHARP = {law: sharp(law) for law in RULES}


def fake(piece: Piece) -> Outcome:
    return fake_outcome(piece, SHARP)


def refuse(piece: Piece) -> Outcome:
    raise ArithmeticError(f"measured again: {piece}")


def test_outcomes_survive_the_store() -> None:
    for piece in PIECES:
        outcome = fake(piece)
        assert Outcome.of_line(outcome.line()) == outcome
    with pytest.raises(ValueError, match="not a line"):
        Outcome.of_line('{"piece": {}}')


def test_a_run_goes_on_from_where_it_stopped(tmp_path: Path) -> None:
    store = tmp_path / "new" / "run.jsonl"
    list(islice(run(PIECES, perform=fake, jobs=1, store=store), 5))
    with store.open("a") as file:
        file.write('{"piece": {"fam')  # killed while writing
    steps = list(run(PIECES, perform=fake, jobs=1, store=store, resume=True))
    assert [step.stage for step in steps].count("kept") == 5
    assert steps[-1].done == steps[-1].total == len(PIECES) - 5
    assert {step.outcome.piece: step.outcome for step in steps} == {piece: fake(piece) for piece in PIECES}
    again = list(run(PIECES, perform=refuse, jobs=1, store=store, resume=True))
    assert len(again) == len(PIECES)


def test_without_resume_a_run_begins_anew(tmp_path: Path) -> None:
    store = tmp_path / "run.jsonl"
    list(run(PIECES, perform=fake, jobs=1, store=store))
    assert [step.stage for step in run(PIECES[:2], perform=fake, jobs=1, store=store)] == ["measure"] * 2
    assert len(store.read_text().splitlines()) == 3


@pytest.mark.parametrize("written", ["", "hello\n", '{"schema": "vgen calibration run 1", "code": "other"}\n'])
def test_what_was_measured_otherwise_is_refused(tmp_path: Path, written: str) -> None:
    store = tmp_path / "run.jsonl"
    store.write_text(written)
    with pytest.raises(InputError, match="--resume"):
        list(run(PIECES, perform=fake, jobs=1, store=store, resume=True))
    assert store.read_text() == written


def test_an_error_names_its_piece() -> None:
    with pytest.raises(ArithmeticError) as caught:
        list(run(PIECES[:1], perform=refuse, jobs=1))
    assert "family='roll'" in caught.value.__notes__[0]


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    alone, two = (
        Outcomes.gather((step.outcome for step in run(PIECES, perform=fake, jobs=jobs)), PIECES) for jobs in (1, 2)
    )
    assert alone.pieces == two.pieces == tuple(PIECES)
    assert (alone.strength_PR == two.strength_PR).all()


def test_the_digest_of_the_code_is_one() -> None:
    assert len(code_digest()) == 64
