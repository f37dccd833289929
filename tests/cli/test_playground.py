"""`vgen playground render | caption | score` in both worlds, with good and bad input."""

import json
from pathlib import Path

import pytest

from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.clip import Clip
from vgen.playground.caption_rich import parse_rich, rich_claim_of
from vgen.playground.scene_rich import sample_rich_scene


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_rich_scene_is_drawn_at_its_length_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["playground", "render", "20", "--world", "rich", "--size", "32", "-o", "a.mkv"]) == 0
    assert capsys.readouterr().out == "a.mkv\n"
    clip = Clip.read("a.mkv")
    assert clip.frames.shape == (49, 32, 32, 3) and clip.fps == 16
    record = json.loads(Path("a.json").read_text())
    assert record["world"] == "rich" and parse_rich(record["caption"]) == rich_claim_of(sample_rich_scene(20))
    assert _run(["playground", "render", "20", "--size", "32", "-o", "b.mkv"]) == 0
    first = Clip.read("b.mkv")
    assert (first.frames.shape[0], first.fps) == (33, 12) and "world" not in json.loads(Path("b.json").read_text())


def test_captions_are_of_the_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["playground", "caption", "20", "--world", "rich", "--variants", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(set(lines)) == 4 and {parse_rich(line) for line in lines} == {rich_claim_of(sample_rich_scene(20))}


def test_a_model_is_scored_on_prompts_of_either_world(capsys: pytest.CaptureFixture[str]) -> None:
    model = str(tiny_folder(Path("model"), layout="playground"))
    card = Path("model/vgen.yaml")
    card.write_text(card.read_text().replace("text_length: 16", "text_length: 56"))
    assert _run(["playground", "score", model, "--count", "4", "--world", "rich", "--json"]) == 0
    rich = json.loads(capsys.readouterr().out)
    assert _run(["playground", "score", model, "--count", "2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert {*rich["generated"]["scores"]["all"]} - {*first["generated"]["scores"]["all"]} == {"then", "order"}
    assert rich["generated"]["detector_sha256"] != first["generated"]["detector_sha256"]
    assert _run(["playground", "score", model, "--count", "4", "--world", "rich"]) == 0
    assert {"then", "order"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert _run(["playground", "score", model, "--count", "2", "--world", "rich", "--image"]) == 0
    assert "first frame kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["render", "1", "--world", "reich"], "unknown world 'reich'; did you mean 'rich'"),
        (["caption", "1", "--world", "second"], "unknown world 'second'"),
        (["score", "--world", "second"], "unknown world 'second'"),
        (["render", "1", "--frames", "66"], "longer than a clip of the first world; possible: 1 to 65"),
        (
            ["render", "1", "--frames", "98", "--world", "rich"],
            "longer than a clip of the rich world; possible: 1 to 97",
        ),
        (["render", "1", "--frames", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_requests_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert _run(["playground", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and not list(Path().iterdir())
