"""What a search over clips gives: the best of N, and one redone from its faults, beside the first and a random one.

    vgen bench search [--count 40] [--candidates 8] [--redo 7] [--jobs 2] [--work DIR] [--write]

On held-out prompts of the playground, one sampler throughout. The search chooses by one set of laws and by the prompt
as the judge reads it; the figure is of the other set of laws and of the prompt as the playground's detector reads it,
which no search sees: per clip the mean of the two, of the detector alone where none of those laws was decided. What the
laws that choose say of the chosen stands beside and is circular. Differences are paired by prompt, intervals by the
bootstrap over prompts.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vgen.bench.cold import machine
from vgen.bench.stamp import commit
from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import InputError
from vgen.evaluate.statistics import mean_share, paired
from vgen.files import replacing
from vgen.judge.card import Figure, load_card
from vgen.judge.judging import report_on
from vgen.judge.perception.observe import observe
from vgen.lines import append_line, begin_lines, read_lines
from vgen.pipeline import VideoPipeline
from vgen.playground.caption import claim_of
from vgen.playground.detect import agrees, detect
from vgen.playground.scene import Scene
from vgen.playground.score import held_out_turns
from vgen.processes import spread_over
from vgen.run import Run
from vgen.search import found_in, rule_sets

__all__ = ["RESULTS", "Asked", "bench_search", "figures"]

RESULTS = Path(__file__).with_name("results") / "search-cpu.json"
SEED_STEP = 1000  # between the seeds of neighbouring prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is measured.

    Args:
        count: prompts, half from each held-out split.
        candidates: whole clips per prompt, N.
        redo: how many clips' worth of steps one clip may be mended with; N - 1 allows what best of N takes, and what is
            taken is counted: a clip without fault ends the search.
        sampler: of all clips.
        jobs: processes.
    """

    count: int = 40
    candidates: int = 8
    redo: int = 7
    sampler: str = "causal"
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class _Clip:
    """One clip to make: of a prompt, from a seed, redone from its faults or not."""

    prompt: int
    seed: int
    redo: int

    @property
    def key(self) -> str:
        return f"{self.prompt}/{self.seed}/{self.redo}"


def bench_search(
    asked: Asked, *, store: Path | None, say: Callable[[str], None], results: Path | None = None
) -> dict[str, Any]:
    """Makes the clips and compares.

    Args:
        asked: what is measured.
        store: a file that takes each clip's row as it comes, and from which a run that was cut off goes on.
        say: takes a line of progress.
        results: where the figures are kept; nowhere where None.

    Raises:
        InputError: the store cannot be written, or is of another run.
    """
    header = {"asked": _decides(asked), "card": load_card().digest, "sets": _set_names()}
    rows = _kept_rows(store, json.dumps(header))
    todo = [clip for clip in _clips(asked) if clip.key not in rows]
    made = spread_over(asked.jobs, functools.partial(_row, asked=asked), todo)
    for number, (clip, row) in enumerate(made, 1):
        rows[clip.key] = row
        if store is not None:
            append_line(store, json.dumps({"key": clip.key} | row))
        say(f"clips: {number}/{len(todo)}")
    told = {"command": "vgen bench search", "commit": commit(), "machine": machine()}
    found = told | header | figures(rows, asked)
    if results is not None:
        with replacing(results) as partial:
            partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def figures(rows: Mapping[str, Mapping[str, Any]], asked: Asked) -> dict[str, Any]:
    """The arms, each by the figure no search sees, and their differences.

    Args:
        rows: by `prompt/seed/redo`: `select` and `faults` (what chooses), `report` (None where undecided), `detector`,
            `steps`.
        asked: as `bench_search`.
    """
    pools = [[rows[clip.key] for clip in _pool(number, asked)] for number in range(asked.count)]
    chosen = [max(pool, key=lambda row: (float(row["select"]), -int(row["faults"]))) for pool in pools]
    redone = [rows[_redone(number, asked).key] for number in range(asked.count)]
    first = [pool[0] for pool in pools]
    arms: dict[str, list[float]] = {
        "first": [_figure(row) for row in first],
        "random": [float(np.mean([_figure(row) for row in pool])) for pool in pools],
        "best": [_figure(row) for row in chosen],
        "redo": [_figure(row) for row in redone],
    }
    steps = {
        "best": float(np.mean([sum(row["steps"] for row in pool) for pool in pools])),
        "redo": float(np.mean([row["steps"] for row in redone])),
    }
    rest = {"first": first, "best": chosen, "redo": redone}
    return {
        "figure": {arm: _plain(mean_share(values)) for arm, values in arms.items()},
        "gain": {
            "best_over_first": _plain(paired(arms["best"], arms["first"])),
            "best_over_random": _plain(paired(arms["best"], arms["random"])),
            "redo_over_first": _plain(paired(arms["redo"], arms["first"])),
            "redo_over_random": _plain(paired(arms["redo"], arms["random"])),
            "redo_over_best": _plain(paired(arms["redo"], arms["best"])),
        },
        "steps": steps | {"redo_over_best": steps["redo"] / steps["best"]},
        "laws": {arm: _plain(_mean_of(row["report"] for row in found)) for arm, found in rest.items()},
        "detector": {arm: _plain(_mean_of(float(row["detector"]) for row in found)) for arm, found in rest.items()},
        "circular": {arm: _plain(_mean_of(row["select"] for row in found)) for arm, found in rest.items()},
    }


def _figure(row: Mapping[str, Any]) -> float:
    seen = float(row["detector"])
    return seen if row["report"] is None else (seen + float(row["report"])) / 2


def _mean_of(values: Iterator[float | None]) -> Figure:
    return mean_share([value for value in values if value is not None])


def _plain(figure: Figure) -> dict[str, Any]:
    low = None if figure.interval is None else figure.interval[0]
    return {"value": figure.value, "interval_95": figure.interval, "low": low, "count": figure.count}


def _decides(asked: Asked) -> dict[str, Any]:
    return {"count": asked.count, "candidates": asked.candidates, "redo": asked.redo, "sampler": asked.sampler}


def _set_names() -> dict[str, list[str]]:
    sets = rule_sets()
    return {"select": [rule.name for rule in sets.select], "report": [rule.name for rule in sets.report]}


def _pool(prompt: int, asked: Asked) -> list[_Clip]:
    return [_Clip(prompt, prompt * SEED_STEP + number, 0) for number in range(asked.candidates)]


def _redone(prompt: int, asked: Asked) -> _Clip:
    return _Clip(prompt, prompt * SEED_STEP, asked.redo)


def _clips(asked: Asked) -> list[_Clip]:
    """All clips, prompt by prompt."""
    return [clip for number in range(asked.count) for clip in (*_pool(number, asked), _redone(number, asked))]


@functools.cache
def _pipeline() -> VideoPipeline:
    return VideoPipeline.from_pretrained()


def _row(asked_clip: _Clip, asked: Asked) -> dict[str, Any]:
    """Makes a clip and looks at it."""
    _, scene, prompt = held_out_turns(asked.count)[asked_clip.prompt]
    values = {
        "request.prompt": prompt,
        "request.seed": asked_clip.seed,
        "sampler.name": asked.sampler,
        "search.redo": asked_clip.redo or None,
    }
    run = _pipeline().begin(*merge(("bench", values)))
    assert isinstance(run, Run)
    frames, steps = [], 0
    for event in run.events():
        steps += event.stage == "denoise"
        if event.frames_FYX3 is not None:
            frames.append(event.frames_FYX3)
    return _looked(Clip(frames=np.concatenate(frames), fps=float(run.job.fps)), scene, prompt) | {"steps": steps}


def _looked(clip: Clip, scene: Scene, prompt: str) -> dict[str, Any]:
    """What chooses, and what is reported."""
    seen, sets = observe(clip.frames, clip.fps), rule_sets()
    found = found_in(seen, sets.select, prompt)
    return {
        "select": found.score,
        "passed": found.passed,
        "faults": len(found.evidence),
        "report": report_on(seen, rules=sets.report).plausibility,
        "detector": agrees(detect(clip.frames, clip.fps), claim_of(scene)).overall,
    }


def _kept_rows(store: Path | None, header: str) -> dict[str, dict[str, Any]]:
    """Rows of a run that was cut off; the file is begun with them.

    Raises:
        InputError: it holds the rows of another run, or a damaged one.
    """
    if store is None:
        return {}
    theirs, lines = read_lines(store) if store.exists() else (header, [])
    if theirs != header:
        raise InputError(f"'{store}' holds clips of another run; name another folder with --work")
    begin_lines(store, header, lines)
    try:
        rows = [json.loads(line) for line in lines]
        return {row.pop("key"): row for row in rows}
    except (ValueError, KeyError) as error:
        raise InputError(f"'{store}' is damaged; name another folder with --work") from error
