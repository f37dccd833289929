"""`vgen evaluate` in two processes: each scores a part, the first tells the outcome, and it is that of one process."""

import contextlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.evaluate.brightness import brightness, grey
from tests.parallel.two import on_ranks
from vgen.cli import _run
from vgen.evaluate.benchmarks import BENCHMARKS
from vgen.evaluate.store import Row, Shard, Store

WORDS = ("evaluate", "brightness", "--videos", "videos")


def scored(folder: str, out: str, *more: str) -> dict[str, Tensor]:
    """Exit code, and what was printed."""
    os.chdir(folder)
    BENCHMARKS["brightness"] = brightness()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = _run([*WORDS, "-o", out, *more])
    text = printed.getvalue().encode()
    return {"code": torch.tensor(code), "out": torch.tensor(list(text), dtype=torch.uint8)}


def said(found: Mapping[str, Tensor]) -> str:
    return bytes(found["out"].tolist()).decode()


def rows_of(folder: Path) -> dict[str, Row]:
    """What was scored, but for the time that it took."""
    header = json.loads(next(folder.glob("scores*.jsonl")).read_text().splitlines()[0])
    header.pop("schema")
    rows = Store(folder, header, Shard()).rows()
    return {item: replace(row, seconds=0.0) for item, row in sorted(rows.items())}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "videos").mkdir()
    for number in range(5):
        grey(40 * (number + 1)).save(tmp_path / "videos" / f"{number}.mkv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BENCHMARKS, "brightness", brightness())
    return tmp_path


def test_two_processes_tell_what_one_tells(here: Path) -> None:
    alone = scored(str(here), "one")
    both = on_ranks(scored, str(here), "two")
    assert int(alone["code"]) == 1, "one of the six has no clip"
    assert [int(found["code"]) for found in both] == [1, 0]
    assert said(both[0]) == said(alone) and not said(both[1])
    assert rows_of(here / "two") == rows_of(here / "one")
    assert (here / "two" / "table.json").read_text() == (here / "one" / "table.json").read_text()
    files = sorted(path.name for path in (here / "two").glob("scores*"))
    assert files == ["scores-1-of-2.jsonl", "scores-2-of-2.jsonl"]


def test_what_one_process_has_scored_two_go_on_with(here: Path) -> None:
    scored(str(here), "out", "--limit", "3")
    grey(9).save(here / "videos" / "5.mkv")
    both = on_ranks(scored, str(here), "out", "--resume")
    assert [int(found["code"]) for found in both] == [0, 0]
    assert "6 of 6 items scored" in said(both[0])
    fresh = scored(str(here), "fresh")
    assert said(both[0]) == said(fresh)
