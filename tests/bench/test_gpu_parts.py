"""The script behind `make gpu`, with parts that stand in for those that need a GPU."""

import json
import time
from pathlib import Path

import pytest

from vgen.bench import gpu
from vgen.bench.gpu import PARTS, Part, run_parts

STAMP = {"commit": "abc", "machine": {"device": "stand-in"}, "versions": {"torch": "0"}}


def python(script: str, **options: object) -> Part:
    return Part(command=("python", "-c", script), **options)  # type: ignore[arg-type]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parts that pass, fail, and outlast their limit with a child of theirs; returns the folder of results."""
    child = tmp_path / "child"
    busy = f"import time; time.sleep(1.5); open({str(child)!r}, 'w').close()"
    stand_ins = {
        "good": python("print('figures')", file="good.json"),
        "bad": python("raise SystemExit(3)"),
        "long": python(
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])", limit_s=0.5, file="long.json"
        ),
        "last": python("pass"),
    }
    monkeypatch.setattr(gpu, "PARTS", stand_ins)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(gpu, "_stamp", lambda: STAMP)
    return tmp_path


def test_no_part_is_fatal_to_the_next_and_each_leaves_what_became_of_it(parts: Path) -> None:
    done = run_parts(gpu.PARTS)
    told = ["passed", "exit code 3", "over its limit of 0.5 s", "passed"]
    assert [ran.result for ran in done] == told
    kept = json.loads((parts / "results" / "gpu.json").read_text())
    assert [kept[name]["result"] for name in gpu.PARTS] == told
    assert all(STAMP.items() <= row.items() for row in kept.values())
    assert kept["good"]["file"] == "good.json" and kept["long"]["seconds"] >= 0.5


def test_a_part_over_its_limit_leaves_no_process_behind(parts: Path) -> None:
    run_parts(["long"])
    time.sleep(2)
    assert not (parts / "child").exists()


def test_parts_run_one_at_a_time_and_keep_what_others_left(parts: Path) -> None:
    run_parts(["good"])
    run_parts(["bad"])
    assert {*json.loads((parts / "results" / "gpu.json").read_text())} == {"good", "bad"}


@pytest.mark.parametrize(("only", "code"), [("good,last", 0), ("good,bad", 1), ("goood", 2)])
def test_the_command_line(parts: Path, capsys: pytest.CaptureFixture[str], only: str, code: int) -> None:
    assert gpu.main(["--only", only]) == code
    printed = capsys.readouterr()
    if code == 2:
        assert "unknown part 'goood'; did you mean 'good'?" in printed.err and not (parts / "results").exists()
    else:
        assert ("exit code 3" in printed.out) == (code == 1) and "good.json" in printed.out


def test_parts_are_listed_anywhere_and_run_nowhere_without_cuda(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(PARTS)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "need a CUDA device" in capsys.readouterr().err


def test_every_part_ends_within_ten_minutes_and_calls_what_there_is() -> None:
    from typer.main import get_command

    from vgen.bench.generate import PARTS as OF_GENERATE
    from vgen.bench.generate_models import MODELS
    from vgen.cli.bench import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, part in PARTS.items():
        assert part.limit_s <= 600 and part.command[0] in ("python", "vgen"), name
        if part.command[0] == "vgen":
            assert part.command[1] == "bench", name
            context = commands[part.command[2]].make_context("bench", list(part.command[3:]))
            said = context.params
            if part.command[2] == "generate":
                assert said["models"] in MODELS and {*said["parts"].split(",")} <= {*OF_GENERATE}, name
        elif part.command[1:3] != ("-m", "pytest"):
            module = Path(gpu.__file__).parents[2] / (part.command[2].replace(".", "/") + ".py")
            assert module.exists(), name
