"""Tests of the comparison of executors with dense attention."""

import json

import pytest
import torch

from vgen.bench import attention, attention_cuda
from vgen.bench.attention import CASES, Case, bench_attention

SMALL = tuple(
    Case(frames=1, heads=2, dtype=torch.float32, layout=layout, density=0.25)
    for layout in ("random", "heads", "banded")
)


def test_rows_say_what_was_compared() -> None:
    found = bench_attention(SMALL, executors=("gather", "varlen"), repeat=1)
    assert json.loads(json.dumps(found)) == found
    assert [(row["layout"], row["executor"]) for row in found["rows"]] == [
        (case.layout, executor) for case in SMALL for executor in ("gather", "varlen")
    ]
    for row in found["rows"]:
        assert row["density"] == 0.25 and row["tokens"] == 1024
        assert row["ratio"] == pytest.approx(row["dense_s"] / row["seconds"])  # of the one pair
        assert row["efficiency"] == pytest.approx(row["ratio"] / 4)
        assert row["seconds"] > 0 and row["peak_mib"] >= 0 and row["compile_s"] == 0
    chosen = [row["ratio"] for row in found["rows"] if row["auto"]]
    assert len(chosen) == len(SMALL)
    assert found["auto"] == {"float32": {"at_25": min(chosen), "at_all": min(chosen)}}
    assert 0 < found["planning"]["later_share"] < 1


@pytest.mark.parametrize("layout", ["random", "heads", "banded"])
@pytest.mark.parametrize("density", [0.05, 0.25, 0.9, 1.0])
def test_maps_have_the_density_asked_for(layout: str, density: float) -> None:
    blocks = Case(frames=8, heads=3, dtype=torch.float32, layout=layout, density=density).blocks()
    assert blocks.density() == pytest.approx(density, abs=0.5 / 64)
    assert blocks.state_BNUV.shape == (1, 3 if layout == "heads" else 1, 64, 64)


def test_the_cases_are_those_of_the_bars() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        for density in (0.10, 0.25):
            layouts = {
                (case.layout, case.frames * 1024) for case in CASES if (case.dtype, case.density) == (dtype, density)
            }
            assert {("random", 8192), ("banded", 8192), ("random", 16384), ("banded", 16384)} <= layouts


def test_the_command_prints_json_or_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = bench_attention(SMALL[:1], executors=("gather",), repeat=1)
    monkeypatch.setattr(attention, "bench_attention", lambda *_, **__: rows)
    assert attention.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == rows["rows"]
    assert attention.main(["--quick"]) == 0
    assert "gather" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_without_a_gpu_its_comparison_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert attention_cuda.main([]) == 2
    assert "CUDA" in capsys.readouterr().err
