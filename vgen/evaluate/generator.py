"""A model of vgen's as the source of a benchmark's clips."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import ConfigError, VgenError
from vgen.evaluate.benchmark import Item, ItemError, Sample
from vgen.evaluate.places import counted, lasting, make_folder, safe_path
from vgen.pipeline import VideoPipeline
from vgen.search import AnyRun

__all__ = ["ModelSource"]

# What the benchmark or the command line decides, or a run does not do.
TAKEN = ("request.prompt", "request.image", "request.seed", "request.extend", "request.story", "request.num_videos")
TAKEN_GROUPS = ("model", "output", "parallel")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model of vgen's, which makes each clip with its own defaults; kept without loss.

    Args:
        pipeline: the model.
        folder: where clips go.
        seed: of the first item; others count up.
        values: dotted config keys besides prompt, image, length and seed.
    """

    pipeline: VideoPipeline
    folder: Path
    seed: int
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"model {self.pipeline.model.id}"

    @property
    def settings(self) -> Mapping[str, Any]:
        model = self.pipeline.model
        return {"model": model.card.name, "digests": model.digests(), "seed": self.seed} | dict(self.values)

    def check(self, items: Sequence[Item]) -> None:
        taken = [key for key in self.values if key in TAKEN or key.partition(".")[0] in TAKEN_GROUPS]
        if taken:
            raise ConfigError(
                f"{taken[0]} is not for a benchmark: prompts, first frames, seeds (--seed), files and what "
                "processes share (--nproc) are its own"
            )
        self._first_run(items)

    def estimate(self, items: Sequence[Item]) -> list[str]:
        todo = [item for item in items if not self._path(item).is_file()]
        if not todo:
            return []
        try:
            clip_s = _timed(self._first_run(todo))
        except VgenError as error:
            return [f"{counted(len(todo), 'clip')} to make, and none of them can be: {error}"]
        return [
            f"{counted(len(todo), 'clip')} to make, about {clip_s:.1f} s each by one step timed here: "
            f"{lasting(clip_s * len(todo))}, and scoring"
        ]

    def _first_run(self, items: Sequence[Item]) -> AnyRun:
        """What makes the first clip that can be made; where none can, the reason of the first is raised."""
        reasons = []
        for item in items:
            try:
                return self._run(item)
            except VgenError as error:  # of this item: a text-only model is asked for a first frame, say
                reasons.append(error)
        raise reasons[0]

    def _path(self, item: Item) -> Path:
        return safe_path(self.folder, item.file).with_suffix(".mkv")

    def clip(self, item: Item) -> Sample:
        path = self._path(item)
        if path.is_file():
            return Sample(path=path, made=_whole(path))
        make_folder(path.parent)
        try:
            clip = self._run(item).clip()
            clip.save(path)
        except VgenError as error:
            raise ItemError(str(error)) from error
        return Sample(path=path, made=clip)

    def _run(self, item: Item) -> AnyRun:
        """What makes an item's clip."""
        words = {"request.prompt": item.prompt, "request.seed": self.seed + item.number}
        length = {} if item.seconds is None else {"request.seconds": item.seconds}
        config, said = merge((f"item {item.id}", words | length), ("command line", self.values))
        return self.pipeline.begin(config, said, None if item.image is None else str(item.image))


def _timed(run: AnyRun) -> float:
    """Seconds of a run: those of its second step, times all steps."""
    since = time.perf_counter()
    for event in run.events():
        if event.stage == "denoise":
            if event.done == min(2, event.total):
                return (time.perf_counter() - since) * event.total
            since = time.perf_counter()
    raise AssertionError("a run has steps")


def _whole(path: Path) -> Clip:
    """A clip that an earlier run has kept."""
    try:
        return Clip.read(path)
    except VgenError as error:
        raise ItemError(f"kept from an earlier run, but {error}; remove it to have it made again") from error
