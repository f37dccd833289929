"""First and last images on the command line: what is written beside the clip, and replay from it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.folders import tiny_folder
from vgen.cli import _run

PROMPT = "a red ball rolls"
GIVEN = ["--image", "first.png", "--last-image", "last.png"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model"), layout="flf2v"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("first.png", "last.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(name)
    return tmp_path


def test_a_clip_between_two_images_is_written_and_replayed(
    model: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", PROMPT, "--model", model, *GIVEN, "-o", "a.mkv", "--seed", "3", "--format", "json"]
    assert _run(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["files"] == {"clip": "a.mkv", "image": "a.image.png", "last-image": "a.last-image.png"}
    assert record["last_image"]["sha256"] != record["image"]["sha256"]
    assert record["request"]["request.last_image"] == "last.png"
    again = ["replay", "a.json", "--model", model, "--verify", "-o", "b.mkv"]
    assert _run(again) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    Image.open("first.png").save("a.last-image.png")
    assert _run(again) == 2
    assert "not the image" in capsys.readouterr().err
    Path("a.last-image.png").unlink()
    assert _run(again) == 2
    assert "a.last-image.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image", "first.png"], "give the other with --last-image"),
        (["--last-image", "last.png"], "makes video from an image"),
        (["--image", "first.png", "--last-image", "none.png"], "none.png"),
        ([*GIVEN, "--guidance-scale-2", "3"], "has one; say guidance_scale"),
        ([*GIVEN, "request.flow_shift=0"], "possible: 0.01 to 100"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert _run(["generate", PROMPT, "--model", model, *words, "-o", "a.mkv"]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not Path("a.mkv").exists()


def test_models_says_what_it_takes(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["models", model]) == 0
    assert "takes text and first frame and last frame" in capsys.readouterr().out
