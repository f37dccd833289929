"""The judge inside generation: pieces redone, the best of several kept, and the record that makes either again."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tests.judge.rules.world as world
import vgen.search as search_module
from tests.folders import tiny_folder
from tests.judge.rules.world import body, seen
from vgen.checkpoint import Checkpoint
from vgen.cli import _run
from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import ConfigError, InputError
from vgen.judge.judging import report_on, select_rules
from vgen.judge.observation import Observation
from vgen.judge.rule import Rule
from vgen.judge.rules import RULES
from vgen.judge.verdict import Report, Verdict
from vgen.pipeline import VideoPipeline
from vgen.run import Event, Run
from vgen.samplers import Finding
from vgen.search import BestOf, JudgeVerifier, finding_of, rule_sets


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> VideoPipeline:
    return VideoPipeline.from_pretrained(folder)


def begin(pipeline: VideoPipeline, **values: object) -> Run | BestOf:
    keys: dict[str, Any] = {"request.prompt": "a red ball", "request.seed": 1}
    run = pipeline.begin(*merge(("test", keys | {key.replace("__", "."): value for key, value in values.items()})))
    assert isinstance(run, Run | BestOf)
    return run


class Mood:
    """In place of the judge: a clip is as good as it is bright, and breaks a law below what is needed."""

    def __init__(self, needed: float) -> None:
        self.needed = needed
        self.looked = 0
        self.dark_since = 0

    def observe(self, frames_FYX3: np.ndarray, fps: float) -> Any:
        self.looked += 1
        return float(frames_FYX3.mean()) / 255

    def report_on(self, seen: float, rules: Sequence[Rule]) -> Report:
        broken = Verdict(rule="size", group="permanence", status="violated" if seen < self.needed else "ok",
                         violation=1 - seen)  # fmt: skip
        return Report(clip="", verdicts=(broken,), plausibility=seen, coverage=1, calibration="", versions={})

    def finding_of(self, report: Report, *, shown: float | None = None) -> Finding:
        assert report.plausibility is not None
        passed = report.verdicts[0].status == "ok"
        evidence = () if passed else ({"frames": [self.dark_since, 8], "text": "too dark"},)
        return Finding(score=report.plausibility, passed=passed, evidence=evidence)


@pytest.fixture
def mood(monkeypatch: pytest.MonkeyPatch) -> Mood:
    found = Mood(2.0)  # nothing ever passes
    monkeypatch.setattr(search_module, "observe", found.observe)
    monkeypatch.setattr(search_module, "report_on", found.report_on)
    monkeypatch.setattr(search_module, "kept", lambda prompt, seen: 1.0)
    monkeypatch.setattr(search_module, "finding_of", found.finding_of)
    return found


def test_the_shipped_sets_are_disjoint_and_known() -> None:
    sets = rule_sets()
    assert sets.select and sets.report
    assert not {rule.name for rule in sets.select} & {rule.name for rule in sets.report}


def test_own_sets_are_reported_on_by_all_others() -> None:
    sets = rule_sets(["permanence", "energy"])
    assert {rule.name for rule in sets.select} | {rule.name for rule in sets.report} == set(RULES)
    with pytest.raises(ConfigError, match="none is left"):
        rule_sets([*RULES])
    with pytest.raises(ConfigError, match="unknown rule 'sise'"):
        rule_sets(["sise"])


def test_best_of_keeps_the_clip_that_is_liked_best(pipeline: VideoPipeline, mood: Mood) -> None:
    clips = [pipeline("a red ball", seed=seed) for seed in (1, 2, 3)]
    best = max(clips, key=lambda clip: float(clip.frames.mean()))
    made = pipeline("a red ball", seed=1, best_of=3)
    assert made.sha256() == best.sha256()
    assert made.record["seed"] == best.record["seed"] == made.record["search"]["chosen"]
    assert made.record["resolved"] == best.record["resolved"]
    scores = made.record["search"]["scores"]
    means = [float(clip.frames.mean()) / 255 for clip in clips]
    assert scores["first"]["select"] == pytest.approx(means[0])
    assert scores["random"]["select"] == pytest.approx(np.mean(means))
    assert scores["chosen"]["select"] == pytest.approx(max(means))
    assert [one["seed"] for one in made.record["search"]["candidates"]] == [1, 2, 3]
    assert "circular" in made.record["search"]["note"]


def test_pruning_drops_half_each_time_and_says_whom(pipeline: VideoPipeline, mood: Mood) -> None:
    run = begin(pipeline, search__best_of=4, search__prune=[0.25, 0.5])
    events = [*run.events()]
    record = run.record()["search"]
    assert [one["after"] for one in record["dropped"]] == [0.25, 0.25, 0.5]
    assert len(record["candidates"]) == 1
    steps = [event for event in events if event.stage == "denoise"]
    assert [event.done for event in steps] == [*range(1, len(steps) + 1)]
    assert {event.total for event in steps} == {len(steps)} == {4 * 1 + 2 * 1 + 1 * 2}
    alone = pipeline("a red ball", seed=record["chosen"])
    assert events[-1].frames_FYX3 is not None
    assert np.array_equal(events[-1].frames_FYX3, alone.frames)  # steps that others took in between change nothing


def test_pruning_needs_a_guess_at_the_whole_clip(pipeline: VideoPipeline) -> None:
    with pytest.raises(ConfigError, match=r"piece by piece; search\.redo"):
        begin(pipeline, search__best_of=2, search__prune=[0.5], sampler__name="causal", sampler__block=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"search.best_of": 2, "search.redo": 1}, "give one of them"),
        ({"search.prune": [0.5]}, r"with search\.best_of"),
        ({"search.best_of": 2, "search.prune": [1.5]}, "shares of the steps"),
        ({"search.rules": ["size"]}, r"ask for one with search\.best_of"),
        ({"search.best_of": 0}, "1 to 1000"),
        ({"search.redo": -1}, "0 to 100"),
    ],
)
def test_what_makes_no_sense_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        merge(("test", {"request.prompt": "a red ball"} | values))


CAUSAL: dict[str, Any] = {"sampler__name": "causal", "sampler__block": 1, "search__redo": 2}


def test_redoing_goes_back_to_where_the_evidence_begins_and_keeps_the_best(pipeline: VideoPipeline, mood: Mood) -> None:
    mood.dark_since = 5  # of the third latent frame, the last
    run = begin(pipeline, **CAUSAL)
    events = [*run.events()]
    search = run.record()["search"]
    tried = [(one["latent_frames"][0], one["draw"]) for one in search["attempts"]]
    assert tried[:4] == [(0, 0), (1, 0), (2, 0), (2, 1)]
    assert all(one["since"] == 2 for one in search["attempts"] if one["latent_frames"][0])
    whole = [one for one in search["attempts"] if one["latent_frames"][1] == 2]
    frames = np.concatenate([event.frames_FYX3 for event in events if event.frames_FYX3 is not None])
    assert frames.mean() / 255 == pytest.approx(max(one["score"] for one in whole))
    plain = pipeline("a red ball", seed=1, sampler={"name": "causal", "block": 1})
    assert frames.mean() > plain.frames.mean()
    steps = sum(event.stage == "denoise" for event in events)
    assert steps <= 3 * next(event.total for event in events if event.stage == "denoise")


def test_the_record_makes_it_again_without_judging(pipeline: VideoPipeline, mood: Mood) -> None:
    run = begin(pipeline, **CAUSAL)
    made = np.concatenate([event.frames_FYX3 for event in run.events() if event.frames_FYX3 is not None])
    record, looked = run.record(), mood.looked
    config, said = merge(("record", {k: v for k, v in record["resolved"].items() if not k.startswith("run.")}))
    again = pipeline.start(config, said, draws=tuple(record["search"]["draws"])).clip()
    assert np.array_equal(again.frames, made)
    assert mood.looked == looked


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_a_killed_search_goes_on_as_it_would_have(
    pipeline: VideoPipeline, mood: Mood, tmp_path: Path, cut: int
) -> None:
    whole = begin(pipeline, **CAUSAL)
    frames = np.concatenate([event.frames_FYX3 for event in whole.events() if event.frames_FYX3 is not None])
    killed, checkpoint = begin(pipeline, **CAUSAL), Checkpoint(tmp_path / "clip.run")
    judged = 0
    for event in killed.events(checkpoint):
        judged += event.stage == "verify"
        if judged == cut:
            break
    resumed = begin(pipeline, **CAUSAL)
    rest = [event.frames_FYX3 for event in resumed.events(checkpoint, resume=True) if event.frames_FYX3 is not None]
    assert np.array_equal(np.concatenate(rest), frames)
    assert resumed.record()["search"] == whole.record()["search"]


@pytest.mark.parametrize("text", ["", "{}{", "[1]", '[{"latent_frames": [0, 1e999]}]', "3", "\udcff"])
def test_a_damaged_search_is_told(pipeline: VideoPipeline, mood: Mood, tmp_path: Path, text: str) -> None:
    checkpoint = Checkpoint(tmp_path / "clip.run")
    next(event for event in begin(pipeline, **CAUSAL).events(checkpoint) if event.stage == "verify")
    (tmp_path / "clip.run" / "search.json").write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match=r"search\.json' is damaged"):
        next(begin(pipeline, **CAUSAL).events(checkpoint, resume=True))


def test_what_was_given_is_not_made_again(pipeline: VideoPipeline, mood: Mood) -> None:
    image = np.full((32, 48, 3), 90, np.uint8)
    config, said = merge(("test", {"request.prompt": "a red ball", "sampler.name": "causal", "sampler.block": 1,
                                   "search.redo": 1, "request.seed": 1}))  # fmt: skip
    run = pipeline.begin(config, said, image)
    assert [*run.events()]
    tried = [(one["latent_frames"][0], one["draw"]) for one in run.record()["search"]["attempts"]]
    assert [draw for frame, draw in tried if frame == 0] == [0]
    assert max(draw for _, draw in tried) > 0


def test_the_verifier_sees_the_clip_that_is_decoded(pipeline: VideoPipeline) -> None:
    run = begin(pipeline, sampler__name="causal", sampler__block=1)
    events = [event for event in run.events() if event.latents_BCTHW is not None]
    verifier = JudgeVerifier(pipeline.model.vae, fps=8.0, frames=3, rules=select_rules(["size"]))
    past = verifier.begin()
    for frame, event in enumerate(events):
        assert event.latents_BCTHW is not None
        for _ in range(2):  # the first look leaves no trace
            _, seen = verifier(past, event.latents_BCTHW, range(frame, frame + 1))
        past = seen
    assert past is not None
    frames = [event.frames_FYX3 for event in events if event.frames_FYX3 is not None]
    assert np.array_equal(past.frames_FYX3, np.concatenate(frames))


def test_a_broken_law_fails_a_clip_and_names_its_frames() -> None:
    track = world.uniform(40, (100, 100), (4, 0)).astype(float)
    track[20:, 0] += 200.0  # a leap at frame 20
    observation: Observation = seen(body(track))
    report = report_on(observation, rules=select_rules(["teleport"]))
    assert report.verdicts[0].status == "violated"
    found = finding_of(report)
    assert not found.passed
    assert found.evidence[0]["rule"] == "teleport"
    assert found.evidence[0]["frames"][0] in (19, 20)
    assert found.score == report.plausibility


def test_a_clip_that_shows_less_than_the_prompt_says_fails_and_counts_less() -> None:
    nothing = Report(clip="", verdicts=(), plausibility=0.8, coverage=1, calibration="", versions={})
    assert finding_of(nothing, shown=1.0) == finding_of(nothing) == Finding(score=0.8, passed=True)
    half = finding_of(nothing, shown=0.5)
    assert (half.score, half.passed) == (0.4, False)
    assert half.evidence[0]["prompt"] == 0.5


def test_an_undecided_clip_stands_in_the_middle() -> None:
    nothing = Report(clip="", verdicts=(), plausibility=None, coverage=0, calibration="", versions={})
    assert finding_of(nothing) == Finding(score=0.5, passed=True)


def test_the_command_line_keeps_the_best_and_replays_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["generate", "a red ball", "--model", str(folder), "--seed", "4", "-o", "clip.mkv"]
    assert _run([*words, "--best-of", "2"]) == 0
    assert "best of 2: seed" in capsys.readouterr().err
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["search"]["best_of"] == 2
    assert record["frames"]["sha256"] == Clip.read(tmp_path / "clip.mkv").sha256()
    assert _run(["replay", "clip.json", "--verify", "--model", str(folder), "-o", "again.mkv"]) == 0
    assert "bit for bit" in capsys.readouterr().err
    assert _run([*words, "--best-of", "2", "--redo", "1"]) == 2
    assert "give one of them" in capsys.readouterr().err


def test_redoing_from_the_command_line_replays(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: Mood, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mood.dark_since = 5  # of the last piece
    words = ["generate", "a red ball", "--model", str(folder), "--seed", "4", "-o", "clip.mkv", "--sampler", "causal"]
    assert _run([*words, "--redo", "3", "sampler.block=1"]) == 0
    assert "latent frames 1 to 1, noise 0: too dark" in capsys.readouterr().err
    record = json.loads((tmp_path / "clip.json").read_text())
    assert any(record["search"]["draws"])
    looked = mood.looked
    assert _run(["replay", "clip.json", "--verify", "--model", str(folder), "-o", "again.mkv"]) == 0
    assert mood.looked == looked
    record["search"]["draws"] = "all"
    (tmp_path / "clip.json").write_text(json.dumps(record))
    assert _run(["replay", "clip.json", "--model", str(folder)]) == 2
    assert "no list of draws" in capsys.readouterr().err


def test_an_interrupted_search_resumes_from_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: Mood, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["generate", "a red ball", "--model", str(folder), "--seed", "4", "--sampler", "causal"]
    words += ["--redo", "2", "sampler.block=1", "-o"]
    assert _run([*words, "whole.mkv"]) == 0
    looks = mood.looked

    def interrupted(frames_FYX3: np.ndarray, fps: float) -> Any:
        if mood.looked == looks + 3:
            raise KeyboardInterrupt
        return mood.observe(frames_FYX3, fps)

    monkeypatch.setattr(search_module, "observe", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        assert _run([*words, "clip.mkv"]) != 0
    assert "--resume clip.run" in capsys.readouterr().err
    monkeypatch.setattr(search_module, "observe", mood.observe)
    assert _run(["generate", "--resume", "clip.run", "--model", str(folder)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.json", "clip.mkv", "whole.json", "whole.mkv"]
    made, whole = (json.loads((tmp_path / name).read_text()) for name in ("clip.json", "whole.json"))
    assert made["search"] == whole["search"]
    assert made["frames"] == whole["frames"]


def test_events_say_what_was_judged(pipeline: VideoPipeline, mood: Mood) -> None:
    judged = [event for event in begin(pipeline, **CAUSAL).events() if event.stage == "verify"]
    assert all(isinstance(event, Event) and event.attempt is not None for event in judged)
    assert torch.tensor([event.attempt.finding.score for event in judged if event.attempt]).isfinite().all()
