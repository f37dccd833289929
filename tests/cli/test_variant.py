"""Variants of a model from the command line: made, recorded, made again, gone on with, listed, refused."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.cli.test_lora import _killer
from tests.folders import layout_transformer, tiny_folder
from tests.loras import random_pairs, write_pairs
from tests.variants import FAST, variant_pairs, write_variant
from vgen.cli import _run
from vgen.clip import Clip
from vgen.records import read_record

CLIP = ["generate", "a red ball rolls", "--seed", "3", "--format", "json"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_folder(tmp_path_factory.mktemp("models") / "tiny", layout="wan2.1")
    write_variant(folder, pairs=variant_pairs())
    return folder


@pytest.fixture
def model(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of its own, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    shutil.copytree(tiny, "m")
    return "m"


def made(capsys: Captured, *words: str) -> dict[str, Any]:
    assert _run([*CLIP, *words]) == 0, capsys.readouterr().err
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    return record


def test_it_is_the_card_and_the_lora_in_one_name(model: str, capsys: Captured) -> None:
    lora = ["--lora", str(Path(model, "variants", "fast", "lora.safetensors"))]
    by_hand = ["sampler.name=causal", "sampler.solver=renoise", "sampler.sigmas=[1.0,0.5]"]
    by_hand += ["--model", "m", "--num-inference-steps", "2"]
    asked = {"fast": ["--model", "m:fast"], "same": [*by_hand, *lora], "plain": by_hand}
    records = {name: made(capsys, *words, "-o", f"{name}.mkv") for name, words in asked.items()}
    fast, same, plain = (Clip.read(Path(f"{name}.mkv")).frames.astype(int) for name in asked)
    assert abs(fast - same).max() <= 1 and abs(fast - plain).max() > 10  # merged or beside: within rounding
    resolved = {name: records[name]["resolved"] for name in ("fast", "same")}
    assert resolved["fast"] == resolved["same"]


def test_a_record_holds_it_and_is_made_again(model: str, capsys: Captured) -> None:
    row = made(capsys, "--model", "m:fast", "-o", "x.mkv")["model"]
    assert (row["id"], row["variant"], row["name"], row["lora"]) == ("m:fast", "fast", "tiny:fast", [])
    assert {"variants/fast/vgen.yaml", "variants/fast/lora.safetensors", "vgen.yaml"} <= row["digests"].keys()
    replay = ["replay", "x.json", "--verify", "-o", "y.mkv"]
    Path("m").rename("elsewhere")
    assert _run([*replay, "--model", "elsewhere:fast"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    write_variant(Path("elsewhere"), "slow", card="fps: 9\n")
    wrong = {
        "elsewhere": "made with variant 'fast' of its model, 'elsewhere' is another; use --model elsewhere:fast",
        "elsewhere:slow": "made with variant 'fast' of its model",
        "elsewhere:fsat": "made with variant 'fast' of its model",
    }
    for name, message in wrong.items():
        assert _run([*replay, "--model", name]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("part", ["card", "lora"])
def test_a_changed_variant_makes_no_recorded_clip(model: str, capsys: Captured, part: str) -> None:
    made(capsys, "--model", "m:fast", "-o", "x.mkv")
    own = Path("m", "variants", "fast")
    if part == "card":
        (own / "vgen.yaml").write_text(FAST + "fps: 9\n")
    else:
        write_pairs(own / "lora.safetensors", variant_pairs(seed=6), kind="wan")
    assert _run(["replay", "x.json", "--model", "m:fast", "-o", "y.mkv"]) == 2
    assert "made with other weights than those of model 'm:fast'" in capsys.readouterr().err


def test_a_clip_of_no_variant_is_made_again_by_none(model: str, capsys: Captured) -> None:
    made(capsys, "--model", "m", "-o", "x.mkv")
    assert _run(["replay", "x.json", "--model", "m:fast", "-o", "y.mkv"]) == 2
    assert "made with no variant of its model, 'm:fast' is another; use --model m" in capsys.readouterr().err


def test_a_variant_of_the_embedded_model_is_found_by_its_record(
    model: str, tiny: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgen.models.folder.embedded_folder", lambda: Path("m").absolute())
    made(capsys, "--model", "playground:fast", "-o", "x.mkv")
    assert _run(["replay", "x.json", "--verify", "-o", "y.mkv"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    record = read_record("x.json")
    shutil.copytree("m", "stranger")
    for name in ("stranger:fast", "playground:../../stranger", "playground:fast/../fast"):
        record["model"] |= {"id": name, "variant": name.partition(":")[2]}
        Path("z.json").write_text(json.dumps(record))
        assert _run(["replay", "z.json", "-o", "y.mkv"]) == 2
        assert f"made with model '{name}'; name its folder with --model" in capsys.readouterr().err
    assert _run(["models"]) == 0
    assert "; variants: playground:fast" in capsys.readouterr().out


def test_another_lora_goes_on_top(model: str, capsys: Captured) -> None:
    write_pairs(Path("top.safetensors"), random_pairs(layout_transformer("wan2.1"), seed=9), kind="diffusers")
    both = made(capsys, "--model", "m:fast", "--lora", "top.safetensors@0.5", "-o", "x.mkv")
    alone = made(capsys, "--model", "m:fast", "-o", "y.mkv")
    assert both["frames"] != alone["frames"]
    assert [row["file"] for row in both["model"]["lora"]] == ["top.safetensors"]
    assert _run(["replay", "x.json", "--model", "m:fast", "--lora", "top.safetensors", "--verify", "-o", "z.mkv"]) == 0


def test_a_killed_run_goes_on(model: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(capsys, "--model", "m:fast", "-o", "whole.mkv")["frames"]
    with monkeypatch.context() as patched:
        patched.setattr("vgen.cli.output._tell_attempt", _killer(after=5))
        assert _run([*CLIP, "--model", "m:fast", "-o", "x.mkv"]) != 0
    hint = re.search(r"go on with: vgen (.+)", capsys.readouterr().err)
    assert hint is not None and "--model m:fast" in hint[1]
    assert _run(["generate", "--resume", "x.run", "--model", "m"]) == 2
    assert "made with variant 'fast' of its model" in capsys.readouterr().err
    assert _run([*hint[1].split(), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == whole


def test_it_is_listed_described_and_planned(model: str, capsys: Captured) -> None:
    assert _run(["models", "m"]) == 0
    assert "4 steps, guidance 1; variants: m:fast" in capsys.readouterr().out
    assert _run(["models", "m:fast", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["model"], row["variants"], row["num_inference_steps"]) == ("m:fast", ["fast"], 2)
    plans = {}
    for name in ("m", "m:fast"):
        assert _run(["plan", "a red ball rolls", "--model", name, "--format", "json"]) == 0
        plans[name] = json.loads(capsys.readouterr().out)
    assert plans["m"] != plans["m:fast"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "x", "--model", "m:fsat"], "model 'm' has no variant 'fsat'; did you mean 'fast'?"),
        (["generate", "x", "--model", "playground:fsat"], "model 'playground' has no variant 'fsat'"),
        (["generate", "x", "--model", "Some/One:fast"], "run: vgen models Some/One:fast --download"),
        (["generate", "x", "--model", "m:fast", "--lora", "m:fast"], "LoRA m:fast: no such file or folder"),
        (["generate", "x", "--model", "m:fast", "--lora", "Some/One:fast"], "no such file or folder"),
        (["models", "m:"], "model 'm' has no variant ''"),
        (["convert", "x.pt", "--base", "m:fast", "-o", "out"], "base m:fast is a variant"),
        (["samplers", "--model", "m:none"], "model 'm' has no variant 'none'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(model: str, capsys: Captured, words: list[str], message: str) -> None:
    Path("x.pt").write_bytes(b"")
    assert _run(words) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
