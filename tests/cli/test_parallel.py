"""`vgen generate` over several processes: both ways to start them, one voice, one record, and how they end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.records import read_record

ROOT = Path(__file__).parents[2]
PROMPT = "a red ball rolls"
VGEN = [sys.executable, "-m", "vgen"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vgen"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def done(command: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, "generate", *words], env=environment(), capture_output=True, text=True, timeout=240
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def made(folder: Path, clip: str) -> dict[str, Any]:
    return read_record((folder / clip).with_suffix(".json"))


def test_clips_are_shared_out_and_named_and_told_as_by_one_process(here: Path, model: str, capsys: Captured) -> None:
    """Three clips, two of them by the first process; `$$` in a prompt stays what it is."""
    words = [f"{PROMPT} $$x", "--model", model, "--num-videos", "3", "--num-frames", "5", "--seed", "7", "-o"]
    both = done(VGEN, *words, "both.mkv", "--nproc", "2")
    assert (both.returncode, both.stdout.split()) == (0, ["both-1.mkv", "both-2.mkv", "both-3.mkv"]), both.stderr
    assert both.stderr.count("2 x cpu (dp 2): 3 clips of 5 frames") == 1
    assert _run(["generate", *words, "one.mkv"]) == 0
    for number in (1, 2, 3):
        one, two = made(here, f"one-{number}.mkv"), made(here, f"both-{number}.mkv")
        assert (one["frames"], one["seed"], one["prompts"]) == (two["frames"], two["seed"], two["prompts"])
        assert (one["parallel"], two["parallel"]["dp"], two["resolved"]["run.device"]) == (None, 2, "cpu")
        assert two["request"]["request.prompt"] == f"{PROMPT} $$x"
    kept = {f"{name}-{n}.{kind}" for name in ("one", "both") for n in (1, 2, 3) for kind in ("mkv", "json")}
    assert set(names(here)) == kept


def test_torchrun_works_the_same_and_one_process_replays_it(here: Path, model: str, capsys: Captured) -> None:
    words = [PROMPT, "--model", model, "--num-frames", "9", "--sampler", "causal", "-o", "two.mkv"]
    both = done(TORCHRUN, *words, "--parallel", "ulysses=2", "--format", "json")
    assert both.returncode == 0, both.stderr
    told = json.loads(both.stdout)
    assert told["parallel"] == {"processes": 2, "dp": 1, "cfg": 1, "clips": 1, "ulysses": 2, "fsdp": False}
    assert told == made(here, "two.mkv") | {"files": told["files"]}
    assert "request.seed" not in told["explicit"], "drawn, and the same for both, or they would have disagreed"
    assert names(here) == ["two.json", "two.mkv"]
    assert _run(["replay", "two.json", "--model", model, "--verify", "-o", "again.mkv"]) == 0
    said = capsys.readouterr().err
    assert "verified" in said or re.search(r"largest difference [012] of 255, 2 passes\); several processes", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--parallel", "cfg=2"], "parallel: cfg 2 does not make 1 process; start as many"),
        (["--parallel", "cgf=2"], "--parallel 'cgf=2': no axis 'cgf'; did you mean 'cfg'?"),
        (["--parallel", "cfg"], "--parallel 'cfg': cfg takes a number, such as cfg=2"),
        (["--parallel", "cfg=two"], "parallel.cfg takes int, got 'two'"),
        (["--parallel", "cfg=3"], "parallel.cfg=3 is not possible; possible: 1 to 2 processes"),
        (["--nproc", "0"], "--nproc"),
        (["--parallel", "cfg=2", "parallel.cfg=1"], "parallel.cfg is given twice"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(
    here: Path, capsys: Captured, words: list[str], said: str
) -> None:
    assert _run(["generate", PROMPT, *words]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1) and said in told.err
    assert names(here) == []


def test_a_plan_says_what_each_process_would_take(capsys: Captured) -> None:
    """Nothing is started for it."""
    told = []
    for words in ([], ["--nproc", "2"]):
        assert _run(["plan", PROMPT, "--sampler", "causal", "--format", "json", *words]) == 0
        told.append(json.loads(capsys.readouterr().out)[0])
    alone, shared = told
    assert (alone["processes"], shared["processes"]) == (1, 2)
    assert shared["kv_cache_mib"] == alone["kv_cache_mib"] / 2  # of one branch of guidance
    assert shared["memory_mib"]["denoise"] < alone["memory_mib"]["denoise"]
    assert _run(["plan", PROMPT, "--nproc", "3"]) == 2
    assert "3 processes cannot share 1 clip" in capsys.readouterr().err


def test_what_the_processes_find_wrong_is_said_once(here: Path, model: str) -> None:
    ended = done(VGEN, PROMPT, "--model", model, "--nproc", "2", "--parallel", "cfg=2", "-o", "x.mkv")
    line = "vgen: parallel.cfg=2: there is no guidance to share; possible: 1, or a guidance_scale above 1\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", line)
    assert names(here) == []


def test_commands_that_know_of_no_others_are_refused(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    several = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "1"}
    for name, value in several.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("vgen.cli.together.verdict", lambda message, code, beside: (message, code))
    assert _run(["judge", "rules"]) == 2
    assert "vgen judge runs in one process, and 2 were started" in capsys.readouterr().err
    monkeypatch.delenv("RANK")
    assert _run(["generate", PROMPT]) == 2
    assert "WORLD_SIZE=2 says that there are several processes, and RANK= is no number" in capsys.readouterr().err


@pytest.mark.parametrize("killed", [0, 1, None], ids=["first", "second", "launcher"])
def test_what_is_killed_takes_the_others_with_it(here: Path, model: str, killed: int | None) -> None:
    words = [PROMPT, "--model", model, "--num-frames", "33", "--num-inference-steps", "1000", "--size", "96x96"]
    run = subprocess.Popen(
        [*VGEN, "generate", *words, "-o", "x.mkv", "--nproc", "2", "--parallel", "ulysses=2,timeout_s=20"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith("text:"):
            break
    until = time.monotonic() + 60
    while not list(here.glob("x.partial*")) and time.monotonic() < until:
        time.sleep(0.05)
    processes = [process_of(run.pid, rank) for rank in (0, 1)]
    os.kill(run.pid if killed is None else processes[killed], signal.SIGKILL)
    out, err = run.communicate(timeout=120)  # until the last of them has closed what it inherited
    told = [line for line in err.splitlines() if not line.startswith("denoise:")]
    if killed is None:
        assert (run.returncode, out) == (-signal.SIGKILL, "")
        assert told and all(line.startswith("vgen: ") for line in told), "nobody is left to say who speaks"
    else:
        assert (run.returncode, out) == (1, "")
        assert told == [f"vgen: process {killed} has ended, and the run with it"]
    assert names(here) == []


def process_of(parent: int, rank: int) -> int:
    import psutil

    for child in psutil.Process(parent).children(recursive=True):
        if child.environ().get("RANK") == str(rank) and "vgen" in child.cmdline():
            return child.pid
    raise AssertionError(f"no process of rank {rank}")
