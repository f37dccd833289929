"""The judge while clips are made: as the verifier of a rollout's pieces, and as what keeps the best of several runs.

The laws that choose and those that are reported on are disjoint (`configs/search/rules.yaml`): a clip that was chosen
by a law says nothing about how well that law is kept.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np
import yaml
from diffusers import AutoencoderKLWan
from torch import Tensor

from vgen.checkpoint import Checkpoint
from vgen.clip import Clip
from vgen.errors import ConfigError
from vgen.frames import Frames
from vgen.job import Job
from vgen.judge.card import load_card
from vgen.judge.judging import report_on, select_rules
from vgen.judge.observation import Observation
from vgen.judge.perception.observe import MIN_FRAMES, observe
from vgen.judge.rule import Rule
from vgen.judge.signs import kept
from vgen.judge.verdict import Report
from vgen.models.loaded import AnyModel
from vgen.models.vae import StreamingDecoder, latent_frames
from vgen.parallel.mesh import Mesh
from vgen.plan import Plan
from vgen.run import Event, Run, as_frames
from vgen.samplers import Finding
from vgen.stock.job import StockJob
from vgen.stock.run import StockRun

__all__ = [
    "AnyRun",
    "BestOf",
    "Candidate",
    "JudgeVerifier",
    "OneRun",
    "RuleSets",
    "finding_of",
    "found_in",
    "prompt_of",
    "rule_sets",
]

OneRun: TypeAlias = Run | StockRun
UNDECIDED = 0.5  # stands between a clip that keeps all laws and one that breaks some; for the order of clips alone


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSets:
    """Disjoint sets of rules: what a search chooses by, and what it is reported on."""

    select: tuple[Rule, ...]
    report: tuple[Rule, ...]


def rule_sets(names: Sequence[str] | None = None) -> RuleSets:
    """The sets that ship with vgen; or those of these rules and groups, reported on by all others.

    Raises:
        ConfigError: there is none of such a name, or nothing is left to report on.
    """
    if names is None:
        shipped = _shipped()
        return RuleSets(select=select_rules(shipped["select"]), report=select_rules(shipped["report"]))
    select = select_rules(names)
    report = tuple(rule for rule in select_rules(None) if rule not in select)
    if not report:
        raise ConfigError("search.rules names all laws, so that none is left to report on; leave some out")
    return RuleSets(select=select, report=report)


@cache
def _shipped() -> Mapping[str, list[str]]:
    read = yaml.safe_load(files("vgen").joinpath("configs", "search", "rules.yaml").read_text(encoding="utf-8"))
    assert not {*read["select"]} & {*read["report"]}, "a law chooses and is reported on"
    return read


def finding_of(report: Report, *, shown: float | None = None) -> Finding:
    """What a report says of a clip.

    Args:
        shown: the share of what the prompt says that the clip shows; None where nobody looked.
    """
    broken = [verdict for verdict in report.verdicts if verdict.status == "violated"]
    evidence = tuple(
        {
            "rule": verdict.rule,
            "violation": round(verdict.violation or 0.0, 4),
            "frames": list(verdict.evidence[0].frames),
            "text": verdict.evidence[0].text,
        }
        for verdict in broken
    )
    score = (UNDECIDED if report.plausibility is None else report.plausibility) * (1.0 if shown is None else shown)
    if shown is not None and shown < 1:
        evidence = (*evidence, {"prompt": round(shown, 4), "text": "shows a part of what the prompt says"})
    return Finding(score=score, passed=not evidence, evidence=evidence)


def found_in(seen: Observation, rules: Sequence[Rule], prompt: str | None) -> Finding:
    """What laws and a prompt say of what was seen.

    Args:
        prompt: in the playground's words, to look for what it says; nobody looks where None.
    """
    shown = None if prompt is None else kept(prompt, seen)
    return finding_of(report_on(seen, rules=rules), shown=shown)


def prompt_of(job: Job | StockJob, model: AnyModel) -> str | None:
    """The prompt to look for in a clip: of a model that speaks the playground's words, where there is but one."""
    return job.prompt if model.card.closed_vocabulary and len(job.prompts) == 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A clip so far: its frames, and the decoder that goes on from them."""

    frames_FYX3: Frames
    decoder: StreamingDecoder


class JudgeVerifier:
    """Decodes each new piece behind the clip so far and judges the whole.

    A clip fails by a law that it breaks, from the first frame of the evidence on; and at its end by what it does not
    show of the prompt, from its beginning on. Before the end, things that have not moved yet are easily missed.

    Args:
        vae: the model's.
        fps: of the clip.
        frames: latent frames of the whole clip.
        rules: by which it is judged.
        prompt: in the playground's words, to look for what it says; None where nobody could tell.
    """

    def __init__(
        self, vae: AutoencoderKLWan, *, fps: float, frames: int, rules: Sequence[Rule], prompt: str | None = None
    ) -> None:
        self.vae = vae
        self.fps = fps
        self.frames = frames
        self.rules = tuple(rules)
        self.prompt = prompt

    def begin(self) -> Watched | None:
        """Nothing was seen."""
        return None

    def __call__(self, past: Watched | None, latents_BCTHW: Tensor, frames: range) -> tuple[Finding, Watched | None]:
        decoder = StreamingDecoder(self.vae) if past is None else past.decoder.fork()
        new_FYX3 = as_frames(decoder.push(latents_BCTHW))
        clip_FYX3 = new_FYX3 if past is None else np.concatenate((past.frames_FYX3, new_FYX3))
        watched = Watched(clip_FYX3, decoder)
        if len(clip_FYX3) < MIN_FRAMES:
            return Finding(score=UNDECIDED, passed=True), watched
        seen = observe(clip_FYX3, self.fps)
        found = found_in(seen, self.rules, self.prompt if frames.stop >= self.frames else None)
        return replace(found, since=self._first_at_fault(found)), watched

    def _first_at_fault(self, found: Finding) -> int:
        """The latent frame that the earliest evidence begins in; 0 where the evidence is of no frames."""
        first = min((one["frames"][0] if "frames" in one else 0 for one in found.evidence), default=0)
        return latent_frames(first + 1, self.vae.config.scale_factor_temporal) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finished clip of a search.

    Args:
        seed: it was made from.
        select: what the laws that choose say of it.
        report: plausibility by the laws that do not; None where none of them was decided.
    """

    seed: int
    select: Finding
    report: float | None


class BestOf:
    """Several runs of one request, of which the clip that keeps the laws best is kept. Has the face of a `Run`.

    Args:
        start: a run of a seed.
        seeds: one for each candidate; the first is what would be made without a search.
        sets: the laws.
        prune: shares of the steps, rising, after each of which the worse half of the candidates is dropped, by the
            judge's view of their present guesses. Needs a sampler that denoises the whole clip at once.

    Raises:
        ConfigError: `prune` for a sampler that finishes frames before others have begun.
    """

    resumable = False

    def __init__(
        self, start: Callable[[int], OneRun], seeds: Sequence[int], *, sets: RuleSets, prune: Sequence[float] = ()
    ) -> None:
        assert seeds, "at least one candidate is made"
        self.runs = [start(seed) for seed in seeds]
        self.sets = sets
        self.prune = tuple(sorted(prune))
        self._chosen: OneRun | None = None
        self._candidates: list[Candidate] = []
        self._dropped: list[dict[str, Any]] = []
        self._verify_s = 0.0
        if self.prune and self.job.in_chunks:
            raise ConfigError(
                f"search.prune looks at guesses of whole clips, and sampler '{self.job.sampler}' makes its clip "
                "piece by piece; search.redo judges those"
            )

    @property
    def job(self) -> Job | StockJob:
        return self.runs[0].job

    @property
    def mesh(self) -> Mesh:
        return self.runs[0].mesh

    @property
    def plan(self) -> Plan:
        return self.runs[0].plan

    @property
    def notes(self) -> tuple[str, ...]:
        return self.runs[0].notes

    @property
    def model(self) -> AnyModel:
        return self.runs[0].model

    def preview(self, x0_BCTHW: Tensor) -> Frames:
        """As `Run.preview`."""
        return self.runs[0].preview(x0_BCTHW)

    def events(
        self, checkpoint: Checkpoint | None = None, *, resume: bool = False, output: dict[str, Any] | None = None
    ) -> Iterator[Event]:
        """Runs all candidates and hands on the frames of the best."""
        assert checkpoint is None and not resume, "a best-of run holds its candidates in memory"
        count = _Count(self._steps())
        entrants = [_Entrant(run, iter(run)) for run in self.runs]
        for share in self.prune:
            for entrant in entrants:
                yield from count.through(entrant.until(share))
            entrants = self._better_half(entrants, share)
        best: tuple[Candidate, Clip] | None = None
        for number, entrant in enumerate(entrants, 1):
            yield from count.through(entrant.until(1.0))
            clip = entrant.finish()
            candidate = self._judged(entrant.run.job.seed, clip)
            self.mesh.together.agree("what the judge finds", list(candidate.select.rank))
            self._candidates.append(candidate)
            yield Event(stage="verify", done=number, total=len(entrants))
            if best is None or candidate.select.rank > best[0].select.rank:
                best, self._chosen = (candidate, clip), entrant.run
        assert best is not None
        frames_FYX3 = best[1].frames
        yield Event(stage="decode", done=len(frames_FYX3), total=len(frames_FYX3), frames_FYX3=frames_FYX3)

    def clip(self) -> Clip:
        """Runs all candidates to their end, and returns the best.

        Raises:
            NumericalError: as iterating a `Run`.
        """
        made = [event.frames_FYX3 for event in self.events() if event.frames_FYX3 is not None]
        return Clip(frames=made[0], fps=float(self.job.fps), record=self.record())

    def record(self) -> dict[str, Any]:
        """The record of the clip that was kept, with what became of the others."""
        chosen = self.runs[0] if self._chosen is None else self._chosen
        record = chosen.record()
        record["stages_s"] = record["stages_s"] | {"verify": round(self._verify_s, 3)}
        return record | {"search": self._search_record(chosen.job.seed) if self._candidates else None}

    def _search_record(self, seed: int) -> dict[str, Any]:
        by_seed = {one.seed: one for one in self._candidates}
        return {
            "best_of": len(self.runs),
            "chosen": seed,
            "select": [rule.name for rule in self.sets.select],
            "report": [rule.name for rule in self.sets.report],
            "card": load_card().digest,
            "candidates": [
                {
                    "seed": one.seed,
                    "select": one.select.score,
                    "passed": one.select.passed,
                    "report": one.report,
                    "evidence": list(one.select.evidence),
                }
                for one in self._candidates
            ],
            "dropped": self._dropped,
            "scores": {
                "chosen": _scores([by_seed[seed]]),
                "first": _scores([self._candidates[0]]),
                "random": _scores(self._candidates),
            },
            "note": "the chosen clip's `select` is circular: the laws that chose it give it",
        }

    def _better_half(self, entrants: "list[_Entrant]", share: float) -> "list[_Entrant]":
        """Judges present guesses, and keeps those that look better, in their order."""
        found = [self._found(self._seen(entrant.guess())) for entrant in entrants]
        self.mesh.together.agree("what the judge finds in guesses", [list(one.rank) for one in found])
        order = sorted(range(len(entrants)), key=lambda i: found[i].rank, reverse=True)
        kept = {*order[: -(-len(entrants) // 2)]}
        for i in set(range(len(entrants))) - kept:
            seed = entrants[i].run.job.seed
            self._dropped.append({"seed": seed, "after": share, "select": found[i].score, "passed": found[i].passed})
        return [entrant for i, entrant in enumerate(entrants) if i in kept]

    def _judged(self, seed: int, clip: Clip) -> Candidate:
        seen = self._seen(clip)
        report = report_on(seen, rules=self.sets.report).plausibility
        return Candidate(seed=seed, select=self._found(seen), report=report)

    def _found(self, seen: Observation) -> Finding:
        return found_in(seen, self.sets.select, prompt_of(self.job, self.model))

    def _seen(self, clip: Clip) -> Observation:
        since = time.perf_counter()
        seen = observe(clip.frames, clip.fps)
        self._verify_s += time.perf_counter() - since
        return seen

    def _steps(self) -> int:
        """Steps of all candidates, those that are dropped counted as far as they get."""
        total, alive, done, before = self.job.num_steps, len(self.runs), 0, 0
        for share in (*self.prune, 1.0):
            now = math.ceil(share * total)
            done, before, alive = done + alive * (now - before), now, -(-alive // 2)
        return done


@dataclass(slots=True)
class _Entrant:
    """A candidate under way."""

    run: OneRun
    events: Iterator[Event]
    x0_BCTHW: Tensor | None = None
    frames: list[Frames] = field(default_factory=list)

    def until(self, share: float) -> Iterator[Event]:
        """Goes on to a share of the steps; yields the steps."""
        for event in self.events:
            if event.frames_FYX3 is not None:
                self.frames.append(event.frames_FYX3)
            elif event.stage == "denoise":
                self.x0_BCTHW = event.x0_BCTHW
                yield event
                if event.done >= share * event.total:
                    return

    def guess(self) -> Clip:
        """The clip as the model sees it now."""
        assert isinstance(self.run, Run) and self.x0_BCTHW is not None, "there is no guess before the first step"
        return Clip(frames=self.run.guess(self.x0_BCTHW), fps=float(self.run.job.fps))

    def finish(self) -> Clip:
        rest = [event.frames_FYX3 for event in self.events if event.frames_FYX3 is not None]
        return Clip(frames=np.concatenate([*self.frames, *rest]), fps=float(self.run.job.fps))


@dataclass(slots=True)
class _Count:
    """Counts the steps of several runs as those of one."""

    total: int
    done: int = 0

    def through(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            self.done += 1
            yield replace(event, done=self.done, total=self.total)


AnyRun: TypeAlias = OneRun | BestOf


def _scores(candidates: Sequence[Candidate]) -> dict[str, float | None]:
    """Means over candidates; of the report over those that were decided."""
    decided = [one.report for one in candidates if one.report is not None]
    return {
        "select": float(np.mean([one.select.score for one in candidates])),
        "report": float(np.mean(decided)) if decided else None,
    }
