"""Which clips a run consists of, and that splits share nothing."""

import pytest

from vgen.judge.calibration.suite import CLEAR, SIZES, Piece, Size, families_of, suite
from vgen.playground.twins.families import LAWS
from vgen.playground.twins.nuisance import NUISANCES
from vgen.playground.twins.suite import TEST_FROM_SEED

TINY = Size(scenes=2, second=1, h264=1, severities=(0.5,), again=1, edited=1)


def test_splits_share_neither_families_nor_seeds() -> None:
    calibration, test = (suite(split, TINY) for split in ("calibration", "test"))
    assert not {piece.family for piece in calibration} & {piece.family for piece in test}
    assert max(piece.seed for piece in calibration) < TEST_FROM_SEED <= min(piece.seed for piece in test)
    assert {piece.world for piece in calibration} == {"playground"}
    assert {piece.world for piece in test} == {"playground", "second"}


@pytest.mark.parametrize("split", ["calibration", "test"])
@pytest.mark.parametrize("name", SIZES)
def test_every_law_is_broken_plainly_in_every_split(split: str, name: str) -> None:
    pieces = suite(split, SIZES[name])  # type: ignore[arg-type]
    assert {piece.law for piece in pieces if piece.severity >= CLEAR} == set(LAWS)
    assert len(set(pieces)) == len(pieces)
    assert suite(split, SIZES[name]) == pieces  # type: ignore[arg-type]


def test_every_twin_has_its_possible_one_and_every_edit_its_original() -> None:
    pieces = set(suite("test", TINY))
    for piece in pieces:
        assert piece.possible_twin in pieces
        assert piece.unedited in pieces
        assert piece.null_twin is None or piece.null_twin in pieces
    assert any(piece.null_twin for piece in pieces)


def test_every_nuisance_occurs_and_half_of_the_scenes_are_clean() -> None:
    pieces = [piece for piece in suite("calibration", SIZES["full"]) if piece.law is None and not piece.attack]
    assert {piece.nuisance for piece in pieces} == set(NUISANCES)
    clean = sum(piece.nuisance == "none" for piece in pieces) / len(pieces)
    assert 0.4 < clean < 0.7


def test_films_that_look_possible_backwards_are_not_reversed() -> None:
    edited = {piece.family for piece in suite("calibration", TINY) if piece.attack == "reverse"}
    assert "drop" in edited and "pendulum" not in edited


def test_a_piece_names_its_relatives() -> None:
    piece = Piece(family="behind", seed=3, law="count", severity=0.5, swap="count", nuisance="noise")
    assert piece.possible_twin == Piece(family="behind", seed=3, swap="count", nuisance="noise")
    assert piece.possible_twin.null_twin == Piece(family="behind", seed=3, nuisance="noise")
    assert piece.null_twin is None and piece.possible_twin.scene == piece.scene
    assert set(families_of("calibration")["behind"]) >= {"count", "identity"}
