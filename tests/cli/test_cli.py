"""The command line with good and bad input: what goes to stdout, to stderr, to the disk, and the exit code."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.clip import Clip

PROMPT = "a red ball rolls"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model"), layout="playground"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def generate(model: str, *words: str) -> int:
    return _run(["generate", "--model", model, *words])


def test_a_prompt_alone_writes_a_clip_and_its_record(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(model, PROMPT) == 0
    out, err = capsys.readouterr()
    path = Path(out.strip())
    assert path.parent.parent == Path("outputs") and path.name == "clip.mp4"
    assert json.loads(path.with_suffix(".json").read_text())["request"]["request.prompt"] == PROMPT
    assert "seed" in err and "denoise: 4/4" in err and "left in" not in err


def test_json_on_stdout_is_the_record_alone(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(model, PROMPT, "--format", "json", "-o", "a.mkv", "--sheet", "--seed", "4") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["seed"] == 4 and record["frames"]["made"] == 9
    assert record["files"] == {"clip": "a.mkv", "sheet": "a.sheet.png"}
    assert set(record["stages_s"]) == {"text", "denoise", "decode", "write"}
    assert Clip.read("a.mkv").sha256() == record["frames"]["sha256"]
    with Image.open("a.sheet.png") as sheet:
        assert sheet.width > 48


def test_flags_config_and_assignments_meet(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("request:\n  seed: 1\n  fps: 5\nsampler:\n  name: causal\n")
    words = [PROMPT, "request.num_inference_steps=2", "--config", "c.yaml", "--seed", "9", "-o", "a.mkv"]
    assert generate(model, *words, "--format", "json") == 0
    resolved = json.loads(capsys.readouterr().out)["resolved"]
    assert (resolved["request.seed"], resolved["request.fps"], resolved["sampler.name"]) == (9, 5, "causal")
    assert resolved["request.num_inference_steps"] == 2


def test_a_file_of_prompts_makes_a_clip_each(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a red ball\n\na blue box\n")
    assert generate(model, "--prompts", "prompts.txt", "--num-videos", "2", "--seed", "5", "-o", "c.mkv") == 0
    assert capsys.readouterr().out.split() == ["c-1.mkv", "c-2.mkv", "c-3.mkv", "c-4.mkv"]
    seeds = [json.loads(Path(f"c-{i}.json").read_text())["seed"] for i in (1, 2, 3, 4)]
    assert seeds == [5, 6, 5, 6]


def test_replay_makes_the_same_frames_and_verifies(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save("first.png")
    assert generate(model, PROMPT, "--image", "first.png", "-o", "a.mkv", "--sampler", "causal") == 0
    assert _run(["replay", "a.json", "--model", model, "--verify", "-o", "b.mkv"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    assert Clip.read("a.mkv").sha256() == Clip.read("b.mkv").sha256()


def test_replay_refuses_other_weights_and_finds_other_frames(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(model, PROMPT, "-o", "a.mkv") == 0
    record = json.loads(Path("a.json").read_text())
    tampered = record | {"frames": record["frames"] | {"sha256": "0" * 64}}
    Path("t.json").write_text(json.dumps(tampered))
    assert _run(["replay", "t.json", "--model", model, "--verify", "-o", "b.mkv"]) == 1
    record["model"]["digests"]["vae/diffusion_pytorch_model.safetensors"] = "0" * 64
    Path("t.json").write_text(json.dumps(record))
    assert _run(["replay", "t.json", "--model", model, "-o", "b.mkv"]) == 2
    assert "other weights" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "[]", '{"resolved": {}, "model": {"digests": {}}, "frames": {}}', "x"])
def test_replay_refuses_what_is_no_record(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    Path("r.json").write_text(text)
    assert _run(["replay", "r.json", "--model", model]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


BAD = {
    "empty prompt": ([""], "the prompt is empty"),
    "no prompt": ([], "the prompt is empty"),
    "unknown words": (["zebra unicorn"], "knows no word"),
    "size off the grid": (["a ball", "--size", "50x50"], "nearest: 48 or 64"),
    "size of nothing": (["a ball", "--size", "0x0"], "possible: 16 to 8192 px"),
    "size in words": (["a ball", "--size", "big"], "--size takes WIDTHxHEIGHT"),
    "too large": (["a ball", "--size", "8192x8192", "--num-frames", "1000"], "MiB are free"),
    "negative length": (["a ball", "--seconds", "-1"], "possible: 0.01 to 3600 s"),
    "two lengths": (["a ball", "--seconds", "1", "--num-frames", "9"], "give one of them"),
    "unknown sampler": (["a ball", "--sampler", "casual"], "did you mean 'causal'"),
    "unknown device": (["a ball", "--device", "gpu"], "unknown device 'gpu'"),
    "unknown dtype": (["a ball", "--dtype", "bf16"], "did you mean 'bfloat16'"),
    "unknown option": (["a ball", "--sed", "3"], "No such option: --sed"),
    "not a number": (["a ball", "--seed", "abc"], "--seed"),
    "misspelt key": (["a ball", "request.sed=3"], "did you mean 'request.seed'"),
    "one field twice": (["a ball", "--seed", "3", "request.seed=4"], "given twice"),
    "missing image": (["a ball", "--image", "none.png"], "none.png"),
    "no image": (["a ball", "--image", "text.txt"], "not a picture"),
    "missing folder": (["a ball", "-o", "none/a.mp4"], "does not exist; make it first"),
    "unknown suffix": (["a ball", "-o", "a.avi"], ".mp4"),
    "missing config": (["a ball", "--config", "none.yaml"], "no such file"),
    "unknown format": (["a ball", "--format", "xml"], "human or json"),
    "missing prompts": (["--prompts", "none.txt"], "no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_writes_nothing(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    Path("text.txt").write_text("no picture")
    words, message = BAD[case]
    assert generate(model, *words) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert len(err.strip().splitlines()) == 1, err
    assert [path.name for path in here.iterdir()] == ["text.txt"]


def test_a_model_that_is_none_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate("nowhere", "a ball") == 2
    assert "model 'nowhere' is neither a name nor a folder" in capsys.readouterr().err


def test_killed_at_any_moment_the_name_holds_the_old_file_or_the_new(model: str, here: Path) -> None:
    """`kill -9` between start and end of a run, several times over."""
    assert generate(model, PROMPT, "--seed", "1", "-o", "a.mkv") == 0
    old = Clip.read("a.mkv").sha256()
    words = ["generate", "--model", model, "a blue box falls", "--seed", "2", "-o", "a.mkv", "--sampler", "causal"]
    program = f"import vgen.cli; raise SystemExit(vgen.cli._run({[*words, '--num-frames', '81']!r}))"
    root = str(Path(__file__).parents[2])
    done = {old}
    for delay_s in (2.5, 3.5, 5.0):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=here, env={"PYTHONPATH": root})
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        clip = Clip.read("a.mkv")
        assert clip.sha256() == old or len(clip.frames) == 81
        done.add(clip.sha256())
    assert old in done


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    program = "import sys, vgen.cli; vgen.cli._run(['--help']); print('torch' in sys.modules, 'numpy' in sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert done.stdout.strip().endswith("False False")
