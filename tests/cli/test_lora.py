"""LoRA on the command line: generate, replay, resume and train, with good and bad input."""

import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.folders import layout_transformer, tiny_folder
from tests.loras import random_pairs, write_pairs
from vgen.cli import _run

PROMPT = "a red ball rolls"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model"), layout="wan2.1"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, (name, kind) in enumerate({"a": "diffusers", "b": "wan"}.items()):
        write_pairs(Path(f"{name}.safetensors"), random_pairs(layout_transformer("wan2.1"), seed=seed), kind=kind)
    return tmp_path


def test_a_clip_with_two_loras_is_written_and_replayed(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--lora", "a.safetensors@0.8", "--lora", "b.safetensors"]
    assert _run(["generate", PROMPT, "--model", model, *both, "-o", "x.mkv", "--seed", "3", "--format", "json"]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert "note: LoRA a.safetensors at scale 0.8 on 20 layers" in said.err
    rows = record["model"]["lora"]
    assert [(row["file"], row["scale"], row["transformer"]) for row in rows] == [
        ("a.safetensors", 0.8, 1),
        ("b.safetensors", 1.0, 1),
    ]
    replay = ["replay", "x.json", "--model", model, "--verify", "-o", "y.mkv"]
    Path("moved").mkdir()
    Path("a.safetensors").rename("moved/c.safetensors")
    assert _run([*replay, "--lora", "b.safetensors", "--lora", "moved/c.safetensors"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    wrong = {
        (): "made with LoRA a.safetensors, b.safetensors; name each with --lora",
        ("--lora", "b.safetensors"): "made with LoRA a.safetensors too",
        ("--lora", "b.safetensors", "--lora", "moved/c.safetensors@0.5"): "was at scale 0.8 there, asked for 0.5",
    }
    for words, message in wrong.items():
        assert _run([*replay, *words]) == 2
        assert message in capsys.readouterr().err
    tensors = load_file("moved/c.safetensors")
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, "moved/c.safetensors")
    assert _run([*replay, "--lora", "b.safetensors", "--lora", "moved/c.safetensors"]) == 2
    assert "not made with LoRA 'moved/c.safetensors', whose digest is another" in capsys.readouterr().err


def test_a_config_may_name_them(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("model:\n  lora:\n  - {path: a.safetensors, scale: 0.5}\n")
    assert _run(["generate", PROMPT, "--model", model, "--config", "c.yaml", "-o", "x.mkv", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["lora"][0]["scale"] == 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lora", "c.safetensors"], "no such file or folder, and no hub id"),
        (["--lora", "some/c.safetensors"], "no such file or folder"),
        (["--lora", "Some/One"], "hf download Some/One"),
        (["--lora", "a.safetensors@1e6"], "scale 1000000.0 is not possible"),
        (["--lora-2", "a.safetensors"], "is for a second transformer"),
        (["model.lora=[{path: a.safetensors, rank: 3}]"], "a LoRA is PATH[@SCALE], or"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert _run(["generate", PROMPT, "--model", model, *words, "-o", "x.mkv"]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not Path("x.mkv").exists()


def test_a_killed_run_goes_on_with_its_lora(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["generate", PROMPT, "--model", model, "--sampler", "causal", "--seed", "1", "--lora", "a.safetensors@0.5"]
    assert _run([*words, "-o", "whole.mkv", "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)["frames"]
    with monkeypatch.context() as patched:
        patched.setattr("vgen.cli.output._tell_attempt", _killer(after=9))
        assert _run([*words, "-o", "x.mkv"]) != 0
    hint = re.search(r"go on with: vgen (.+)", capsys.readouterr().err)
    assert hint is not None and "--lora a.safetensors@0.5" in hint[1]
    assert _run(["generate", "--resume", "x.run", "--model", model]) == 2
    assert "name each with --lora" in capsys.readouterr().err
    assert _run([*hint[1].split(), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == whole


def _killer(after: int) -> object:
    """Ends a run as Ctrl-C does, once so many events were seen."""
    seen = []

    def look(event: object) -> None:
        seen.append(event)
        if len(seen) > after:
            raise KeyboardInterrupt

    return look


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data", "-o", "out"], "data: no folder"),
        ([".", "-o", "out"], "no videos in it"),
        ([".", "-o", "out", "--device", "tpu"], "unknown device 'tpu'"),
        ([".", "-o", "out", "--dtype", "float16"], "too small a range"),
        ([".", "-o", "out", "--size", "48"], "--size takes WIDTHxHEIGHT"),
        ([".", "-o", "out", "--targets", ","], "names no layer"),
        ([".", "-o", "out", "--model", "nowhere"], "neither a name nor a folder"),
        ([".", "-o", "."], "cannot write '.'"),
    ],
)
def test_training_refuses_in_one_line(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert _run(["train", "lora", *(["--model", model] if "--model" not in words else []), *words]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
