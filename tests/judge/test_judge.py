"""The judge as a whole, from what was seen to the report: guards, selection, failures, prompts, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.judge.sights import falling, measurement, observation, painted, rule, track
from vgen.clip import Clip
from vgen.errors import ConfigError, InputError
from vgen.judge import examine, judge
from vgen.judge.card import provisional_card
from vgen.judge.guards import STILL
from vgen.judge.judging import report_on, select_rules
from vgen.judge.observation import Event, Observation, Sight
from vgen.judge.promise import PROMISES, measure_promise, promise_of
from vgen.judge.rule import Abstention, Measured, Rule
from vgen.judge.rules import RULES
from vgen.playground.caption import PHRASINGS

KEPT, BROKEN = (measurement(0.0),), (measurement(9.0),)
RULE_SET = (
    rule("teleport", BROKEN, group="continuity"),
    rule("momentum", KEPT, group="mechanics"),
    rule("vanish", KEPT, group="permanence", motion=False),
    rule("spin", Abstention(status="not_applicable", reason="nothing turns"), group="mechanics"),
)
CARD = replace(provisional_card({one.name: 1.0 for one in RULE_SET}), provisional=False)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Observation:
    """What perception is made to see, whatever it is shown."""
    found = falling(jump_px=14)
    monkeypatch.setattr("vgen.judge.judging.observe", lambda frames, fps: found)
    return found


def statuses(seen: Observation) -> dict[str, str]:
    return {v.rule: v.status for v in report_on(seen, rules=RULE_SET, card=CARD).verdicts}


def test_a_report_on_what_was_seen() -> None:
    report = report_on(falling(), name="a.mp4", rules=RULE_SET, card=CARD)
    assert [v.status for v in report.verdicts] == ["violated", "ok", "ok", "not_applicable"]
    assert (report.plausibility, report.coverage, report.warnings) == (0.0, 1.0, ())
    assert report.clip == "a.mp4" and report.calibration == CARD.digest and "opencv" in report.versions


def test_a_still_clip_breaks_no_law_of_motion_and_keeps_none() -> None:
    still = observation([track(0, np.tile([30.0, 30.0], (24, 1)))], motion_share=STILL / 2)
    report = report_on(still, rules=RULE_SET, card=CARD)
    assert statuses(still) == {
        "teleport": "undecidable",
        "momentum": "undecidable",
        "vanish": "ok",
        "spin": "undecidable",
    }
    assert any("hardly anything moves" in warning for warning in report.warnings)
    assert report.coverage == 0.25


def test_a_lost_camera_leaves_positions_undecidable_and_in_the_end_all() -> None:
    lost = replace(falling(), camera=replace(falling().camera, inliers_F=np.full(24, 0.4)))
    assert statuses(lost) == {
        "teleport": "undecidable",
        "momentum": "undecidable",
        "vanish": "ok",
        "spin": "undecidable",
    }
    assert "40%" in report_on(lost, rules=RULE_SET, card=CARD).warnings[0]
    nowhere = replace(falling(), camera=replace(falling().camera, inliers_F=np.full(24, 0.2)))
    assert set(statuses(nowhere).values()) == {"undecidable"}


def test_tracks_in_pieces_leave_everything_undecidable_but_two_things_do_not() -> None:
    things = [track(index, np.tile([10.0 * index, 30.0], (24, 1))) for index in range(8)]
    report = report_on(observation(things, churn=0.75), rules=RULE_SET, card=CARD)
    assert {v.status for v in report.verdicts} == {"undecidable"}
    assert report.plausibility is None and report.coverage == 0
    assert "ok" in statuses(observation(things[:2], churn=1.0)).values()
    assert set(statuses(observation(things[:2], clutter=0.6)).values()) == {"undecidable"}
    assert "ok" in statuses(replace(observation(things[:2], clutter=0.6), disorder=1.0)).values()


def test_what_a_reader_must_know_first() -> None:
    cut = observation(cuts=(9,), shot=(9, 24))
    report = report_on(cut, rules=RULE_SET[3:], card=replace(CARD, provisional=True))
    told = " ".join(report.warnings)
    assert "provisional" in told and "cut at frame 9" in told and "frames 9-23" in told and "no thing" in told


def failing(error: Exception) -> Rule:
    def measure(seen: Observation) -> Measured:
        raise error

    return Rule(name="momentum", group="mechanics", statement="", measure=measure)


def test_a_fit_that_fails_is_an_error_and_our_own_mistakes_are_not_hidden() -> None:
    report = report_on(falling(), rules=[failing(np.linalg.LinAlgError("singular"))], card=CARD)
    assert [(v.status, v.violation) for v in report.verdicts] == [("error", None)]
    assert (report.plausibility, report.coverage) == (None, 0.0)
    with pytest.raises(KeyError):
        report_on(falling(), rules=[failing(KeyError("x"))], card=CARD)


def test_rules_are_chosen_by_name_and_group() -> None:
    assert select_rules(None) == tuple(RULES.values())
    chosen = select_rules(["permanence", "teleport"])
    assert [r.name for r in chosen] == [
        r.name for r in RULES.values() if r.group == "permanence" or r.name == "teleport"
    ]
    with pytest.raises(ConfigError, match="did you mean 'teleport'"):
        select_rules(["telport"])
    with pytest.raises(ConfigError, match="no rule was named"):
        select_rules([])


def test_a_clip_an_array_and_a_file_are_judged_alike(seen: Observation, tmp_path: Path) -> None:
    clip = painted(seen)
    path = clip.save(tmp_path / "ball.mkv")
    reports = [judge(clip), judge(clip.frames, fps=12), replace(judge(path), clip="clip")]
    assert reports[0] == reports[1] == reports[2]
    assert judge(path).clip == "ball.mkv"
    assert examine(clip, name="odd\nname\udcff").report.clip == "odd\ufffdname\ufffd"


def frames(count: int, height: int, width: int) -> np.ndarray:
    return np.zeros((count, height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: judge(Clip(frames=frames(1, 32, 32), fps=8)), "one frame"),
        (lambda: judge(frames(8, 8, 32), fps=8), "32x8 pixels"),
        (lambda: judge(frames(8, 32, 32)), "pass fps="),
        (lambda: judge(Clip(frames=frames(8, 32, 32), fps=8), fps=8), "rate of its own"),
        (lambda: judge("nowhere.mp4"), "nowhere"),
    ],
)
def test_what_cannot_be_judged_is_refused(seen: Observation, call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_a_prompt_is_used_or_said_not_to_be(seen: Observation) -> None:
    clip = painted(seen)
    order = {v.rule: v for v in judge(clip, prompt="a red ball hits a green box").verdicts}["event_order"]
    assert "two things meet" in order.reason
    assert any("no event that can be checked" in w for w in judge(clip, prompt="a cat sleeps").warnings)
    with pytest.raises(ConfigError, match="event_order"):
        judge(clip, prompt="a red ball hits a box", rules=["teleport"])


def event(kind: str, frame: float, *tracks: int) -> Event:
    return Event(kind=kind, frame=frame, sigma_frames=0.3, tracks=tracks, xy=(0, 0), strength=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("onset", "strength"), [(14.0, 0.0), (11.5, 0.0), (4.0, 8 - 0.6 * 2**0.5)])
def test_promised_events_come_in_their_order(onset: float, strength: float) -> None:
    seen = replace(falling(), events=(event("contact", 12, 0, 1), event("onset", onset, 1)))
    found = measure_promise(promise_of("a red ball bumps into a box and pushes it right"), seen)
    assert isinstance(found, tuple) and found[0].objects == (0, 1)
    assert found[0].strength == pytest.approx(strength)


def test_a_prompt_adds_to_what_the_rule_finds_by_itself() -> None:
    own = rule("event_order", (measurement(1.0),), group="causal")
    seen = replace(falling(), events=(event("contact", 12, 0, 1), event("onset", 4, 1)))
    card = provisional_card({"event_order": 2.0})
    for prompt, strengths, note in (
        ("a ball hits a box", [8 - 0.6 * 2**0.5, 1.0], ""),
        ("a ball falls and bounces", [1.0], "not seen: something bounces"),
        ("a cat", [1.0], "no event"),
    ):
        report = report_on(seen, rules=[own], prompt=prompt, card=card)
        assert [m.strength for m in report.verdicts[0].evidence] == pytest.approx(strengths)
        assert note in " ".join(report.warnings)


def test_a_thing_that_hides_shows_again() -> None:
    seen = falling()
    sight_F = seen.tracks[0].sight_F.copy()
    steps = promise_of("a red ball rolls right behind a pillar")
    assert isinstance(measure_promise(steps, seen), Abstention)
    sight_F[8:12] = Sight.OCCLUDED
    hidden = replace(seen, tracks=(replace(seen.tracks[0], sight_F=sight_F), seen.tracks[1]))
    found = measure_promise(steps, hidden)
    assert isinstance(found, tuple) and found[0].frames == (8, 12) and found[0].strength == 0


def test_every_phrasing_of_a_promise_is_understood() -> None:
    for told, phrasings in PHRASINGS.items():
        for phrasing in phrasings:
            assert promise_of(phrasing) == PROMISES.get(told, ())
