"""`vgen evaluate` with good and bad input: stdout, stderr, the disk, the exit code."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.brightness import brightness, grey, item
from tests.evaluate.vlm.chat_server import Answer, completion, serving
from tests.folders import tiny_folder
from vgen.cli import _run
from vgen.errors import ConfigError
from vgen.evaluate.benchmark import Item, Measures, Sample, Score
from vgen.evaluate.benchmarks import BENCHMARKS
from vgen.evaluate.jury import Cost, Jury
from vgen.evaluate.layout import Found, check_root, files_of
from vgen.evaluate.store import Row, Store
from vgen.judge.card import Figure

Run = Callable[..., tuple[int, str, str]]
ASKED = "MODEL@https://host/v1"


def _spoken(item: Item, sample: Sample, jury: Jury) -> Measures:
    assert jury.chat is not None
    return {"value": float(jury.chat.complete([item.prompt]).text)}


def _layout(root: Path) -> Sequence[Found]:
    return files_of(root, ("list.json", "frames/0.png"))


def _of_root(root: Path | None) -> Any:
    check_root("rooted", root, _layout)
    return brightness(2).items(None)


def _told(path: Path) -> Sequence[Score]:
    value = float(path.read_text())
    return [Score(name="said@them", figure=Figure(value=value, interval=(0.2, 0.4), count=7), group="a [model]")]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(5):
        grey(40 * (number + 1)).save(folder / f"{number}.mkv")
    return folder


@pytest.fixture
def here(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with videos of five of the six items, and benchmarks: measured, asking a chat, with data, of judges."""
    monkeypatch.chdir(tmp_path)
    for name in ("WORLD_SIZE", "VGEN_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(videos, tmp_path / "videos")
    chat = {"needs": frozenset({"chat"}), "score": _spoken, "cost": lambda items, jury: Cost(calls=len(items))}
    rooted = {"items": _of_root, "layout": _layout}
    for one in (
        brightness(),
        brightness(2, name="spoken", **chat),
        brightness(2, name="rooted", **rooted),
        brightness(2, name="of-judges", kind="judge"),
        brightness(2, name="told", recount=_told),
    ):
        monkeypatch.setitem(BENCHMARKS, one.name, one)
    return tmp_path


@pytest.fixture
def run(here: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        code = _run(["evaluate", *words])
        return code, *capsys.readouterr()

    return call


VIDEOS = ("brightness", "--videos", "videos", "-o", "out")


def test_a_complete_run_is_exit_code_zero(run: Run) -> None:
    code, out, err = run(*VIDEOS, "--limit", "4")
    assert code == 0 and out.startswith("4 of 4 items scored, a part of 6\n") and "[0." in out
    assert "4 items of 6, from 2 of 2 categories; videos of videos; out" in err and "score: 4/4" in err
    assert "table: out/table.md; gallery: out/gallery.html" in err
    names = {path.name for path in Path("out").iterdir()}
    assert names == {"scores.jsonl", "table.md", "table.csv", "table.json", "gallery.html"}


def test_an_incomplete_one_is_exit_code_one_and_has_no_headline(run: Run) -> None:
    Path("videos/3.mkv").write_bytes(b"rubbish")
    code, out, err = run(*VIDEOS)
    assert code == 1 and "4 of 6 items scored, 1 missing, 1 error; PARTIAL" in out and "withheld" in out
    assert "5 of 6 clips are there; missing: 5.mp4" in err
    assert re.search(r"^b/5: missing: no '5\.mp4' and no '5\.\*'$", err, re.MULTILINE)
    assert re.search(r"^b/3: error: cannot read 'videos/3\.mkv'", err, re.MULTILINE)
    grey(9).save("videos/3.mkv")
    grey(9).save("videos/5.mp4")
    code, out, err = run(*VIDEOS, "--resume")
    assert code == 0 and "6 of 6 items scored" in out and "4 scored already" in err and "kept: 4/4" in err


def test_json_alone_is_on_stdout(run: Run) -> None:
    for words, code in ((("--limit", "4"), 0), ((), 1)):
        got, out, _ = run(*VIDEOS, "--format", "json", *words, "--resume")
        assert got == code and json.loads(out) == json.loads(Path("out/table.json").read_text())


def test_shards_write_one_table(run: Run) -> None:
    code, out, err = run(*VIDEOS, "--limit", "3", "--shard", "1/2")
    assert code == 1 and "2 of 3 items scored, a part of 6, 1 unseen" in out and "part 1 of 2: 2" in err
    code, out, _ = run(*VIDEOS, "--limit", "3", "--shard", "2/2")
    assert code == 0 and "3 of 3 items scored" in out
    assert run(*VIDEOS, "--limit", "3", "--shard", "2/2")[0] == 2
    assert run("brightness", "--videos", "videos", "--shard", "1/2")[0] == 2


def test_processes_launched_together_take_parts_and_the_first_adds_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    class Launched:
        """As accelerate has it, for process `index` of two."""

        index = 1
        num_processes = 2

        def __init__(self, cpu: bool, timeout: timedelta) -> None:
            assert timeout > timedelta(days=1)  # one part may take much longer than another
            self.process_index, self.is_main_process = self.index, self.index == 0

        def wait_for_everyone(self) -> None:
            waited.append(self.index)

    told = {"WORLD_SIZE": 2, "RANK": 1, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": 1}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    # there is no store to meet at: tests/parallel/test_evaluate.py has real processes
    monkeypatch.setattr("vgen.parallel.launched.register", lambda process: None)
    monkeypatch.setattr("vgen.parallel.launched.leave", lambda process: None)
    monkeypatch.setattr("vgen.cli.together.verdict", lambda message, code, beside: (message, code))
    monkeypatch.setattr("accelerate.PartialState", Launched)
    code, out, err = run(*VIDEOS, "--limit", "3")
    assert code == 0 and not out and "part 2 of 2: 1" in err and not Path("out/table.md").exists()
    Launched.index = 0
    code, out, err = run(*VIDEOS, "--limit", "3")
    assert code == 0 and "3 of 3 items scored" in out and "part 1 of 2: 2" in err and waited == [1, 0]
    code, _, err = run(*VIDEOS, "--limit", "3", "--shard", "1/2")
    assert code == 2 and "2 processes were launched together" in err
    assert run("brightness", "--videos", "videos")[0] == 2


def test_processes_are_started_with_the_same_words(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], int]] = []

    def launch(words: Sequence[str], processes: int, notes: Path) -> tuple[int, str | None]:
        started.append(([*words], processes))
        return 1, "process 1 has ended"

    monkeypatch.setattr("vgen.parallel.launch.launch", launch)
    code, out, err = run(*VIDEOS, "--nproc", "2")
    assert code == 1 and not out and "process 1 has ended" in err and not Path("out").exists()
    assert started == [(["evaluate", *VIDEOS, "--nproc", "2"], 2)]
    assert run(*VIDEOS, "--limit", "1", "--nproc", "1")[0] == 0 and len(started) == 1
    code, _, err = run(*VIDEOS, "--nproc", "2", "--shard", "1/2")
    assert code == 2 and "each take a part; no --shard" in err
    code, _, err = run("brightness", "--videos", "videos", "--nproc", "2")
    assert code == 2 and "name it with -o" in err and len(started) == 1


def test_a_run_without_a_folder_gets_a_new_one(run: Run) -> None:
    assert run("brightness", "--videos", "videos", "--limit", "1")[0] == 0
    (made,) = Path("outputs").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-evaluate-brightness", made.name) and (made / "table.md").is_file()


def test_a_model_makes_the_clips(run: Run, tmp_path: Path) -> None:
    tiny_folder(tmp_path / "tiny", layout="wan2.1")
    words = ("brightness", "--model", "tiny", "-o", "out", "--limit", "2", "request.num_inference_steps=2")
    code, _, err = run(*words, "request.prompt=red")
    assert code == 2 and "request.prompt is not for a benchmark" in err and not Path("out").exists()
    # the tiny model knows few words, and none of this benchmark's
    code, _, err = run(*words)
    assert code == 2 and "knows no word of the prompt" in err and not Path("out").exists()


SCRIPT = 'cp videos/0.mkv "$1"'


def command_of(script: str, name: str = "make.sh") -> str:
    Path(name).write_text(f"#!/bin/sh\n{script}\n")
    Path(name).chmod(0o755)
    return f"./{name} {{output}} {{prompt_file}} {{seed}}"


def test_a_command_makes_the_clips_and_is_gone_on_with(run: Run) -> None:
    grey(50).save("one.mp4")
    words = (
        "brightness",
        "--command",
        command_of('[ $3 = 1 ] && exit 7; cp one.mp4 "$1"'),
        "-o",
        "out",
        "--limit",
        "3",
    )
    code, _, err = run(*words)
    assert code == 1 and "3 calls of the command, each at most 600 s: 30 minutes at most" in err
    assert "b/1: error: the command ended with 7" in err
    command_of('cp one.mp4 "$1"')
    code, _, err = run(*words, "--resume")
    assert code == 0 and "1 call of the command" in err
    code, _, err = run(*words, "--resume", "--seed", "4")
    assert code == 2 and "another source seed: 0, not 4" in err
    before = Path("out/table.json").read_bytes()
    code, _, err = run("brightness", "--videos", "videos", "-o", "out", "--resume")
    assert code == 2 and "another source" in err and Path("out/table.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("brightnes", "--videos", "videos"), "did you mean 'brightness'"),
        (("brightness",), "whose clips? give one of --model"),
        (("brightness", "--videos", "none"), "no such folder"),
        (("brightness", "--videos", "."), "holds none of the 6 clips, which should be called 0.mp4, 1.mp4, 2.mp4"),
        (("brightness", "--videos", "videos", "--seed", "3"), "--seed makes no sense"),
        (("brightness", "--videos", "videos", "--limit", "0"), "--limit"),
        (("brightness", "--videos", "videos", "--limit", "2", "--full"), "give one of them"),
        (("brightness", "--videos", "videos", "--shard", "3/2"), "such as 2/4"),
        (("brightness", "--videos", "videos", "--resume"), "name it with -o"),
        (("brightness", "--videos", "videos", "--judge", "measured"), "asks no --judge"),
        (("brightness", "--videos", "videos", "--format", "xml"), "xml"),
        (("brightness", "--videos", "videos", "sampler"), "key=value"),
        (("brightness", "--command", "make {output}"), "lacks {prompt_file}"),
        (("brightness", "--command", "no-such {output} {prompt_file}"), "no program 'no-such'"),
        (("brightness", "--model", "no-such"), "no-such"),
        (("spoken", "--videos", "videos"), "asks a chat"),
        (("spoken", "--videos", "videos", "--judge", "nobody"), "no judge is called 'nobody'"),
        (("spoken", "--videos", "videos", "--judge", "m@http://127.0.0.1:9/v1"), "cannot be asked"),
        (("rooted", "--videos", "videos"), "--root"),
        (("rooted", "--videos", "videos", "--root", "videos"), "2 of 2 files are missing or wrong: list.json"),
        (("of-judges", "--videos", "videos"), "clips of its own"),
        (("doctor", "brightness", "videos"), "nothing to check"),
        (("doctor", "rooted", "none"), "no such folder"),
        (("items", "playground"), "name a folder"),
        (("recount", "brightness", "videos"), "possible: phygenbench, tc-bench-t2v, tc-bench-i2v, told"),
        (("recount", "told", "none"), "'none': no such file or folder"),
        (("recount", "phygenbench", "videos"), "cannot read 'videos'"),
        (("recount", "tc-bench-i2v", "videos"), "name a checkout of TC-Bench's repository"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run: Run, here: Path, words: tuple[str, ...], message: str) -> None:
    before = sorted(here.rglob("*"))
    outside = () if words[0] in ("doctor", "items", "recount") or "--resume" in words else ("-o", "out")
    code, out, err = run(*words, *outside)
    assert code == 2 and not out and message in err
    assert [line for line in err.splitlines() if line.startswith("vgen: ")] == err.splitlines()
    assert sorted(here.rglob("*")) == before


def test_scores_and_files_that_stand_there_are_left(run: Run) -> None:
    assert run(*VIDEOS, "--limit", "2")[0] == 0
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    code, _, err = run(*VIDEOS, "--limit", "2")
    assert code == 2 and "holds scores already; go on with them (--resume)" in err
    code, _, err = run("brightness", "--videos", "videos", "-o", "videos/0.mkv")
    assert code == 2 and "Not a directory" in err
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_a_chat_is_asked_once_and_its_answers_are_kept(run: Run) -> None:
    words = ("spoken", "--videos", "videos", "-o", "out")
    with serving(completion("0.25"), completion("0.25"), completion("0.75")) as server:
        spec = f"seer@{server.url}"
        code, out, err = run(*words, "--judge", spec)
        assert code == 0 and "judge seer: 2 calls, about" in err and "0.500" in out
        asked = len(server.got)
        code, _, err = run(*words, "--judge", spec, "--resume")
        assert code == 0 and "2 scored already" in err and "calls" not in err
        assert len(server.got) - asked <= 1  # that it is there
    assert len(Path("out/answers.jsonl").read_text().splitlines()) == 2
    assert run("spoken", "--videos", "videos", "-o", "again", "--judge", "recorded:out/answers.jsonl")[0] == 0


def test_an_endpoint_that_talks_nonsense_is_no_score(run: Run) -> None:
    with serving(completion("0.25"), completion("0.25"), Answer(body=b"<html>")) as server:
        words = ("spoken", "--videos", "videos", "-o", "out", "--judge", f"seer@{server.url}")
        code, out, err = run(*words)
        assert code == 1 and "1 of 2 items scored, 1 error" in out and "b/1: error: " in err
        server.answers.append(completion("0.75"))
        code, _, err = run(*words, "--resume")
        assert code == 0 and "1 scored already" in err


def test_another_judge_or_card_is_not_gone_on_with(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*VIDEOS, "--limit", "2")[0] == 0
    path = Path("out/scores.jsonl")
    header, *rows = path.read_text().splitlines()
    old = json.loads(header)
    old["versions"]["judge card"] = "0123456789abcdef"
    path.write_text("\n".join([json.dumps(old), *rows]) + "\n")
    code, _, err = run(*VIDEOS, "--limit", "2", "--resume")
    assert code == 2 and 'was scored with another versions judge card: "0123456789abcdef"' in err


def test_first_frames_are_drawn_where_the_run_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path | None] = []

    def items(root: Path | None) -> Any:
        seen.append(root)
        return brightness(2).items(None)

    monkeypatch.setitem(BENCHMARKS, "drawing", brightness(2, name="drawing", draws_root=True, items=items))
    assert run("drawing", "--videos", "videos", "-o", "out")[0] == 0
    assert run("drawing", "--videos", "videos", "-o", "out2", "--root", "frames")[0] == 0
    assert seen == [Path("out/first_frames"), Path("frames")]
    assert run("drawing", "--videos", "videos", "-o", "out", "--root", "frames", "--resume")[0] == 0


def test_what_ends_a_run_keeps_what_was_scored(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add = Store.add

    def ending(self: Store, row: Row) -> None:
        add(self, row)
        if row.item == "b/1":
            raise error

    for error in (ConfigError("no key"), KeyboardInterrupt(), SystemExit(143)):
        with monkeypatch.context() as patch:
            patch.setattr(Store, "add", ending)
            code, out, err = run(*VIDEOS, "--limit", "4", "--resume")
        assert not out and err.splitlines()[-1].startswith("vgen: ")
        assert code == {ConfigError: 2, KeyboardInterrupt: 130, SystemExit: 143}[type(error)]
        code, _, err = run(*VIDEOS, "--limit", "4", "--resume")
        assert code == 0 and "2 scored already" in err
        Path("out/scores.jsonl").unlink()


def test_the_benchmarks_are_listed(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0 and all(f"{name}: {one.title}\n" in out for name, one in BENCHMARKS.items())
    code, out, _ = run("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert [*rows] == [*BENCHMARKS] and rows["spoken"]["asks"] == ["chat"] and not rows["playground"]["root"]


def test_answers_of_others_are_added_up(run: Run) -> None:
    Path("answers").write_text("0.3")
    code, out, err = run("recount", "told", "answers")
    assert code == 0 and not err and "a [model]: said@them" in out and "[0.200, 0.400]" in out
    code, out, _ = run("recount", "told", "answers", "--format", "json")
    figure = {"value": 0.3, "interval_95": [0.2, 0.4], "clips": 7}
    score = {"group": "a [model]", "name": "said@them", "better": "higher", "beside": {}, **figure}
    assert code == 0
    assert json.loads(out) == {"schema": "vgen evaluate recount 1", "benchmark": "told", "scores": [score]}


def test_items_are_what_the_folder_of_videos_is_searched_for(run: Run) -> None:
    code, out, _ = run("items", "brightness", "--csv", "--limit", "3")
    rows = [*csv.DictReader(io.StringIO(out))]
    assert code == 0 and [row["file"] for row in rows] == ["0.mp4", "1.mp4", "2.mp4"]
    told = {"id": "b/1", "prompt": "grey <1>", "image": "", "seconds": "", "seed": "1", "file": "1.mp4"}
    assert rows[1] == told | {"only_full": ""}
    code, out, _ = run("items", "brightness")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["a/0", "b/1", "a/2", "b/3", "a/4", "b/5"]


def test_what_only_a_model_is_asked_for_is_left_out_with_a_word(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def items(root: Path | None) -> Any:
        grown = replace(item(1), only_full=True)
        return [item(0), grown, replace(item(2), only_full=True, redrawn=lambda height, width: grey(1).frames)]

    def remarks(items: Sequence[Item], rows: Any) -> Sequence[str]:
        return [f"of {len(rows)} rows"]

    monkeypatch.setitem(BENCHMARKS, "fuller", brightness(name="fuller", items=items, default_limit=4, remarks=remarks))
    code, out, _ = run("items", "fuller")
    assert code == 0 and [json.loads(line)["only_full"] for line in out.splitlines()] == ["", True]
    code, out, err = run("fuller", "--videos", "videos", "-o", "part")
    assert code == 0 and "1 of 1 items scored, a part of 2" in out and "left out" not in err and "of 1 rows" in out
    code, out, err = run("fuller", "--videos", "videos", "-o", "whole", "--full")
    assert code == 0 and "2 of 2 items scored" in out and "of 2 rows" in out
    assert "1 item left out: clips for a VAE, which only --model is asked for" in err
    for name in ("table.md", "table.json", "gallery.html"):
        assert "of 2 rows" in Path("whole", name).read_text(), name


def test_the_doctor_names_every_file(run: Run) -> None:
    Path("root").mkdir()
    Path("root/list.json").write_text("[]")
    code, out, _ = run("doctor", "rooted", "root")
    assert code == 1 and out == "missing  frames/0.png\n1 of 2 are as they should be\n"
    Path("root/frames").mkdir()
    Path("root/frames/0.png").write_bytes(b"x")
    code, out, _ = run("doctor", "rooted", "root")
    assert code == 0 and out == "2 of 2 are as they should be\n2 items\n"


def test_help_tells_the_placeholders(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0 and "{prompt_file}" in out and "doctor" in out and "BENCHMARK" in out
    assert run()[0] == 2


def test_the_help_loads_no_benchmark() -> None:
    script = "import sys; from vgen.cli import _run; _run(['evaluate', '--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "cv2", "numpy", "jinja2", "accelerate", "vgen.evaluate"} & {*done.stderr.split()}


@pytest.mark.slow
def test_a_killed_command_line_leaves_no_half_clip_and_goes_on(here: Path) -> None:
    """SIGTERM, to a process of its own, while a command runs."""
    grey(50, frames=8).save("one.mp4")
    command_of(
        f'[ -f first ] && {{ echo $$ > second; echo half > "$1"; sleep 60; }}; touch first; cp {here}/one.mp4 "$1"'
    )
    script = (
        "from tests.evaluate.brightness import brightness; from vgen.evaluate.benchmarks import BENCHMARKS;"
        "BENCHMARKS['brightness'] = brightness(); from vgen.cli import main; main()"
    )
    words = ["evaluate", "brightness", "--command", "./make.sh {output} {prompt_file}", "--limit", "2", "-o", "out"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", script, *words], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for _ in range(600):
            if Path("second").exists() and Path("second").read_text():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 143 and said.splitlines()[-1] == "vgen: stopped"
    assert [path.name for path in Path("out/clips").rglob("*")] == ["0.mp4"]
    assert len(Path("out/scores.jsonl").read_text().splitlines()) <= 2
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("second").read_text()), 0)
