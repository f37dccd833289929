"""Which clips a run consists of: scenes of two splits, their twins by law and severity, nuisances and edits.

The calibration split fits scales and is all that anybody may look at while working on rules and perception; it has the
playground's world alone. The test split has scene families of its own wherever a law can be broken in more than one,
seeds of its own always, the second world, and a part in H.264 at CRF 28. Nothing but its figures is reported.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from zlib import crc32

import numpy as np

from vgen.playground.twins.attack import SUPERFICIAL_ATTACKS, TEMPORAL_ATTACKS
from vgen.playground.twins.families import FAMILIES, LAWS, Split
from vgen.playground.twins.film import World
from vgen.playground.twins.nuisance import NUISANCES
from vgen.playground.twins.suite import TEST_FROM_SEED, take
from vgen.playground.twins.swaps import SWAPS

__all__ = ["CLEAN", "CLEAR", "PARTS", "SIZES", "SWAP_SEVERITY", "Piece", "Size", "families_of", "suite"]

CLEAR = 0.5  # severity from which on a violation is plain
SWAP_SEVERITY = 0.5  # of quadruplets, whose second possible scene depends on it
CLEAN = "none"
H264 = "h264"
AGAIN = ("noise", "shake", "phone", "distractors")  # nuisances that draw by lot, for clips that are drawn twice
MOVES = 0.05  # world units; an actor that covers less in a whole film does not move


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One clip of a suite; equal pieces are equal clips.

    Args:
        family, seed: of the scene.
        law, severity: what it breaks, and how much; None and 0 for a possible clip.
        swap: of a quadruplet of this law, what starts as its second possible scene; None for a clip of plain twins.
        world: how it is drawn.
        nuisance: name in `NUISANCES`.
        drawing: 1 for one drawn again, with other lots.
        attack: name in `ATTACKS` of an edit; None for none.
    """

    family: str
    seed: int
    law: str | None = None
    severity: float = 0.0
    swap: str | None = None
    world: World = "playground"
    nuisance: str = CLEAN
    drawing: int = 0
    attack: str | None = None

    @property
    def scene(self) -> tuple[str, int]:
        return self.family, self.seed

    @property
    def possible_twin(self) -> "Piece":
        """The clip that breaks nothing and is the same otherwise."""
        return replace(self, law=None, severity=0.0)

    @property
    def null_twin(self) -> "Piece | None":
        """For a possible clip that has one: another possible one, which no rule may tell from it."""
        if self.law is None and self.attack is None and (self.drawing or self.swap):
            return replace(self, drawing=0, swap=None)
        return None

    @property
    def unedited(self) -> "Piece":
        return replace(self, attack=None)


# part of the test split that has figures of its own -> whether a piece belongs to it
PARTS: Mapping[str, Callable[[Piece], bool]] = {
    "second": lambda piece: piece.world == "second",
    "h264": lambda piece: piece.nuisance == H264,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of everything.

    Args:
        scenes: per law, shared out among its families of the split; every other one with a nuisance.
        second: the same in the second world.
        h264: the same as compressed clips.
        severities: of the twins of each scene.
        again: scenes per family that are drawn twice.
        edited: scenes per family whose possible clip is edited, in every way.
    """

    scenes: int
    second: int
    h264: int
    severities: tuple[float, ...]
    again: int
    edited: int


SIZES: Mapping[str, Size] = {
    "quick": Size(scenes=8, second=4, h264=4, severities=(0.5, 1.0), again=1, edited=1),
    "full": Size(scenes=20, second=10, h264=8, severities=(0.125, 0.25, 0.5, 1.0), again=2, edited=3),
}


def families_of(split: Split) -> dict[str, tuple[str, ...]]:
    """Which laws each family of a split breaks."""
    return {name: family.laws for name, family in FAMILIES.items() if family.split == split}


def suite(split: Split, size: Size, *, laws: tuple[str, ...] = tuple(LAWS)) -> tuple[Piece, ...]:
    """All pieces of a split, each once, families in turn; the same ones every time.

    Args:
        split: whose families, seeds and worlds.
        size: how many.
        laws: that are broken; families that break none of them are left out.
    """
    first = TEST_FROM_SEED if split == "test" else 0
    drawings: list[tuple[World, str | None, int]] = [("playground", None, size.scenes)]
    if split == "test":
        drawings += [("second", None, size.second), ("playground", H264, size.h264)]
    families = {name: [law for law in broken if law in laws] for name, broken in families_of(split).items()}
    pieces: dict[Piece, None] = {}
    for family, broken in families.items():
        if not broken:
            continue
        for world, nuisance, count in drawings:
            share = {law: math.ceil(count / sum(law in others for others in families.values())) for law in broken}
            # Seeds of one way of drawing are not seen in another.
            for number in range(max(share.values())):
                here = nuisance or _nuisance(family, number)
                scene = Piece(family=family, seed=first + number, world=world, nuisance=here)
                wanted = tuple(law for law in broken if number < share[law])
                pieces |= dict.fromkeys(_broken(scene, wanted, size.severities))
            first += max(share.values())
        scenes = [Piece(family=family, seed=first + number) for number in range(max(size.again, size.edited))]
        first += len(scenes)
        pieces |= dict.fromkeys(piece for scene in scenes[: size.again] for piece in _again(scene))
        pieces |= dict.fromkeys(piece for scene in scenes[: size.edited] for piece in _edited(scene))
    return tuple(pieces)


def _broken(scene: Piece, laws: tuple[str, ...], severities: tuple[float, ...]) -> Iterator[Piece]:
    """A scene that breaks nothing, its twins, and the rest of its quadruplets."""
    yield scene
    for law in laws:
        for severity in severities:
            yield replace(scene, law=law, severity=severity)
        if law in SWAPS:
            yield replace(scene, swap=law)
            yield replace(scene, swap=law, law=law, severity=SWAP_SEVERITY)


def _again(scene: Piece) -> Iterator[Piece]:
    """The same possible scene twice, with other lots."""
    nuisance = AGAIN[crc32(scene.family.encode()) % len(AGAIN)]
    for drawing in (0, 1):
        yield replace(scene, nuisance=nuisance, drawing=drawing)


def _edited(scene: Piece) -> Iterator[Piece]:
    """A possible scene and its edits; no edit in time where nothing moves, none backwards where that looks possible."""
    possible = take(scene.family, scene.seed)
    moves = any(np.ptp(actor.xy_F2, axis=0).max() > MOVES for actor in possible.film.actors)
    yield scene
    for name in SUPERFICIAL_ATTACKS:
        yield replace(scene, attack=name)
    for name in TEMPORAL_ATTACKS:
        if moves and not (name == "reverse" and possible.truth.symmetric):
            yield replace(scene, attack=name)


@cache
def _disturbing() -> tuple[str, ...]:
    return tuple(name for name in NUISANCES if name != CLEAN)


def _nuisance(family: str, number: int) -> str:
    """None for every other scene of a family, for the others each nuisance in turn, begun elsewhere in each family."""
    if number % 2 == 0:
        return CLEAN
    return _disturbing()[(number // 2 + crc32(family.encode())) % len(_disturbing())]
