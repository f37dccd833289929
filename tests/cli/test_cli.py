"""The command line with good and bad input: what goes to stdout, to stderr, to the disk, and the exit code."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.clip import Clip
from vgen.run import Event, Run
from vgen.run_record import RECORD_SCHEMA

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


def test_an_attention_of_the_users_own_comes_from_a_file(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("name: radial\ndecay: 0.5\n")
    assert generate(model, PROMPT, "--attention", "mine.yaml", "-o", "a.mkv", "--format", "json") == 0
    resolved = json.loads(capsys.readouterr().out)["resolved"]
    assert (resolved["attention.name"], resolved["attention.decay"]) == ("radial", 0.5)


def test_a_file_of_prompts_makes_a_clip_each(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a red ball\n\na blue box\n")
    assert generate(model, "--prompts", "prompts.txt", "--num-videos", "2", "--seed", "5", "-o", "c.mkv") == 0
    assert capsys.readouterr().out.split() == ["c-1.mkv", "c-2.mkv", "c-3.mkv", "c-4.mkv"]
    records = [json.loads(Path(f"c-{i}.json").read_text()) for i in (1, 2, 3, 4)]
    assert [record["seed"] for record in records] == [5, 6, 5, 6]
    for record in records:
        assert record["request"]["request.seed"] == record["seed"]
        assert record["request"]["request.prompt"] == record["resolved"]["request.prompt"]


def test_every_clip_has_its_own_notes(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a red ball\na shiny blue box\n")
    assert generate(model, "--prompts", "prompts.txt", "-o", "c.mkv") == 0
    assert "does not know these words: shiny" in capsys.readouterr().err


def test_a_run_that_fails_leaves_no_empty_folder(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(run: Run, *args: object, **words: object) -> Iterator[Event]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "events", stopped)
    assert generate(model, PROMPT) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "vgen: stopped"
    assert not list(Path("outputs").iterdir())


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


@pytest.mark.parametrize("key", ["request.image", "model.id", "output.path", "request.num_videos", "run.dtyp"])
def test_replay_takes_no_key_that_no_run_writes(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    resolved = {"run.device": "cpu", "run.dtype": "float32", "request.prompt": PROMPT, key: "/some/secret.png"}
    parts: dict[str, object] = {name: {} for name in ("request", "model", "frames", "versions", "machine")}
    Path("r.json").write_text(json.dumps({"schema": RECORD_SCHEMA, "resolved": resolved} | parts))
    assert _run(["replay", "r.json", "--model", model]) == 2
    assert f"holds '{key}'" in capsys.readouterr().err


def test_replay_says_what_differs_and_passes_a_small_difference_of_lossless_clips(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(model, PROMPT, "-o", "a.mkv") == 0
    record = json.loads(Path("a.json").read_text())
    record["versions"]["torch"] = "1.0"
    frames_FYX3 = Clip.read("a.mkv").frames
    verify = ["replay", "a.json", "--model", model, "--device", "cpu", "--verify", "-o"]
    for largest, code in ((2, 0), (3, 1)):
        changed_FYX3 = frames_FYX3.astype(np.int16)
        changed_FYX3[0, 0, 0, 0] += largest if frames_FYX3[0, 0, 0, 0] < 128 else -largest
        changed = Clip(frames=changed_FYX3.astype(np.uint8), fps=8)
        changed.save("a.mkv")
        Path("a.json").write_text(json.dumps(record | {"frames": record["frames"] | {"sha256": changed.sha256()}}))
        assert _run([*verify, "b.mkv"]) == code
        err = capsys.readouterr().err
        assert f"largest difference {largest} of 255" in err and "torch was '1.0', is" in err
    assert _run([*verify, "a.mkv"]) == 1  # the new clip in the place of the old one is no proof


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
    "unknown format": (["a ball", "--format", "xml"], "'human', 'json'"),
    "size in other digits": (["a ball", "--size", "²x²"], "--size takes WIDTHxHEIGHT"),
    "size of many digits": (["a ball", "--size", "9" * 5000 + "x9"], "--size takes WIDTHxHEIGHT"),
    "misspelt key first": (["request.promt=a red ball"], "did you mean 'request.prompt'"),
    "fit without an image": (["a ball", "--fit", "pad"], "fit says how an image is fitted"),
    "seeds run out": (["a ball", "--seed", str(2**63 - 1), "--num-videos", "2"], "leaves no seeds"),
    "seed too large": (["a ball", "--seed", str(2**63)], "possible: 0 to 9223372036854775807"),
    "no output name": (["a ball", "-o", ""], "no name for a file"),
    "a folder as output": (["a ball", "-o", ".", "--num-videos", "2"], "no name for a file"),
    "long output name": (["a ball", "-o", "n" * 300 + ".mp4"], "File name too long"),
    "a suffix as output": (["a ball", "-o", ".mp4"], "a kind alone is no name"),
    "missing prompts": (["--prompts", "none.txt"], "no such file"),
}


BESIDE = {"json": [], "sheet.png": ["--sheet"], "image.png": ["--image", "first.png"]}


@pytest.mark.parametrize("suffix", BESIDE)
def test_what_stands_in_the_way_of_a_file_beside_the_clip_is_seen_before_the_run(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    Image.new("RGB", (48, 32)).save("first.png")
    Path(f"a.{suffix}").mkdir()
    assert generate(model, PROMPT, "-o", "a.mkv", *BESIDE[suffix]) == 2
    err = capsys.readouterr().err
    assert "a folder of that name exists" in err and "denoise" not in err
    assert sorted(path.name for path in here.iterdir()) == sorted({f"a.{suffix}", "first.png"})


def test_somebody_elses_json_is_kept(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("package.json").write_text('{"name": "mine"}')
    assert generate(model, PROMPT, "-o", "package.mkv") == 2
    assert _run(["playground", "render", "1", "--size", "16", "--frames", "1", "-o", "package.mkv"]) == 2
    assert capsys.readouterr().err.count("is no record of vgen") == 2
    assert [path.name for path in here.iterdir()] == ["package.json"]
    assert json.loads(Path("package.json").read_text()) == {"name": "mine"}


def test_a_bad_prompt_anywhere_in_the_file_stops_all(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("prompts.txt").write_text("a red ball\nzebra unicorn\n")
    assert generate(model, "--prompts", "prompts.txt", "-o", "c.mkv") == 2
    assert "knows no word" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["prompts.txt"]


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
        shutil.rmtree("a.run", ignore_errors=True)  # else the next run of this name is refused
        clip = Clip.read("a.mkv")
        assert clip.sha256() == old or len(clip.frames) == 81
        done.add(clip.sha256())
    assert old in done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal_nothing_half_written_stays(model: str, here: Path, number: signal.Signals) -> None:
    words = ["vgen", "generate", "--model", model, PROMPT, "--num-frames", "2001"]
    program = f"import sys; sys.argv = {words!r}; import vgen.cli; vgen.cli.main()"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("text"):
            assert process.poll() is None
        process.send_signal(number)
        assert process.stderr.read().splitlines()[-1] == "vgen: stopped"
    assert process.returncode == 128 + number
    assert not list(Path("outputs").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_stdout_is_one_line_and_code_1() -> None:
    program = "import sys; sys.argv = ['vgen', 'playground', 'caption', '1']; import vgen.cli; vgen.cli.main()"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "vgen: the system refused: No space left on device\n")


@pytest.mark.parametrize("words", [[], ["playground"]])
def test_no_command_shows_the_help_as_it_is(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert _run(words) == 2
    assert len(capsys.readouterr().err.splitlines()) > 8


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    program = "import sys, vgen.cli; vgen.cli._run(['--help']); print('torch' in sys.modules, 'numpy' in sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert done.stdout.strip().endswith("False False")
