"""What families are staged with: the breach to stage, the cast's looks, and what a stage hands back."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgen.playground.scene import FLOOR_Y, Dice
from vgen.playground.twins.film import Actor, Fixture, Form, Happening
from vgen.playground.twins.motion import rolled
from vgen.playground.twins.severity import SEVERITY

__all__ = ["FOLLOWS", "SLAB_DEPTH", "Spell", "Staged", "Wrong", "actor", "block", "on_floor", "roller", "slab"]

Floats = npt.NDArray[np.float64]
SLAB_DEPTH = 10
FOLLOWS = 3.2  # radii between the centres of two that pass an occluder one behind the other


@dataclass(frozen=True, slots=True)
class Wrong:
    """The one law that a stage shall break, if any.

    Args:
        law: None for a possible film.
        severity: 0..1.
        dice: for how it breaks, apart from the family's own, so that the twins stay twins.
    """

    law: str | None
    severity: float
    dice: Dice

    def of(self, law: str) -> float:
        """Size of the breach in the unit of `SEVERITY`; 0 where this law is kept."""
        return SEVERITY[law].size(self.severity) if law == self.law else 0.0


@dataclass(frozen=True, slots=True)
class Spell:
    """Frames in which an actor is whole, in view, moving and away from everything: one past the last is `end`."""

    actor: int
    first: int
    end: int

    def at(self, share: float) -> int:
        """The frame at a share of the way."""
        return self.first + round(share * (self.end - 1 - self.first))


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A film in the making.

    Args:
        actors, fixtures, happenings: as in the film and its truth.
        free: where a breach that any thing in motion can show may be put.
        culprits: actors that break the law.
        lasts: frames that show the breach after the first one; None to the film's end.
        symmetric: as in the truth.
    """

    actors: tuple[Actor, ...]
    fixtures: tuple[Fixture, ...] = ()
    happenings: tuple[Happening, ...] = ()
    free: Spell | None = None
    culprits: tuple[int, ...] = (0,)
    lasts: int | None = 0
    symmetric: bool = False

    @property
    def frames(self) -> int:
        return len(self.actors[0].xy_F2)


def actor(
    form: Form,
    xy_F2: Floats,
    radius: float,
    rgb: npt.ArrayLike,
    *,
    angle_F: Floats | None = None,
    shown_F: Floats | None = None,
    stretch: tuple[float, float] = (1.0, 1.0),
    depth: int = 0,
    shadow_xy_F2: Floats | None = None,
) -> Actor:
    """An actor whose looks stay as they are unless given per frame."""
    frames = len(xy_F2)
    return Actor(
        form=form,
        xy_F2=xy_F2,
        angle_F=np.zeros(frames) if angle_F is None else angle_F,
        radius_F=np.full(frames, radius),
        rgb_F3=np.tile(np.asarray(rgb, dtype=np.float64), (frames, 1)),
        shown_F=np.ones(frames) if shown_F is None else shown_F,
        stretch_F2=np.tile(np.asarray(stretch), (frames, 1)),
        depth=depth,
        shadow_xy_F2=shadow_xy_F2,
    )


def roller(form: Form, xy_F2: Floats, radius: float, rgb: npt.ArrayLike, depth: int = 0) -> Actor:
    """A ball that rolls, or any other form that slides upright."""
    angle_F = rolled(xy_F2, radius) if form == "ball" else None
    return actor(form, xy_F2, radius, rgb, angle_F=angle_F, depth=depth)


def on_floor(x: float, radius: float) -> tuple[float, float]:
    """Centre of a ball or box that stands on the floor."""
    return x, FLOOR_Y + radius


def block(left: float, right: float, low: float, high: float) -> Floats:
    """Corners of an upright rectangle, [4, 2]."""
    return np.array([(left, low), (right, low), (right, high), (left, high)])


def slab(left: float, right: float, high: float, low: float = FLOOR_Y / 2) -> Fixture:
    """An occluder in front of everything, on the floor unless `low` says otherwise."""
    return Fixture(kind="occluder", corners_P2=block(left, right, low, high), depth=SLAB_DEPTH)
