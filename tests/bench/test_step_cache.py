"""The bench of step caches, on a tiny model; and the file of ratios that it writes."""

import json
from pathlib import Path

import pytest

from tests.folders import tiny_folder
from tests.runs import own_run
from vgen.bench import step_cache
from vgen.bench.step_cache import Asked, bench_step_cache, calibrate, write_ratios
from vgen.config import merge, read_config
from vgen.pipeline import VideoPipeline


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tiny_folder(tmp_path_factory.mktemp("bench") / "model", layout="wan2.1")
    return Asked(model=str(folder), device="cpu", prompt="a red ball rolls", steps=6)


def test_rows_hold_what_was_measured(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = (("first-block", {"threshold": 0.0}), ("mag", {"threshold": 10.0}), ("taylorseer", {"cache_interval": 2}))
    monkeypatch.setattr(step_cache, "CASES", cases)
    said: list[str] = []
    figures = bench_step_cache(asked, say=said.append, results=tmp_path / "found.json")
    none, mag, taylorseer = figures["rows"]
    assert none["skipped"] == 0 and none["psnr_db"] == 100
    # the first of six steps is kept, and the one after three that are skipped; of two blocks the last is in each
    assert mag["skipped"] == pytest.approx(4 / 6) and 0 < mag["psnr_db"] < 100
    assert taylorseer["skipped"] == pytest.approx(2 / 6)  # of the steps from the fourth on, every other one
    assert len(said) == 3 and json.loads((tmp_path / "found.json").read_text()) == figures


def test_ratios_are_a_config_that_runs(asked: Asked, tmp_path: Path) -> None:
    pipeline = VideoPipeline.from_pretrained(asked.model, device="cpu")
    ratios = calibrate(asked, pipeline)
    write_ratios(ratios, tmp_path / "mag.yaml")
    values = read_config(tmp_path / "mag.yaml")
    assert len(ratios) == 6 and ratios[0] == 1.0 and values["step_cache.mag_ratios"] == pytest.approx(ratios, abs=1e-5)
    asks = {"request.prompt": "a red ball rolls", "request.num_inference_steps": 6}
    assert own_run(pipeline.start(*merge(("file", values), ("test", asks)))).job.step_cache.name == "mag"


def test_both_transformers_are_measured_in_turn(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model", layout="t2v-a14b")
    two = Asked(model=str(folder), device="cpu", prompt="a red ball rolls", steps=6)
    ratios = calibrate(two, VideoPipeline.from_pretrained(folder, device="cpu"))
    assert len(ratios) == 6 and [i for i, ratio in enumerate(ratios) if ratio == 1.0] == [0, 2]
