"""Five hundred mutants of everything that vgen reads: no traceback, no hang, no file left behind, one line each.

The same count over again, from other numbers on, is `slow`. A fault names its mutant: `python -m tests.trust.fuzz
KIND:NUMBER` repeats it.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutants import bytes_of, json_of, safetensors_of, text_of
from tests.trust.fuzz import KINDS, Kind, attack, fuzz, preparing, spread
from tests.trust.world import MODEL, make_world

COUNT = 500
MEMORY_MIB = 1500  # of the process: torch, the libraries and a tiny model take 550


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("first", range(0, COUNT, 100))
def test_no_mutant_of_five_hundred_does_more_than_be_taken_or_refused(world: Path, first: int) -> None:
    tally = fuzz(world, spread(100, first))
    assert tally.faults == []
    assert tally.inputs == 100 == tally.taken + tally.refused
    assert tally.refused > 40 and tally.taken > 5, "mutants must neither be hopeless nor harmless"
    assert tally.peak_mib < MEMORY_MIB


@pytest.mark.slow
def test_nor_does_one_of_five_thousand(world: Path) -> None:
    assert fuzz(world, spread(5000, 10_000)).faults == []


@pytest.mark.parametrize("name", KINDS)
def test_every_original_is_taken(world: Path, name: str) -> None:
    """Else its mutants would be refused for something else than what is wrong with them."""
    kind = KINDS[name]
    good = Kind(share=1, files=kind.files, mutate=lambda data, _: data, words=kind.words, whole=kind.whole)
    for number in range(len(kind.files)):
        with preparing(world / MODEL):
            code, fault = attack(world, good, number)
        assert (code, fault) == (0, None)


def test_the_shares_are_a_hundred_and_every_kind_comes(world: Path) -> None:
    assert sum(kind.share for kind in KINDS.values()) == 100
    assert Counter(name for name, _ in spread(COUNT)) == {name: 5 * kind.share for name, kind in KINDS.items()}


def test_mutants_are_the_same_each_time_and_differ_from_their_original() -> None:
    data = bytes(range(256)) * 8
    makers: tuple[Callable[[random.Random], bytes], ...] = (
        lambda rng: bytes_of(data, rng),
        lambda rng: json_of({"a": [1, {"b": "c"}], "d": None}, rng).encode("utf-8", "surrogatepass"),
        lambda rng: text_of("a: 1\nb: [2, 3]\n", rng),
        lambda rng: safetensors_of(b"\x02" + bytes(7) + b"{}", rng),
    )
    for make in makers:
        made = [make(random.Random(seed)) for seed in range(60)]  # noqa: S311 (wanted: the same each time)
        assert made == [make(random.Random(seed)) for seed in range(60)]  # noqa: S311
        assert len({*made}) > 30
