"""What a report looks like: the schema of report.json, the page that needs nothing else, the folder."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.judge.sights import falling, measurement, observation, painted, rule, track
from vgen.errors import InputError
from vgen.judge.asked import Asked
from vgen.judge.card import Card, provisional_card
from vgen.judge.judging import Examination, report_on
from vgen.judge.observation import Observation, Sight
from vgen.judge.report.data import REPORT_SCHEMA, as_dict, to_json
from vgen.judge.report.folder import check_folder, report_folder
from vgen.judge.report.page import to_html
from vgen.judge.report.pictures import crop_of, in_frame
from vgen.judge.report.plots import paths, timeline, trajectory
from vgen.judge.report.text import listing, summary, table
from vgen.judge.rule import Abstention
from vgen.judge.rules import RULES

CARD = provisional_card({"teleport": 1.0, "vanish": 1.0})
JUMP = (11, 12)
RULE_SET = (
    rule("teleport", (measurement(4 / 3, frames=JUMP, text="it <jumps> & lands"), measurement(0.1, frames=JUMP))),
    rule("vanish", Abstention(status="undecidable", reason="too short"), group="permanence"),
    rule("spin", (measurement(1.0, objects=()),), group="mechanics"),
)


def examination(seen: Observation | None = None, *, name: str = "a.mp4", card: Card = CARD) -> Examination:
    seen = falling(jump_px=14) if seen is None else seen
    return Examination(
        clip=painted(seen), observation=seen, report=report_on(seen, name=name, rules=RULE_SET, card=card)
    )


def holds(value: Any, schema: dict[str, Any], at: str = "$") -> list[str]:
    """What is wrong with a value by the part of JSON Schema that `REPORT_SCHEMA` uses."""
    if "anyOf" in schema:
        return [] if any(not holds(value, each, at) for each in schema["anyOf"]) else [f"{at} fits none"]
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int}
    kind = schema.get("type")
    if kind == "number" and (not isinstance(value, int | float) or isinstance(value, bool)):
        return [f"{at} is no number"]
    if kind in kinds and not isinstance(value, kinds[kind]):
        return [f"{at} is no {kind}"]
    wrong = [f"{at} is not {schema['const']}"] if value != schema.get("const", value) else []
    wrong += [f"{at} is not one of them"] if value not in schema.get("enum", [value]) else []
    if kind in ("number", "integer"):
        wrong += (
            [f"{at} is out of range"]
            if not schema.get("minimum", value) <= value <= schema.get("maximum", value)
            else []
        )
    if kind == "array":
        size = len(value)
        wrong += [f"{at} has {size}"] if not schema.get("minItems", 0) <= size <= schema.get("maxItems", size) else []
        wrong += [found for i, each in enumerate(value) for found in holds(each, schema["items"], f"{at}[{i}]")]
    if kind == "object":
        known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        wrong += [f"{at} lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, each in value.items():
            if name in known or isinstance(more, dict):
                wrong += holds(each, known.get(name, more), f"{at}.{name}")
            elif not more:
                wrong.append(f"{at} has {name}")
    return wrong


def test_a_report_has_its_schema_and_the_parts_that_were_promised() -> None:
    report = examination().report
    content = json.loads(to_json(report))
    assert holds(content, REPORT_SCHEMA) == [] and content == as_dict(report)
    assert {"schema", "clip", "plausibility", "coverage", "verdicts", "calibration", "versions"} <= set(content)
    evidence = content["verdicts"][0]["evidence"][0]
    assert {"frames", "objects", "quantity", "value", "expected", "sigma", "text"} <= set(evidence)
    assert evidence["value"] == 1.33333 and content["verdicts"][0]["violation"] == 0.6667


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("coverage"),
        lambda content: content.update(more=1),
        lambda content: content.update(plausibility=1.5),
        lambda content: content["verdicts"][0].update(status="maybe"),
        lambda content: content["verdicts"][0]["evidence"][0].update(frames=[1]),
    ],
)
def test_the_schema_sees_what_is_wrong(spoil: Any) -> None:
    content = as_dict(examination().report)
    spoil(content)
    assert holds(content, REPORT_SCHEMA)


def test_the_same_clip_gives_the_same_bytes() -> None:
    assert to_json(examination().report) == to_json(examination().report)
    assert to_html(examination(), card=CARD) == to_html(examination(), card=CARD)


class Page(HTMLParser):
    """Tags, what they refer to, and the plain text of a page; asserts that tags are closed in their order."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.refers: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "data"):
                self.refers.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            assert not name.startswith("on"), f"a script in {tag}"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def test_a_page_needs_nothing_else() -> None:
    html = to_html(examination(), card=CARD)
    page = Page(html)
    assert not {"script", "link", "iframe", "img", "object"} & {*page.tags}
    pictures = [ref for ref in page.refers if ref.startswith("data:image/")]
    inner = [ref for ref in page.refers if ref.startswith("#")]
    assert len(pictures) + len(inner) == len(page.refers) and len(pictures) >= 3
    assert {ref[1:] for ref in inner} <= {*page.ids} and len({*page.ids}) == len(page.ids)
    assert not re.search(r"url\(|@import|https?://", html)
    assert "prefers-color-scheme: dark" in html


def test_a_page_says_what_was_found() -> None:
    text = " ".join(Page(to_html(examination(name="<i>odd</i>.mp4"), card=CARD)).text.split())
    for words in ("<i>odd</i>.mp4", "1 law broken", "it <jumps> & lands", "Frames 11-12", "too short", "provisional"):
        assert words in text, words
    assert CARD.digest[:12] in text


@pytest.mark.parametrize(
    "seen",
    [
        observation([track(0, np.full((24, 2), np.nan))]),
        observation([track(i, np.tile([9.0 * i, 40.0], (24, 1))) for i in range(12)]),
        replace(falling(jump_px=14), camera=replace(falling().camera, moving=True)),
    ],
    ids=["never seen", "many", "moving camera"],
)
def test_every_observation_makes_a_page(seen: Observation) -> None:
    assert len(Page(to_html(examination(seen), card=CARD)).tags) > 50


@pytest.mark.parametrize("seen", [observation(), observation([track(0, np.array([[5.0, 5.0], [6.0, 5.0]]))])])
def test_a_clip_with_hardly_anything_makes_a_page(seen: Observation) -> None:
    frames = (0, seen.num_frames - 1)
    report = report_on(seen, rules=[rule("teleport", (measurement(9.0, frames=frames, objects=()),))], card=CARD)
    found = Examination(clip=painted(seen), observation=seen, report=report)
    assert "1 law broken" in Page(to_html(found, card=CARD)).text


def test_drawings_are_well_formed() -> None:
    seen = falling(jump_px=14)
    for drawing in (timeline(seen, [(3, 5)]), paths(seen), trajectory(seen, seen.tracks[0], (11, 12), 1)):
        assert len(list(ElementTree.fromstring(str(drawing)).iter())) > 4  # noqa: S314 (drawn by ourselves)


def test_what_is_drawn_goes_back_with_the_camera() -> None:
    seen = falling()
    shifted_F33 = seen.camera.to_reference_F33.copy()
    shifted_F33[5, 0, 2] = 7.0  # what is at x in frame 5 is at x + 7 in the reference
    panned = replace(seen, camera=replace(seen.camera, moving=True, to_reference_F33=shifted_F33))
    point_P2 = np.array([[20.0, 30.0]])
    assert in_frame(panned, 5, point_P2) == pytest.approx(np.array([[13.0, 30.0]]))
    assert in_frame(panned, 6, point_P2) == pytest.approx(point_P2)


def test_a_crop_holds_the_thing_and_stays_inside() -> None:
    seen = falling(jump_px=14)
    for frames in ([0], [11, 12], list(range(24))):
        left, top, width, height = crop_of(seen, frames, [0])
        assert left >= 0 and top >= 0 and left + width <= seen.width + 1e-9 and top + height <= seen.height + 1e-9
        assert width / height == pytest.approx(seen.width / seen.height)
        x, y = seen.tracks[0].xy_F2[frames].T
        inside = (y > 0) & (y < seen.height)  # it falls out of the picture
        assert ((x >= left) & (x <= left + width) & (y >= top) & (y <= top + height))[inside].all()
    assert crop_of(seen, [3], []) == (0, 0, seen.width, seen.height)


def test_a_timeline_shows_when_a_thing_was_hidden() -> None:
    seen = falling()
    sight_F = seen.tracks[0].sight_F.copy()
    sight_F[8:12] = Sight.OCCLUDED
    hidden = replace(seen, tracks=(replace(seen.tracks[0], sight_F=sight_F), seen.tracks[1]))
    assert "occluded, frames 8 to 11" in timeline(hidden, []) and "occluded" not in timeline(seen, [])


def test_a_terminal_is_told_the_same() -> None:
    report = examination().report
    lines = summary(report).splitlines()
    assert lines[0] == "a.mp4: 1 law broken"
    assert "plausibility 0.33" in lines[1] and "1 of 2 rules" in lines[1] and "2 undecidable" in lines[1]
    assert lines[2].split() == ["0.67", "teleport", "frames", "11-12:", "it", "<jumps>", "&", "lands"]
    assert any("too short (vanish)" in line for line in lines)
    assert [row.split()[0] for row in table([report, replace(report, clip="b.mp4")]).splitlines()] == [
        "clip",
        "a.mp4",
        "b.mp4",
    ]


ASKED = (
    Asked(
        law="vanish", outcome="broken", votes=("broken", "kept", "broken"), chance=0.25, judge="<o3>", prompts="1a2b"
    ),
    Asked(law="spin", outcome="premise", reason="premise not met: flying", judge="<o3>", prompts="1a2b"),
    Asked(law="mirror", outcome="error", reason="no connection", judge="<o3>", prompts="1a2b"),
)


def test_what_was_asked_stands_apart() -> None:
    found = examination()
    asked = replace(found, report=replace(found.report, asked=ASKED))
    content, without = as_dict(asked.report), as_dict(found.report)
    assert holds(content, REPORT_SCHEMA) == [] and without["asked"] == []
    assert {name for name in content if content[name] != without[name]} == {"asked"}
    assert content["asked"][0] == {
        "law": "vanish",
        "outcome": "broken",
        "votes": ["broken", "kept", "broken"],
        "chance": 0.25,
        "reason": "",
        "judge": "<o3>",
        "prompts": "1a2b",
    }
    told = summary(asked.report)
    assert told.startswith(summary(found.report)) and told.removeprefix(summary(found.report)).splitlines() == [
        "",
        "asked of <o3>#1a2b, which counts for nothing above:",
        "  says broken: vanish (2 of 3, chance of kept 0.25)",
        "  saw no case of: spin",
        "  failed: no connection (mirror)",
    ]
    assert "says broken: vanish" in table([asked.report, found.report])
    page = " ".join(Page(to_html(asked, card=CARD)).text.split())
    assert "Asked of <o3>" in page and "says broken vanish (2 of 3, chance of kept 0.25)" in page
    assert "no connection" in page and "Asked of" not in Page(to_html(found, card=CARD)).text


def test_reports_of_an_older_schema_are_reports(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("")
    (tmp_path / "report.json").write_text('{"schema": "vgen judge report 1"}')
    check_folder(tmp_path)


def test_every_rule_is_listed() -> None:
    text = listing([*RULES.values(), *RULE_SET], CARD)
    assert all(one.name in text and one.statement in text for one in RULES.values())
    assert "uncalibrated" in text and "provisional" in text


def test_reports_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vgen.judge.report.page.load_card", lambda: CARD)
    out = tmp_path / "out"
    with report_folder(out, alone=True) as folder:
        folder.add(examination())
        assert not out.exists()
    assert {path.name for path in out.iterdir()} == {"report.html", "report.json"}
    with pytest.raises(ZeroDivisionError), report_folder(out, alone=True) as folder:
        folder.add(examination(name="other"))
        raise ZeroDivisionError
    assert json.loads((out / "report.json").read_text())["clip"] == "a.mp4"
    with report_folder(out, alone=False) as folder:
        assert [folder.add(examination(name=name)) for name in ("a.mp4", "a.mkv", "b.mp4")] == ["a", "a-2", "b"]
    assert {path.name for path in out.iterdir()} == {
        f"{n}.{kind}" for n in ("a", "a-2", "b") for kind in ("html", "json")
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.json").write_text("{}")
    with pytest.raises(InputError, match="something else"):
        check_folder(tmp_path / "mine")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="something else"):
        check_folder(tmp_path / "mine.txt")
    with pytest.raises(InputError, match="does not exist"):
        check_folder(tmp_path / "no" / "out")
