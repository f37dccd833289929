"""Long clips from the command line: samplers, prompts over time, clips that go on, runs that are stopped."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.clip import Clip
from vgen.presets import sampler_presets
from vgen.records import read_record
from vgen.run import Event, Run

PROMPT = "a red ball rolls"
STREAM = [PROMPT, "--sampler", "streaming", "--num-frames", "21", "--seed", "4"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    return str(tiny_folder(folder, layout="playground", trainings="full, causal, forcing"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def generate(model: str, *words: str) -> int:
    return _run(["generate", "--model", model, *words])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stopping(monkeypatch: pytest.MonkeyPatch, decoded: int | None, previewed: Path | None = None) -> None:
    """Ctrl-C when a run has decoded so many frames, 0 being its first sign of life; or has written a preview."""
    real = Run.events

    def events(run: Run, *args: Any, **words: Any) -> Iterator[Event]:
        for event in real(run, *args, **words):
            yield event
            if decoded is None and previewed is not None and list(previewed.rglob("*.preview.png")):
                raise KeyboardInterrupt
            if decoded is not None and (event.done >= decoded if event.stage == "decode" else not decoded):
                raise KeyboardInterrupt

    monkeypatch.setattr(Run, "events", events)


# -- samplers and help ------------------------------------------------------------------------------------------------


def test_samplers_are_listed_with_what_they_are(model: str, tmp_path: Path, capsys: Captured) -> None:
    assert _run(["samplers", "--model", model]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == sorted(sampler_presets()) and err == ""
    assert "causal, and the first block never leaves sight" in out
    card = shutil.copytree(model, tmp_path / "other") / "vgen.yaml"
    card.write_text(card.read_text().replace("[full, causal, forcing]", "[full, causal]"))
    assert _run(["samplers", "--model", str(card.parent)]) == 0
    out, err = capsys.readouterr()
    assert "* rolling-forcing" in out and "  streaming" in out
    assert err == "* model 'tiny' was not trained for it; --force-sampler runs it all the same\n"
    assert _run(["samplers"]) == 0  # of the model that comes with the package


def test_one_sampler_shows_its_options(model: str, capsys: Captured) -> None:
    assert _run(["samplers", "tic", "--model", model]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1:] == ["    sampler.schedule=capped", "    sampler.caps=[0.25, 0.5, 0.75]"]
    assert _run(["samplers", "--model", model, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert list(rows) == sorted(sampler_presets())
    for name, row in rows.items():
        assert set(row) == {"title", "able", "needs", "options"} and row["title"].endswith(".") and row["able"]
        said = {f"sampler.{key}": value for key, value in row["options"].items()} | {"sampler.needs": row["needs"]}
        assert said == sampler_presets()[name]
    assert _run(["samplers", "streeming"]) == 2
    assert "unknown sampler 'streeming'; did you mean 'streaming'" in capsys.readouterr().err


def test_help_names_what_long_clips_need(capsys: Captured) -> None:
    assert _run(["generate", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for option in ("--prompt-at TIME PROMPT", "--story", "--extend", "--resume", "--preview", "--sampler"):
        assert option in out, option


# -- prompts over time ------------------------------------------------------------------------------------------------


def test_prompts_at_times_and_a_story_are_the_same(model: str, here: Path, capsys: Captured) -> None:
    Path("story.yaml").write_text(f"- {{at: 0s, prompt: {PROMPT}}}\n- at: 1\n  prompt: a blue box falls\n")
    at = ["--prompt-at", "0s", PROMPT, "--prompt-at", "1s", "a blue box falls"]
    ways = [at, [PROMPT, *at[3:]], ["--story", "story.yaml"]]
    records = []
    for way in ways:
        assert generate(model, *way, "--num-frames", "21", "--seed", "1", "-o", "a.mkv", "--format", "json") == 0
        records.append(json.loads(capsys.readouterr().out))
    assert len({record["frames"]["sha256"] for record in records}) == 1
    assert [(row["prompt"], row["frames"]) for row in records[0]["prompts"]] == [
        (PROMPT, [0, 4]),
        ("a blue box falls", [5, 20]),
    ]
    assert records[0]["resolved"]["request.story"][1] == {"at": 1.0, "prompt": "a blue box falls"}
    assert _run(["replay", "a.json", "--model", model, "--verify", "-o", "b.mkv"]) == 0


TWO = ["--prompt-at", "0s", "a ball", "--prompt-at"]
BAD = {
    "no time": ([PROMPT, "--prompt-at"], "--prompt-at takes a time and a prompt"),
    "no prompt": ([PROMPT, "--prompt-at", "4s"], "--prompt-at takes a time and a prompt"),
    "an option as time": ([PROMPT, "--prompt-at", "--seed", "4"], "--prompt-at takes a time and a prompt"),
    "an equals sign": ([PROMPT, "--prompt-at=4s", "a box"], "--prompt-at takes a time and a prompt"),
    "an option as prompt": ([PROMPT, "--prompt-at", "4s", "--seed", "4"], "--prompt-at takes a time and a prompt"),
    "a word as time": ([*TWO, "noon", "a box"], "starts at a time such as 4s, got 'noon'"),
    "nothing at 0 s": (["--prompt-at", "1s", "a box"], "the first prompt starts at 1 s"),
    "not rising": ([*TWO, "2s", "a box", "--prompt-at", "1s", "a ball"], "1 s follows 2 s"),
    "past the end": ([*TWO, "9s", "a box"], "the last prompt starts at 9 s, and the clip ends at 1.125 s"),
    "one latent frame": ([*TWO, "0.6s", "a box", "--prompt-at", "0.7s", "a ball"], "fall on one latent frame"),
    "an empty prompt": ([*TWO, "0.5s", " "], "the prompt is empty"),
    "a prompt twice at 0 s": ([PROMPT, "--prompt-at", "0s", "a box"], "0 s follows 0 s"),
    "two stories": ([*TWO, "1s", "a box", "--story", "good.yaml"], "--prompt-at and --story both say"),
    "a file of prompts too": (["--prompts", "good.yaml", "--story", "good.yaml"], "--prompts and a story both say"),
    "no story": (["--story", "none.yaml"], "story none.yaml: no such file"),
    "a story that is no list": (["--story", "bad.yaml"], "a story is a list of {at: seconds, prompt: words}, got dict"),
    "a story of words": (["--story", "words.yaml"], "a story is a list of {at: seconds, prompt: words}, got a ball"),
    "an image and a clip": ([PROMPT, "--image", "i.png", "--extend", "c.mkv"], "both say how it begins"),
    "a clip of another size": ([PROMPT, "--extend", "c.mkv", "--size", "64x32"], "is 48x32, asked for 64x32"),
    "a clip of another rate": ([PROMPT, "--extend", "c.mkv", "--fps", "9"], "has 8 fps, asked for 9"),
    "no clip": ([PROMPT, "--extend", "none.mkv"], "none.mkv"),
    "a record alone": ([PROMPT, "--extend", "none.json"], "no clip of that name beside the record"),
    "no run": (["--resume", "none.run"], "'none.run' is no unfinished run; one is a folder <name>.run beside a clip"),
    "a folder that is no run": (["--resume", "."], "is no unfinished run"),
    "a clip without a run": (["--resume", "c.mkv"], "'c.run' is no unfinished run"),
    "many runs": (["--resume", "none.run", "--prompts", "good.yaml"], "--resume goes on with one run"),
    "an unused option": ([PROMPT, "--sampler", "streaming", "sampler.caps=[0.5]"], "caps means nothing to sampler 'st"),
    "a window too small": ([PROMPT, "--sampler", "causal", "sampler.block=2", "sampler.window=1"], "is smaller than"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "good.yaml").write_text("- {at: 0, prompt: a ball}\n")
    (folder / "bad.yaml").write_text("at: 0\nprompt: a ball\n")
    (folder / "words.yaml").write_text("- a ball\n")
    Image.new("RGB", (48, 32)).save(folder / "i.png")
    Clip(frames=np.zeros((5, 32, 48, 3), np.uint8), fps=8).save(folder / "c.mkv")
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_writes_nothing(
    model: str, inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, case: str
) -> None:
    monkeypatch.chdir(inputs)
    before = names(inputs)
    words, message = BAD[case]
    assert generate(model, *words) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert len(err.strip().splitlines()) == 1, err
    assert names(inputs) == before


# -- while it runs ----------------------------------------------------------------------------------------------------


def test_a_long_run_shows_what_it_has_and_cleans_up(
    model: str, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = Run.events, []

    def events(run: Run, *args: Any, **words: Any) -> Iterator[Event]:
        for event in real(run, *args, **words):
            yield event
            seen.append((event.stage, names(here)))

    monkeypatch.setattr(Run, "events", events)
    assert generate(model, *STREAM, "-o", "a.mp4", "--preview", "--format", "json") == 0
    assert all("a.partial.mp4" in there and "a.run" in there and "a.mp4" not in there for _, there in seen)
    assert any("a.preview.png" in there for stage, there in seen if stage == "denoise")
    assert names(here) == ["a.json", "a.mp4", "a.preview.png"]
    files = json.loads(capsys.readouterr().out)["files"]
    assert files == {"clip": "a.mp4", "preview": "a.preview.png"}
    with Image.open("a.preview.png") as sheet:
        assert sheet.width >= 48 and len(sheet.convert("RGB").getcolors(1 << 24) or []) > 2


def test_what_is_half_written_can_be_played(
    model: str, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(monkeypatch, 21)
    assert generate(model, *STREAM[:-4], "--num-frames", "61", "--seed", "4", "-o", "a.mkv") == 130
    assert names(here) == ["a.partial.mkv", "a.run"]
    assert 1 <= len(Clip.read("a.partial.mkv").frames) <= 21


# -- stopped, and gone on with ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what Ctrl-C leaves after two chunks, and the record of the same run that nobody stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert generate(model, *STREAM, "-o", "whole.mkv") == 0
        stopping(patch, 5)
        assert generate(model, *STREAM, "-o", "a.mkv") == 130
    return folder


@pytest.fixture
def unfinished(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    folder = shutil.copytree(stopped, tmp_path / "copy")
    monkeypatch.chdir(folder)
    return folder


def test_ctrl_c_keeps_the_chunks_and_says_how_to_go_on(
    model: str, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stopping(patch, 5)
        assert generate(model, *STREAM, "-o", "a.mkv") == 130
    *_, told, last = capsys.readouterr().err.splitlines()
    command = f"vgen generate --resume a.run --model {model}"
    assert told == f"finished chunks are kept; go on with: {command}" and last == "vgen: stopped"
    assert names(here) == ["a.partial.mkv", "a.run"]
    assert _run(command.split()[1:]) == 0
    assert names(here) == ["a.json", "a.mkv"]


def test_going_on_gives_the_frames_and_the_request_of_the_run_that_nobody_stopped(
    model: str, unfinished: Path, capsys: Captured
) -> None:
    assert generate(model, *STREAM, "-o", "a.mkv", "--resume", "a.mkv", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["resumed_at"] == 2
    assert names(unfinished) == ["a.json", "a.mkv", "whole.json", "whole.mkv"]
    ours, whole = read_record("a.json"), read_record("whole.json")
    assert Clip.read("a.mkv").sha256() == ours["frames"]["sha256"] == whole["frames"]["sha256"]
    for part in ("resolved", "seed", "model", "versions", "prompts", "chunks", "drift"):
        assert ours[part] == whole[part], part
    assert whole["resumed_at"] is None


def test_a_second_run_of_that_name_is_refused(model: str, unfinished: Path, capsys: Captured) -> None:
    before = names(unfinished)
    for words in (STREAM, [PROMPT]):  # in chunks, and all at once
        assert generate(model, *words, "-o", "a.mkv") == 2
        assert "'a.run' holds an unfinished run of this name; go on with it (--resume a.run)" in capsys.readouterr().err
    assert names(unfinished) == before


OTHER = {
    "seed": (["--seed", "5"], "request.seed is '4' there, asked for '5'"),
    "prompt": (["a blue box"], "request.prompt is 'a red ball rolls' there, asked for 'a blue box'"),
    "a story": (["--prompt-at", "0s", "a ball"], "request.story is 'None' there"),
    "steps": (["--num-inference-steps", "9"], "request.num_inference_steps is '4' there, asked for '9'"),
    "length": (["--seconds", "9"], "request.seconds is 'None' there, asked for '9.0'"),
    "output": (["-o", "b.mkv"], "output.path is 'a.mkv' there, asked for 'b.mkv'"),
    "sheet": (["--sheet"], "output.sheet is 'None' there"),
    "device": (["--device", "cuda"], "run.device is 'cpu' there, asked for 'cuda'"),
    "sampler": (["--sampler", "causal"], "sampler.name is 'streaming' there"),
    "option": (["sampler.window=9"], "sampler.window is '2' there, asked for '9'"),
    "unknown key": (["sampler.windw=9"], "did you mean 'sampler.window'"),
}


@pytest.mark.parametrize("case", OTHER)
def test_another_request_is_refused(model: str, unfinished: Path, capsys: Captured, case: str) -> None:
    words, message = OTHER[case]
    _refused(capsys, unfinished, ["generate", "--model", model, "--resume", "a.run", *words], message)


def _refused(capsys: Captured, folder: Path, words: list[str], message: str) -> None:
    before = names(folder), names(folder / "a.run")
    capsys.readouterr()
    assert _run(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and len(err.strip().splitlines()) == 1, err
    assert (names(folder), names(folder / "a.run")) == before


def test_other_weights_and_versions_are_refused(model: str, unfinished: Path, capsys: Captured) -> None:
    again = ["generate", "--resume", "a.run"]
    _refused(capsys, unfinished, again, f"made with model '{model}'; name its folder with --model")
    other = shutil.copytree(model, unfinished.parent / "other")
    weights = other / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({key: value + 1e-3 for key, value in load_file(weights).items()}, weights, metadata={"format": "pt"})
    _refused(capsys, unfinished, [*again, "--model", str(other)], "made with other weights than those of model")
    _change(record={"versions": {**read_record("a.run/record.json")["versions"], "torch": "1.0"}})
    _refused(capsys, unfinished, [*again, "--model", model], "begun with torch '1.0', this is ")


def _change(record: dict[str, Any]) -> None:
    path = Path("a.run/record.json")
    path.write_text(json.dumps(read_record(path) | record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, "record schema 1; this vgen reads 3"),
        ({"output": {"suffix": "/../../b.mkv"}}, "writes a clip of kind '/../../b.mkv', which vgen does not"),
        ({"output": {"suffix": [".mkv"]}}, "writes a clip of kind"),
        ({"output": {}}, "writes a clip of kind 'None'"),
        ({"output": "a.mkv"}, "writes a clip of kind 'None'"),
        ({"output": None}, "writes a clip of kind 'None'"),
        ({"request": None}, "its 'request' is no object"),
        ({"resolved": {}}, "'resolved' lacks 'run.device'"),
        ({"resolved": {"run.device": "cpu", "run.dtype": "float32", "output.path": "/b.mkv"}}, "holds 'output.path'"),
        ({"resolved": {"run.device": "cpu", "run.dtype": "float32", "request.extend": "/b"}}, "holds 'request.extend'"),
        ({"resolved": {"run.device": "gpu", "run.dtype": "float32"}}, "unknown device 'gpu'"),
        (
            {"resolved": {"run.device": "cpu", "run.dtype": "float32", "sampler.lag": {}}},
            "sampler.lag takes int or str",
        ),
        ({"image": {"sha256": "0"}}, "image.png"),
        ({"extends": {"sha256": "0", "frames": 9}}, "base.mkv"),
    ],
    ids=lambda value: ",".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_the_record_in_the_folder_is_not_trusted(
    model: str, unfinished: Path, capsys: Captured, change: dict[str, Any], message: str
) -> None:
    _change(change)
    _refused(capsys, unfinished, ["generate", "--model", model, "--resume", "a.run"], message)


def test_an_image_or_a_clip_is_kept_with_the_run_and_must_be_the_same(
    model: str, inputs: Path, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option, source, kept in (("--image", "i.png", "image.png"), ("--extend", "c.mkv", "base.mkv")):
        words = [*STREAM[:-4], "--num-frames", "13", "--seed", "2", option, str(inputs / source)]
        assert generate(model, *words, "-o", "whole.mkv") == 0
        with monkeypatch.context() as patch:
            stopping(patch, 9)
            assert generate(model, *words, "-o", "a.mkv") == 130
        good = (here / "a.run" / kept).read_bytes()
        again = ["generate", "--model", model, "--resume", "a.run"]
        (here / "a.run" / kept).unlink()
        _refused(capsys, here, again, kept)
        if option == "--image":
            Image.new("RGB", (48, 32), "red").save(here / "a.run" / kept)
        else:
            Clip(frames=np.ones((5, 32, 48, 3), np.uint8), fps=8).save(here / "a.run" / kept)
        _refused(capsys, here, again, "not the image" if option == "--image" else "not the clip")
        (here / "a.run" / kept).write_bytes(good)
        assert _run(again) == 0
        assert Clip.read("a.mkv").sha256() == Clip.read("whole.mkv").sha256()
        assert not (here / "a.run").exists() and (here / "a.image.png").exists()


@pytest.mark.parametrize("case", ["at once", "previewed", "extended", "in one piece"])
def test_a_run_that_fails_before_its_first_chunk_leaves_nothing(
    model: str, inputs: Path, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """The frames of a clip that is gone on from are decoded, and a preview is written, before a chunk is finished."""
    words = [*STREAM, "--preview", *(["--extend", str(inputs / "c.mkv")] if case == "extended" else [])]
    if case == "in one piece":
        words[words.index("streaming")] = "full"
    stopping(monkeypatch, {"at once": 0, "extended": 1}.get(case), previewed=here)
    assert generate(model, *words, "-o", "a.mkv") == 130
    assert names(here) == []
    assert generate(model, *words) == 130
    assert names(here / "outputs") == [] and "go on with" not in capsys.readouterr().err


def test_a_run_that_is_writing_is_left_alone(
    model: str, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another of the same name begins before the first has finished a chunk."""
    real = Run.events
    codes: list[int] = []

    def events(run: Run, *args: Any, **words: Any) -> Iterator[Event]:
        for event in real(run, *args, **words):
            yield event
            if not codes:
                codes.append(generate(model, *STREAM, "-o", "a.mkv"))

    monkeypatch.setattr(Run, "events", events)
    assert generate(model, *STREAM, "-o", "a.mkv") == 0
    assert codes == [2] and "another run is writing it" in capsys.readouterr().err
    assert names(here) == ["a.json", "a.mkv"]


def test_what_is_no_run_stays_even_if_it_came_after_the_check(
    model: str, here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgen.cli.output.check_files", lambda *_: None)
    (here / "a.run").mkdir()
    (here / "a.run" / "notes.txt").write_text("mine")
    assert generate(model, *STREAM, "-o", "a.mkv") == 2
    assert "it exists and is no run of vgen" in capsys.readouterr().err
    assert names(here) == ["a.run"] and names(here / "a.run") == ["notes.txt"]


def test_killed_for_good_a_run_goes_on(model: str, here: Path, capsys: Captured) -> None:
    """`kill -9` of a process of its own, after some chunks."""
    words = ["generate", "--model", model, *STREAM[:-4], "--num-frames", "61", "--seed", "3", "-o"]
    program = f"import vgen.cli; raise SystemExit(vgen.cli._run({[*words, 'a.mkv']!r}))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as process:
        while len(list(here.glob("a.run/latents-*.safetensors"))) < 3:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert {"a.partial.mkv", "a.run"} <= set(names(here)) and "a.mkv" not in names(here)
    assert generate(model, "--resume", "a.run") == 0
    assert read_record("a.json")["resumed_at"] >= 2
    assert _run([*words, "b.mkv"]) == 0
    assert Clip.read("a.mkv").sha256() == Clip.read("b.mkv").sha256()
    assert names(here) == ["a.json", "a.mkv", "b.json", "b.mkv"]


# -- extend and replay ------------------------------------------------------------------------------------------------


def test_a_clip_that_went_on_is_replayed_with_the_clip_before(model: str, here: Path, capsys: Captured) -> None:
    assert generate(model, PROMPT, "--num-frames", "9", "--seed", "1", "-o", "a.mkv") == 0
    more = ["--extend", "a.json", "--num-frames", "8", "--seed", "2", "--sampler", "causal"]
    assert generate(model, "a blue box falls", *more, "-o", "b.mkv") == 0
    before, after = Clip.read("a.mkv").frames, Clip.read("b.mkv").frames
    assert np.array_equal(after[:9], before) and len(after) == 17
    again = ["replay", "b.json", "--model", model, "--verify", "-o", "c.mkv"]
    capsys.readouterr()
    assert _run([*again, "--extend", "a.mkv"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    for words, message in (
        (again, "it went on from another clip; name that with --extend"),
        ([*again, "--extend", "b.mkv"], "not the clip that was gone on from"),
        (["replay", "a.json", "--model", model, "--extend", "b.mkv"], "it went on from no clip"),
    ):
        assert _run(words) == 2
        assert message in capsys.readouterr().err
