"""A small benchmark for tests of what runs benchmarks: how bright clips are; and sources that need no disk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vgen.clip import Clip
from vgen.errors import VgenError
from vgen.evaluate.benchmark import Benchmark, Item, ItemError, Measures, Sample, Score
from vgen.evaluate.jury import Jury
from vgen.evaluate.runner import Task
from vgen.evaluate.statistics import mean_share

__all__ = ["Clips", "brightness", "grey", "item", "task_of"]


def grey(value: int, *, frames: int = 3) -> Clip:
    """A clip of one grey."""
    return Clip(frames=np.full((frames, 16, 16, 3), value, np.uint8), fps=8.0)


def item(number: int, *, strata: int = 2, image: Path | None = None) -> Item:
    stratum = "abcdefgh"[number % strata]
    return Item(
        id=f"{stratum}/{number}",
        prompt=f"grey <{number}>",
        file=f"{number}.mp4",
        pattern=f"{number}.*",
        stratum=stratum,
        number=number,
        image=image,
    )


def brightness(count: int = 6, **changes: Any) -> Benchmark:
    """A benchmark over `count` items of two strata: the mean of what is bright; black cannot be scored."""
    parts: dict[str, Any] = {
        "name": "brightness",
        "title": "Brightness",
        "home": "nowhere",
        "licence": "none",
        "kind": "generator",
        "items": lambda root: [item(number) for number in range(count)],
        "score": _score,
        "aggregate": _aggregate,
        "fair_parts": True,
    }
    return Benchmark(**(parts | changes))


def _score(one: Item, sample: Sample, jury: Jury) -> Measures:
    value = float(sample.clip.frames.mean()) / 255
    if not value:
        raise ItemError("it is\nblack")
    return {"value": value, "checks": {"look": {"bright": value > 0.5, "red": None}}, "prompt": one.prompt}


def _aggregate(items: Sequence[Item], rows: Mapping[str, Measures], jury: Jury) -> Sequence[Score]:
    by_group = {"": [*rows]} | {group: [one for one in rows if one.startswith(group)] for group in ("a", "b")}
    return [
        Score(name="mean", figure=mean_share([rows[one]["value"] for one in ids]), group=group, beside={"half": 0.5})
        for group, ids in by_group.items()
    ]


@dataclass
class Clips:
    """A source that gives each item a grey, or raises what stands in its place; keeps whom it was asked for."""

    give: Callable[[Item], int | VgenError] = lambda item: 40 * (item.number + 1)
    settings: Mapping[str, Any] = field(default_factory=lambda: {"clips": 1})
    name: str = "greys"
    redraws: bool = False
    asked: list[str] = field(default_factory=list)

    def check(self, items: Sequence[Item]) -> None:
        pass

    def estimate(self, items: Sequence[Item]) -> list[str]:
        return []

    def clip(self, item: Item) -> Sample:
        self.asked.append(item.id)
        given = self.give(item)
        if isinstance(given, VgenError):
            raise given
        return Sample(path=Path(item.file), made=grey(given))


def task_of(source: Clips | None = None, *, limit: int | None = None, **changes: Any) -> Task:
    return Task.of(brightness(**changes), root=None, source=source or Clips(), jury=Jury(), limit=limit)
