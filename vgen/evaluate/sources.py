"""Where the clips of a benchmark come from: folders of videos, its own data; `command`, `generator` make them.

A source makes or finds one clip per item and raises ItemError where there is none; what it has made stays in the run's
folder, so that a run that is gone on with does not make it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vgen.errors import ConfigError, InputError
from vgen.evaluate.benchmark import Benchmark, Item, ItemError, Missing, Sample
from vgen.evaluate.command import CommandSource
from vgen.evaluate.places import safe_path
from vgen.files import os_errors

__all__ = ["FolderSource", "GivenSource", "Source", "source_of"]

NAMED = 3  # files that a message names
DEFAULT_SECONDS = 5.0  # asked of a command where a benchmark leaves the length open
DEFAULT_LIMIT_S = 600.0  # for one call of a command
RECORD = ".json"  # stands beside a clip of vgen's


class Source(Protocol):
    """Hands out the clip of an item."""

    @property
    def name(self) -> str:
        """What the clips come from, for people."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that decides which clips it hands out, as plain JSON; runs of other settings are not mixed."""
        ...

    @property
    def redraws(self) -> bool:
        """Whether it has a VAE of its own to put the clips through that an item brings `redrawn`."""
        ...

    def check(self, items: Sequence[Item]) -> None:
        """Refuses what would fail for every one of these items.

        Raises:
            ConfigError, InputError: why.
        """
        ...

    def estimate(self, items: Sequence[Item]) -> list[str]:
        """What a user should know before the clips of these items are made: how long it takes, what is wanting."""
        ...

    def clip(self, item: Item) -> Sample:
        """The clip of an item.

        Raises:
            Missing: there is none.
            ItemError: it could not be made.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """A folder that holds a video for each item, under the names of `vgen evaluate items`."""

    folder: Path
    redraws: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        return f"videos of {self.folder}"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"videos": str(self.folder.resolve())}

    def check(self, items: Sequence[Item]) -> None:
        if any(self._found(item) for item in items):
            return
        with os_errors("read", self.folder):
            there = sorted(path.name for path in self.folder.iterdir())
        raise InputError(
            f"'{self.folder}' holds none of the {len(items)} clips, which should be called "
            f"{_listed([item.file for item in items])}; it holds {_listed(there) or 'nothing'} "
            "(vgen evaluate items lists all names)"
        )

    def estimate(self, items: Sequence[Item]) -> list[str]:
        wanting = [item.file for item in items if not self._found(item)]
        if not wanting:
            return []
        return [f"{len(items) - len(wanting)} of {len(items)} clips are there; missing: {_listed(wanting)}"]

    def clip(self, item: Item) -> Sample:
        found = self._found(item)
        if len(found) > 1:
            raise ItemError(f"{len(found)} files could be it: {_listed([path.name for path in found])}; keep one")
        if not found:
            raise Missing(f"no '{item.file}'" + (f" and no '{item.pattern}'" if item.pattern else ""))
        return Sample(path=found[0])

    def _found(self, item: Item) -> list[Path]:
        """The file of the item's name, else all that its pattern fits."""
        path = safe_path(self.folder, item.file)
        if path.exists() or not item.pattern or not path.parent.is_dir():
            return [path] if path.exists() else []
        return sorted(alike for alike in path.parent.glob(item.pattern) if alike.suffix.lower() != RECORD)


@dataclass(frozen=True, slots=True)
class GivenSource:
    """The clips that a judge benchmark brings."""

    name: str = "the benchmark's own clips"
    redraws: bool = field(default=False, init=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    def check(self, items: Sequence[Item]) -> None:
        """The benchmark has looked at its data itself."""

    def estimate(self, items: Sequence[Item]) -> list[str]:
        return []

    def clip(self, item: Item) -> Sample:
        assert item.given is not None, f"{item.id} of a judge benchmark brings no clip"
        if not item.given.exists():
            raise Missing(f"no '{item.given}'")
        return Sample(path=item.given)


def source_of(
    benchmark: Benchmark,
    *,
    model: str | None,
    videos: Path | None,
    command: str | None,
    folder: Path,
    seed: int | None,
    limit_s: float | None,
    values: Mapping[str, Any],
) -> Source:
    """The source that the user has named; a judge benchmark brings its own.

    Args:
        seed, limit_s: as of the sources; their defaults where None.

    Raises:
        ConfigError: none or several were named, or what this benchmark or this source does not take.
        InputError, ModelError: it is not there.
    """
    named = [name for name, given in (("--model", model), ("--videos", videos), ("--command", command)) if given]
    if benchmark.kind == "judge":
        _refuse(f"{benchmark.name} scores a judge on clips of its own", named, seed, limit_s, values)
        return GivenSource()
    if len(named) != 1:
        got = " and ".join(named) or "none"
        raise ConfigError(f"whose clips? give one of --model ID, --videos DIR, --command 'CMD ...'; got {got}")
    if videos is not None:
        _refuse("--videos takes clips as they are", [], seed, limit_s, values)
        if not videos.is_dir():
            raise InputError(f"--videos {videos}: no such folder")
        return FolderSource(folder=videos)
    if command is not None:
        _refuse("--command reads what its own words say", [], None, None, values)
        most_s = DEFAULT_LIMIT_S if limit_s is None else limit_s
        return CommandSource.parse(command, folder=folder, seed=seed or 0, seconds=DEFAULT_SECONDS, limit_s=most_s)
    assert model is not None
    _refuse("--model is no --command", [], None, limit_s, {})
    from vgen.evaluate.generator import ModelSource  # a model library loads with it, which no other source needs
    from vgen.pipeline import VideoPipeline

    return ModelSource(pipeline=VideoPipeline.from_pretrained(model), folder=folder, seed=seed or 0, values=values)


def _refuse(why: str, named: Sequence[str], seed: int | None, limit_s: float | None, values: Mapping[str, Any]) -> None:
    """Refuses what was said and would not be read."""
    unread = [*named, *(["--seed"] if seed is not None else []), *(["--time-limit"] if limit_s is not None else [])]
    unread += [f"{key}=..." for key in values]
    if unread:
        raise ConfigError(f"{why}; {unread[0]} makes no sense with it")


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)})" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
