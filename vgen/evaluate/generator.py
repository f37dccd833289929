"""A model of vgen's as the source of a benchmark's clips."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vgen.clip import Clip
from vgen.config import merge
from vgen.errors import ConfigError, VgenError
from vgen.evaluate.benchmark import Item, ItemError, Sample
from vgen.evaluate.places import counted, lasting, make_folder, safe_path
from vgen.frames import Frames
from vgen.models.loaded import LoadedModel, own_model
from vgen.models.vae import StreamingDecoder, as_pixels, encode_frames
from vgen.pipeline import VideoPipeline
from vgen.records import read_record, record_path
from vgen.run import as_frames
from vgen.search import AnyRun

__all__ = ["ModelSource"]

# What the benchmark or the command line decides, or a run does not do.
TAKEN = ("request.prompt", "request.image", "request.seed", "request.extend", "request.story", "request.num_videos")
TAKEN_GROUPS = ("model", "output", "parallel")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model of vgen's, which makes each clip with its own defaults, or puts a real one through its VAE; without loss.

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
    def redraws(self) -> bool:
        return isinstance(self.pipeline.model, LoadedModel)

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
        kinds: dict[tuple[Any, ...], list[Item]] = {}
        for item in todo:
            if item.redrawn is None:
                kinds.setdefault((item.seconds, *sorted(item.values.items())), []).append(item)
        redrawn = sum(item.redrawn is not None for item in todo)
        passed = [f"{counted(redrawn, 'real clip')} to put through its VAE"] if redrawn else []
        return [*(self._estimate(alike) for alike in kinds.values()), *passed]

    def _estimate(self, items: Sequence[Item]) -> str:
        """How long clips take that are as long as one another and made alike."""
        try:
            clip_s = _timed(self._first_run(items))
        except VgenError as error:
            return f"{counted(len(items), 'clip')} to make, and none of them can be: {error}"
        return (
            f"{counted(len(items), 'clip')} to make, about {clip_s:.1f} s each by one step timed here: "
            f"{lasting(clip_s * len(items))}, and scoring"
        )

    def _first_run(self, items: Sequence[Item]) -> AnyRun:
        """What makes the first clip that can be made; where none can, the reason of the first is raised."""
        reasons = []
        for item in (item for item in items if item.redrawn is None):
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
            clip = self._run(item).clip() if item.redrawn is None else self._passed(item.redrawn)
            clip.save(path)
        except VgenError as error:
            raise ItemError(str(error)) from error
        return Sample(path=path, made=clip)

    def _passed(self, draw: Callable[[int, int], Frames]) -> Clip:
        """A real clip as the model's VAE gives it back, at its native size."""
        model = own_model(self.pipeline.model)
        model.residence.use("vae")
        latents_BCTHW = encode_frames(model.vae, as_pixels(model.vae, draw(model.card.height, model.card.width)))
        return Clip(frames=as_frames(StreamingDecoder(model.vae).push(latents_BCTHW)), fps=float(model.card.fps))

    def _run(self, item: Item) -> AnyRun:
        """What makes an item's clip."""
        words = {"request.prompt": item.prompt, "request.seed": self.seed + item.number}
        length = {} if item.seconds is None else {"request.seconds": item.seconds}
        config, said = merge((f"item {item.id}", words | length | dict(item.values)), ("command line", self.values))
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
    """A clip that an earlier run has kept, with its record."""
    try:
        kept = Clip.read(path)
        return replace(kept, record=read_record(record_path(path))) if record_path(path).is_file() else kept
    except VgenError as error:
        raise ItemError(f"kept from an earlier run, but {error}; remove it to have it made again") from error
