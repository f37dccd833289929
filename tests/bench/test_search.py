"""The comparison of searches: figures worked out by hand, and a run that is cut off and gone on with."""

import json
from pathlib import Path
from typing import Any

import pytest

import vgen.bench.search as search
from vgen.bench.search import Asked, bench_search, figures
from vgen.errors import InputError

ASKED = Asked(count=2, candidates=3, redo=2)


def row(select: float, report: float | None, detector: bool, steps: int = 10) -> dict[str, Any]:
    return {"select": select, "passed": True, "faults": 0, "report": report, "detector": detector, "steps": steps}


ROWS = {
    "0/0/0": row(0.1, 0.0, False), "0/1/0": row(0.9, 1.0, True), "0/2/0": row(0.5, 0.5, False),
    "0/0/2": row(0.8, 0.8, True, steps=15),
    "1/1000/0": row(0.4, None, True), "1/1001/0": row(0.2, 0.2, False), "1/1002/0": row(0.3, 0.4, False),
    "1/1000/2": row(0.4, None, True, steps=10),
}  # fmt: skip


def test_the_figures_are_those_worked_out_by_hand() -> None:
    found = figures(ROWS, ASKED)
    # prompt 0: 0, 1, .25, redone .9; prompt 1: 1 (detector alone), .1, .2, redone 1
    assert found["figure"]["first"]["value"] == pytest.approx((0 + 1) / 2)
    assert found["figure"]["random"]["value"] == pytest.approx((1.25 / 3 + 1.3 / 3) / 2)
    assert found["figure"]["best"]["value"] == pytest.approx((1 + 1) / 2)
    assert found["figure"]["redo"]["value"] == pytest.approx((0.9 + 1) / 2)
    assert found["gain"]["best_over_first"]["value"] == pytest.approx(0.5)
    assert found["gain"]["redo_over_best"]["value"] == pytest.approx(-0.05)
    assert found["steps"] == {"best": 30.0, "redo": 12.5, "redo_over_best": pytest.approx(12.5 / 30)}
    assert (found["laws"]["first"]["value"], found["laws"]["first"]["count"]) == (0.0, 1)
    assert found["detector"]["best"]["value"] == 1.0
    assert found["circular"]["best"]["value"] == pytest.approx(0.65)


def test_the_candidate_that_chooses_itself_is_the_one_of_the_largest_select() -> None:
    flipped = {key: value | {"select": 1 - value["select"]} for key, value in ROWS.items()}
    assert figures(flipped, ASKED)["figure"]["best"]["value"] == pytest.approx((0 + 0.1) / 2)


def test_a_run_that_was_cut_off_makes_only_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def fake(clip: search._Clip, asked: Asked) -> dict[str, Any]:
        made.append(clip.key)
        return ROWS[clip.key]

    monkeypatch.setattr(search, "_row", fake)
    store = tmp_path / "search.jsonl"
    whole = bench_search(ASKED, store=store, say=lambda line: None)
    assert sorted(made) == sorted(ROWS)
    lines = store.read_text().splitlines()
    store.write_text("\n".join([*lines[:4], lines[4][:20]]))
    made.clear()
    assert bench_search(ASKED, store=store, say=lambda line: None)["gain"] == whole["gain"]
    assert sorted(made) == sorted({*ROWS} - {json.loads(line)["key"] for line in lines[1:4]})
    with pytest.raises(InputError, match="another run"):
        bench_search(Asked(count=2, candidates=3, redo=1), store=store, say=lambda line: None)
