"""What a benchmark is: its items, how one clip is scored, and how scores add up.

A generator benchmark scores clips that somebody made of its prompts; a judge benchmark brings clips whose truth is
known, and scores a judge. A new one is a file in `benchmarks/` that ends in a `Benchmark`, and a line in `BENCHMARKS`.
Who makes the clips, keeps the rows and prints them is the runner's affair.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from vgen.clip import Clip
from vgen.errors import InputError, VgenError
from vgen.evaluate.jury import Cost, Jury, Need
from vgen.evaluate.layout import Found
from vgen.frames import Frames
from vgen.judge.card import Figure

__all__ = ["Benchmark", "Direction", "Item", "ItemError", "Kind", "Measures", "Missing", "Sample", "Score"]

LOSSLESS = (".mkv", ".png", "")  # as vgen writes them

Kind = Literal["generator", "judge"]
Direction = Literal["higher", "lower"]
Measures = Mapping[str, Any]  # what one clip was found to be: plain JSON, the same for the same clip


class ItemError(VgenError):
    """One item cannot be scored; it counts as failed, never as a number, and the run goes on."""


class Missing(ItemError):
    """There is no clip of an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One clip to make, or that a judge benchmark brings.

    Args:
        id: its name in the benchmark, unique: `chess/3`, `0001`.
        prompt: what should be seen.
        file: where a folder of videos holds it: a path with `/`, relative, with a suffix.
        pattern: a glob for the same, where the published names say more than ours: `0001_*.mp4`; empty for none.
        stratum: what limits are spread over: a category or task.
        image: the first frame to start from.
        given: the clip itself, of a judge benchmark.
        seconds: the length asked for; the generator's own where None.
        number: counts the items of a benchmark; the seed of an item is the run's plus it.
        only_full: whether it is asked for with all items alone, never as one of a part.
        values: config keys that a model of vgen's makes it with, unless the user says them otherwise.
        redrawn: a real clip, drawn at a height and width in pixels, that a model of vgen's puts through its own VAE
            instead of making one; nobody else can be asked for it.
        data: what else the benchmark knows of it, for `score` and `aggregate` alone.
    """

    id: str
    prompt: str
    file: str
    pattern: str = ""
    stratum: str = ""
    image: Path | None = None
    given: Path | None = None
    seconds: float | None = None
    number: int = 0
    only_full: bool = False
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    redrawn: Callable[[int, int], Frames] | None = None
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A clip to score.

    Args:
        path: where it stands: a video, a folder of PNG frames, or what else a benchmark asks for (masks as .npz).
        made: the clip before it was encoded, where this very run made it.
    """

    path: Path
    made: Clip | None = None

    @property
    def exact(self) -> bool:
        """Whether its frames are those before any lossy encoding."""
        return self.made is not None or self.path.suffix in LOSSLESS

    @cached_property
    def clip(self) -> Clip:
        """Its frames; read on first use.

        Raises:
            ItemError: it cannot be read.
        """
        if self.made is not None:
            return self.made
        try:
            return Clip.read(self.path)
        except InputError as error:
            raise ItemError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One figure of a benchmark.

    Args:
        name: what it is, with the judge where one gave it, and for a chat its wording: `auc@measured#1a2b3c4d`,
            `rule_coherence@o3#5e6f7a8b`.
        figure: value, 95 % interval where there is one, and how many clips stand behind it.
        group: the section of the table it stands in; empty for the whole.
        better: which way it grows better: an error is better `lower`.
        beside: what to hold it against: `renders`, `chance`, `random`.
    """

    name: str
    figure: Figure
    group: str = ""
    better: Direction = "higher"
    beside: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark.

    Args:
        name: as in `vgen evaluate NAME`.
        title, home, licence: for people; the licence is that of its data.
        kind: whose score it is.
        draws_root: whether `items` draws what they need to `root` by itself, so that the user brings nothing.
        layout: looks at a root, file by file, for `doctor`; None for one that brings nothing.
        items: the items of a root (None for a benchmark without one); the same ones every time, ids unique.
        score: one clip; raises ItemError where it cannot be scored.
        aggregate: adds up rows that were scored, by item id; the headline comes first. Gets the items that were asked
            for, and must not count the missing ones as anything.
        needs: what of the jury it asks.
        cost: what scoring these items will ask of the chat, estimated; None where nothing is asked.
        recount: adds up answers that others published, or that the user brings, without a judge; None where none are.
            Raises InputError where they are not there or not as they should be.
        default_limit: how many items are taken where no limit is given; None for all.
        fair_parts: whether a part that is spread over its strata is a score too; else one below all is PARTIAL.
        world: of the playground, whose detector looks; its version is kept with the rows.
        note: what a reader of its figures must know: known defects of the reference that were not copied.
        remarks: what a reader must know of these rows: what was left out, which machine made them; a line each.
    """

    name: str
    title: str
    home: str
    licence: str
    kind: Kind
    items: Callable[[Path | None], Sequence[Item]]
    score: Callable[[Item, Sample, Jury], Measures]
    aggregate: Callable[[Sequence[Item], Mapping[str, Measures], Jury], Sequence[Score]]
    draws_root: bool = False
    layout: Callable[[Path], Sequence[Found]] | None = None
    needs: frozenset[Need] = frozenset()
    cost: Callable[[Sequence[Item], Jury], Cost] | None = None
    recount: Callable[[Path], Sequence[Score]] | None = None
    default_limit: int | None = None
    fair_parts: bool = False
    world: str = "first"
    note: str = ""
    remarks: Callable[[Sequence[Item], Mapping[str, Measures]], Sequence[str]] | None = None
