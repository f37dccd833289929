"""Walks the items of a benchmark: a clip from the source, a row from the benchmark, kept before the next one begins.

What fails is a row with a reason, never a number. The caller's `for` owns progress and stop.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgen.errors import ConfigError, VgenError
from vgen.evaluate.benchmark import Benchmark, Item, Missing, Sample, Score
from vgen.evaluate.jury import Cost, Jury
from vgen.evaluate.sources import Source
from vgen.evaluate.store import Row, Shard, State, Store
from vgen.judge.calibration.digest import code_digest
from vgen.judge.card import load_card
from vgen.judge.judging import versions
from vgen.playground.detectors import DETECTORS

__all__ = ["Outcome", "Step", "Task", "evaluate", "outcome_of", "selected"]


SCORING = ("vgen.evaluate.benchmarks", "vgen.evaluate.critics", "vgen.evaluate.vlm")  # what decides a row


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark to run.

    Args:
        benchmark, root: whose items.
        items: all that the source can be asked for, and `asked`: those that were, in the order in which they are run.
        left_out: how many the source cannot be asked for, of those that the user wants.
        source: of the clips.
        jury: who answers what measurement cannot.
    """

    benchmark: Benchmark
    root: Path | None
    items: Sequence[Item]
    asked: Sequence[Item]
    source: Source
    jury: Jury
    left_out: int = 0

    @classmethod
    def of(cls, benchmark: Benchmark, *, root: Path | None, source: Source, jury: Jury, limit: int | None) -> "Task":
        """A task over the items of a root.

        Args:
            limit: how many items; the benchmark's own number where None, all where 0.

        Raises:
            ConfigError: the jury lacks somebody whom the benchmark asks.
            InputError: the root is incomplete, or the source has nothing for any item.
        """
        lacking = sorted(need for need in benchmark.needs if getattr(jury, need) is None)
        if lacking:
            example = "MODEL@https://host/v1" if lacking[0] == "chat" else "measured"
            raise ConfigError(
                f"{benchmark.name} asks a {lacking[0]}, and none was named; give one with --judge, such as {example}"
            )
        every = benchmark.items(root)
        items = [item for item in every if item.redrawn is None or source.redraws]
        assert items, f"{benchmark.name} has no items"
        count = benchmark.default_limit if limit is None else limit
        asked = selected(items, count) if count else items
        source.check(asked)
        left_out = 0 if count else len(every) - len(items)
        return cls(
            benchmark=benchmark, root=root, items=items, asked=asked, source=source, jury=jury, left_out=left_out
        )

    @property
    def header(self) -> dict[str, Any]:
        """All that decides what a row means."""
        detector = DETECTORS[self.benchmark.world]
        return {
            "benchmark": self.benchmark.name,
            "judge": self.jury.name,
            "root": None if self.root is None or self.benchmark.draws_root else str(self.root.resolve()),
            "source": dict(self.source.settings),
            "versions": versions() | {"judge card": load_card().digest[:16], "detector": detector.digest()[:16]},
            "scoring": code_digest(SCORING)[:16],
        }

    def of_shard(self, shard: Shard) -> list[Item]:
        """The items that a shard runs."""
        return [item for place, item in enumerate(self.asked) if shard.takes(place)]

    def cost(self, items: Sequence[Item]) -> Cost:
        """What scoring these items will ask of the jury's chat."""
        return Cost() if self.benchmark.cost is None or not items else self.benchmark.cost(items, self.jury)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A finished item. `kept` were scored by an earlier run.

    Args:
        stage: `kept` or `score`.
        done, total: items of this stage and shard.
        row: what came of it.
    """

    stage: str
    done: int
    total: int
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to.

    Args:
        task: the benchmark that was run.
        rows: by item, of those that were asked for and came to something.
        scores: the benchmark's figures over what was scored; the headline first.
        remarks: what a reader must know of them.
    """

    task: Task
    rows: Mapping[str, Row]
    scores: Sequence[Score]
    remarks: Sequence[str] = ()

    def count(self, state: str) -> int:
        """Items in a state; `unseen` are those that no run has come to yet."""
        if state == "unseen":
            return len(self.task.asked) - len(self.rows)
        return sum(row.state == state for row in self.rows.values())

    @property
    def coverage(self) -> float:
        """Scored items over those that were asked for."""
        return self.count("scored") / len(self.task.asked)

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for was scored."""
        return self.count("scored") == len(self.task.asked)

    @property
    def whole(self) -> bool:
        """Whether the headline may stand: complete, and over the whole benchmark or a part that is fair."""
        all_asked = len(self.task.asked) == len(self.task.items)
        return self.complete and (all_asked or self.task.benchmark.fair_parts)


def selected(items: Sequence[Item], limit: int) -> list[Item]:
    """`limit` items, spread evenly over their strata, in the order of the benchmark; none that full runs alone take."""
    assert limit >= 1, f"at least one item, got {limit}"
    strata: dict[str, list[Item]] = {}
    for item in (item for item in items if not item.only_full):
        strata.setdefault(item.stratum, []).append(item)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*strata.values()))
    chosen = {item.id for item in itertools.islice((item for item in turns if item is not None), limit)}
    return [item for item in items if item.id in chosen]


def evaluate(task: Task, store: Store, *, shard: Shard, resume: bool) -> Iterator[Step]:
    """Scores what is asked for and was not scored yet; stop iterating to stop the run.

    Raises:
        InputError: the store cannot be written, or holds something else.
        ConfigError: a command that cannot be run at all.
    """
    kept = store.begin(resume=resume)
    mine = task.of_shard(shard)
    done = [item for item in mine if item.id in kept]
    for number, item in enumerate(done, 1):
        yield Step(stage="kept", done=number, total=len(done), row=kept[item.id])
    todo = [item for item in mine if item.id not in kept]
    for number, item in enumerate(todo, 1):
        row = _row(task, item)
        store.add(row)
        yield Step(stage="score", done=number, total=len(todo), row=row)


def outcome_of(task: Task, rows: Mapping[str, Row]) -> Outcome:
    """Adds up what was scored."""
    asked = {item.id: rows[item.id] for item in task.asked if item.id in rows}
    scored = {item: row.measures for item, row in asked.items() if row.state == "scored"}
    benchmark = task.benchmark
    scores = benchmark.aggregate(task.asked, scored, task.jury) if scored else ()
    remarks = benchmark.remarks(task.asked, scored) if benchmark.remarks is not None and scored else ()
    return Outcome(task=task, rows=asked, scores=scores, remarks=remarks)


def _row(task: Task, item: Item) -> Row:
    since = time.perf_counter()
    sample: Sample | None = None
    try:
        sample = task.source.clip(item)
        measures = task.benchmark.score(item, sample, task.jury)
    except ConfigError:  # the same for every item
        raise
    except VgenError as error:
        state: State = "missing" if isinstance(error, Missing) else "error"
        return _failed(item, state, str(error), sample, since)
    return Row(
        item=item.id,
        state="scored",
        measures=measures,
        clip=str(sample.path.absolute()),
        seconds=round(time.perf_counter() - since, 3),
    )


def _failed(item: Item, state: State, reason: str, sample: Sample | None, since: float) -> Row:
    return Row(
        item=item.id,
        state=state,
        measures={},
        reason=" ".join(reason.split()),
        clip="" if sample is None else str(sample.path.absolute()),
        seconds=round(time.perf_counter() - since, 3),
    )
