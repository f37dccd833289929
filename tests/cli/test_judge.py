"""`vgen judge` with good and bad input: stdout, stderr, the disk, the exit code."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluate.vlm.chat_server import Answer, completion, serving
from tests.judge.sights import falling, measurement, painted, rule
from vgen.cli import _run
from vgen.clip import Clip
from vgen.judge.card import Card, provisional_card
from vgen.judge.rule import Rule
from vgen.judge.rules import RULES

JUMPS = rule("teleport", (measurement(2.0, text="Thing 0 jumps."),))
KEEPS = rule("vanish", (measurement(0.0, text="Thing 0 stays."),), group="permanence")
ORDER = replace(KEEPS, name="event_order", group="causal")
CARD = provisional_card({"teleport": 1.0, "vanish": 1.0})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a clip in it, in which three rules see what they are made to see."""
    seen = falling(jump_px=14)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vgen.judge.judging.observe", lambda frames, fps: seen)
    _only(monkeypatch, JUMPS, KEEPS, ORDER)
    monkeypatch.setattr("vgen.judge.judging.load_card", lambda: CARD)
    monkeypatch.setattr("vgen.judge.report.page.load_card", lambda: CARD)
    painted(seen).save(tmp_path / "ball.mkv")
    return tmp_path


def _only(monkeypatch: pytest.MonkeyPatch, *rules: Rule) -> None:
    for name in [*RULES]:
        monkeypatch.delitem(RULES, name)
    for one in rules:
        monkeypatch.setitem(RULES, one.name, one)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = _run(["judge", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_broken_law_is_exit_code_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "ball.mkv")
    assert code == 1 and out.startswith("ball.mkv: 1 law broken\n") and not err
    assert "frames 11-12: Thing 0 jumps." in out and "warning: the calibration is provisional" in out


def test_a_clean_clip_is_exit_code_zero(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "ball.mkv", "--rules", "permanence")
    assert code == 0 and "no law found broken" in out and "plausibility 1.00" in out


def test_json_is_a_report_per_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "ball.mkv", "ball.mkv", "--format", "json", "--rules", "teleport,vanish")
    reports = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and len(reports) == 2 and reports[0] == reports[1] and "2/2: ball.mkv" in err
    assert [v["rule"] for v in reports[0]["verdicts"]] == ["teleport", "vanish"]


def test_several_clips_make_a_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "ball.mkv", "ball.mkv")
    assert code == 1 and [line.split()[0] for line in out.splitlines()] == ["clip", "ball.mkv", "ball.mkv"]


def test_a_report_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "ball.mkv", "--report", "out", "--format", "json")
    assert code == 1 and "out/report.html" in err
    assert json.loads(Path("out/report.json").read_text()) == json.loads(out)
    assert "Thing 0 jumps." in Path("out/report.html").read_text()
    assert run(capsys, "ball.mkv", "ball.mkv", "--report", "out")[0] == 1
    assert {path.name for path in Path("out").iterdir()} == {"ball.html", "ball.json", "ball-2.html", "ball-2.json"}


def test_a_prompt_is_used_or_said_not_to_be(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "ball.mkv", "--prompt", "a red ball falls and bounces")
    assert "something bounces" in out
    assert "no event that can be checked" in run(capsys, "ball.mkv", "--prompt", "a cat")[1]
    code, _, err = run(capsys, "ball.mkv", "--prompt", "a red ball falls", "--rules", "teleport")
    assert code == 2 and "event_order" in err


# On `event_order`, which no card knows: that it is there; moving, pushed (turned), chain, the law (turned).
BREAKS = [completion(text) for text in ("Yes", "Yes", "No", "Yes", "Yes")]


def test_a_model_is_asked_what_is_left_open_and_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("ball.mkv", "--report", "out", "--format", "json")
    code, out, _ = run(capsys, *words)
    without = json.loads(out)
    with serving(*BREAKS) as server:
        asked = run(capsys, *words, "--ask", f"seer@{server.url}", "--votes", "1")
        assert len(server.got) == 5
        assert run(capsys, *words, "--ask", f"seer@{server.url}", "--votes", "1")[:2] == asked[:2]
        assert len(server.got) == 6  # that it is there; the answers are on record
    found = json.loads(asked[1])
    assert asked[0] == code and "1 law left open; asking seer: at most 4 calls, about" in asked[2]
    assert "ask: 4/4" in asked[2] and "--ask recorded:out.answers.jsonl" in asked[2]
    assert found | {"asked": []} == without and found == json.loads(Path("out/report.json").read_text())
    assert [(one["law"], one["outcome"], one["votes"]) for one in found["asked"]] == [
        ("event_order", "broken", ["broken"])
    ]
    assert "Asked of seer" in Path("out/report.html").read_text()
    Path("out.answers.jsonl").rename("kept.jsonl")
    again = run(capsys, "ball.mkv", "--ask", "recorded:kept.jsonl", "--votes", "1")
    assert again[0] == code and "says broken: event_order (1 of 1)" in again[1]


def test_laws_without_a_breach_stay_so_whatever_a_model_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(*BREAKS) as server:
        words = ("--ask", f"seer@{server.url}", "--votes", "1")
        code, out, _ = run(capsys, "ball.mkv", "--rules", "permanence,event_order", *words)
        assert code == 0 and "no law found broken" in out and "says broken: event_order" in out
        code, _, err = run(capsys, "ball.mkv", "--rules", "permanence", *words)
        assert code == 0 and "no law is left open; seer is not asked" in err


def test_an_endpoint_that_fails_is_an_error_of_its_law(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(completion("Yes"), completion("Yes"), Answer(status=400, body=b"too long")) as server:
        words = ("ball.mkv", "--report", "out", "--ask", f"seer@{server.url}", "--votes", "1")
        code, out, _ = run(capsys, *words)
    report = json.loads(Path("out/report.json").read_text())
    assert code == 1 and "frames 11-12: Thing 0 jumps." in out and report["plausibility"] is not None
    assert [(one["law"], one["outcome"], one["votes"]) for one in report["asked"]] == [("event_order", "error", [])]
    assert "HTTP 400: too long" in report["asked"][0]["reason"] and "failed: http" in out


def test_a_record_of_another_judge_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(*BREAKS) as server:
        words = ("ball.mkv", "--report", "out", "--votes", "1")
        assert run(capsys, *words, "--ask", f"seer@{server.url}")[0] == 1
        before = Path("out.answers.jsonl").read_bytes()
        code, _, err = run(capsys, *words, "--ask", f"other@{server.url}")
    assert code == 2 and "holds answers of seer, not of other; name another --report" in err
    assert Path("out.answers.jsonl").read_bytes() == before


def _bad_files() -> None:
    Path("empty.mp4").write_bytes(b"")
    Path("noise.mp4").write_bytes(bytes(range(256)) * 40)
    whole = Clip.read("ball.mkv").save("cut.mp4").read_bytes()
    Path("cut.mp4").write_bytes(whole[: len(whole) // 2])
    Path("note.txt").write_text("no video")
    Path("folder").mkdir()
    Clip(frames=np.zeros((1, 32, 32, 3), np.uint8), fps=8).save("one.mkv")
    Clip(frames=np.zeros((4, 8, 8, 3), np.uint8), fps=8).save("small.mkv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none.mp4",), "none.mp4"),
        (("empty.mp4",), "empty.mp4"),
        (("noise.mp4",), "noise.mp4"),
        (("cut.mp4",), "cut.mp4"),
        (("note.txt",), "as video"),
        (("folder",), "no .png"),
        (("one.mkv",), "one frame"),
        (("small.mkv",), "8x8 pixels"),
        (("ball.mkv", "one.mkv"), "one frame"),
        (("ball.mkv", "--rules", "telport"), "did you mean 'teleport'"),
        (("ball.mkv", "--rules", ","), "no rule was named"),
        (("ball.mkv", "--fps", "8"), "frame rate of its own"),
        (("ball.mkv", "--format", "xml"), "xml"),
        (("--rules", "teleport"), "CLIP"),
        (("ball.mkv", "--report", "folder/no/out"), "does not exist"),
        (("ball.mkv", "--report", "note.txt"), "something else"),
        (("ball.mkv", "--report", "."), "no name for a file"),
        (("ball.mkv", "--ask", "measured"), "is a critic"),
        (("ball.mkv", "--ask", "o3"), "nobody to ask is called 'o3'; possible: MODEL@https://host/v1"),
        (("ball.mkv", "--ask", "recorded:none"), "cannot read 'none'"),
        (("ball.mkv", "--ask", "m@http://127.0.0.1:9/v1"), "cannot be asked"),
        (("ball.mkv", "--ask", "recorded:none", "--votes", "2"), "give an odd number"),
        (("ball.mkv", "--votes", "3"), "name whom to ask"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    _bad_files()
    before = sorted(path.name for path in here.rglob("*"))
    options = () if "--report" in words else ("--report", "out")
    code, out, err = run(capsys, *words, *options)
    assert code == 2 and not out and message in err
    assert [line for line in err.splitlines() if line.startswith("vgen: ")] == [err.splitlines()[-1]]
    assert sorted(path.name for path in here.rglob("*")) == before


def test_rules_and_card_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "rules")
    assert code == 0 and all(one.statement in out for one in RULES.values())
    code, out, _ = run(capsys, "rules", "--json")
    assert [row["rule"] for row in json.loads(out)] == [*RULES]
    code, out, _ = run(capsys, "card")
    assert code == 0 and Card(rules={}).as_dict().keys() == json.loads(out).keys()


def test_help_shows_the_options_of_a_clip_and_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0 and "CLIP..." in out and "--report" in out and "rules" in out
    assert run(capsys)[0] == 2


def test_the_help_of_vgen_loads_no_judge() -> None:
    script = "import sys; from vgen.cli.app import app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"cv2", "numpy", "jinja2", "vgen.judge"} & {*done.stdout.split()}
