"""`vgen plan`, and what `vgen generate` says and refuses before weights are loaded."""

import json
from pathlib import Path

import pytest
import torch

from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.plan import machines

PROMPT = "a red ball"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="playground"))


def run(*argv: str) -> int:
    return _run(list(argv))


def test_a_plan_loads_no_weights_and_names_what_its_seconds_go_by(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgen.pipeline.load_model", None)
    argv = ("plan", PROMPT, "--model", model, "--sampler", "causal", "--machine", "h200")
    assert run(*argv, "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["tokens_per_frame"] == 6 and row["flops"]["forwards"] == 3 * (4 + 1) and row["flops"]["commits"] == 3
    assert row["memory_mib"]["more"] > 0 and row["kv_cache_mib"] > 0
    assert set(row["seconds"]) == {"text", "denoise", "decode", "write"}
    assert "assumed" in row["profile"]["basis"]
    assert run(*argv) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("tokens", "passes", "work", "memory", "host", "disk", "h200", "assumed"))


def test_a_machine_is_measured_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    argv = ("plan", PROMPT, "--model", model, "--device", "cpu")
    assert run(*argv) == 0
    assert "no profile of this machine" in capsys.readouterr().out
    measured = machines.measure(torch.device("cpu"), torch.float32)
    assert machines.kept_profile(torch.device("cpu"), torch.float32) == measured
    assert run(*argv) == 0
    assert "measured on this machine" in capsys.readouterr().out
    (kept,) = (tmp_path / "vgen" / "machines").iterdir()
    kept.write_text("[]")
    assert run(*argv) == 2
    assert "no machine profile" in capsys.readouterr().err


def test_what_cannot_fit_is_refused_before_weights_are_loaded_with_what_would(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgen.pipeline.load_model", None)
    monkeypatch.setattr("vgen.spread.free_mib", lambda _: 400.0)
    assert run("generate", PROMPT, "--model", model, "--device", "cpu", "--size", "512x512") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "would take about" in told and "would fit: " in told and "--size " in told


def test_a_plan_for_another_machine_goes_by_its_memory_and_dtype(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgen.spread.free_mib", None)  # of this machine nothing is asked
    argv = ("plan", PROMPT, "--model", model, "--size", "2048x2048", "--format", "json")
    assert run(*argv, "--machine", "h200") == 0
    (fits,) = json.loads(capsys.readouterr().out)
    assert fits["free_mib"] == 143771 and fits["host_limit_mib"] is None and fits["lacking"] is None
    assert "bfloat16" in fits["profile"]["basis"]


def test_a_plan_that_does_not_fit_is_shown_and_ends_with_1(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgen.spread.free_mib", lambda _: 400.0)
    argv = ("plan", PROMPT, "--model", model, "--device", "cpu", "--size", "512x512")
    assert run(*argv) == 1
    shown = capsys.readouterr()
    assert "512x512" in shown.out and "memory" in shown.out
    assert shown.err.startswith("does not fit: ") and "would fit: " in shown.err and shown.err.count("\n") == 1
    assert run(*argv, "--format", "json") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert row["memory_mib"]["more"] > row["free_mib"] == 400.0 and "would fit: " in row["lacking"]


def test_a_clip_is_not_made_on_another_machine(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("generate", PROMPT, "--model", model, "--machine", "h200") == 2
    assert "vgen plan --machine h200" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("--machine", "h20"), "did you mean 'h200'"),
        (("--machine", "h200", "--device", "cpu"), "is a CUDA device"),
        (("--resume", "x.run"), "is planned already"),
    ],
)
def test_bad_requests_get_one_line(
    model: str, argv: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = () if "--resume" in argv else (PROMPT,)
    assert run("plan", *words, "--model", model, *argv) == 2
    told = capsys.readouterr().err
    assert word in told and "Traceback" not in told
