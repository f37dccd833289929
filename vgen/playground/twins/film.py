"""What a judge's scene is before it is drawn: things with their looks in every frame, what stands still, and the truth.

World units and axes are those of `vgen.playground.scene`. A film says what is where; `draw.py` decides how a world
draws it. Nothing here trains the embedded model. A last axis of 2 is x, y.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

__all__ = ["FORMS", "WORLDS", "Actor", "Film", "Fixture", "Form", "Happening", "Take", "Truth", "World"]

Floats = npt.NDArray[np.float64]
Form = Literal["ball", "box", "triangle", "star", "ellipse", "pentagon"]
FORMS: tuple[Form, ...] = get_args(Form)
World = Literal["playground", "second"]
WORLDS: tuple[World, ...] = get_args(World)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Actor:
    """A thing that moves or could: its looks in every frame.

    Args:
        form: its outline.
        xy_F2: centre.
        angle_F: radians, left turn positive.
        radius_F: of the ball or of half a box's side; other forms have the area of that ball.
        rgb_F3: paint, sRGB 0..1.
        shown_F: opacity, 0..1; 0 where it does not exist.
        stretch_F2: factors along its own axes; 1, 1 for a rigid thing.
        depth: drawn from the lowest up; fixtures have a depth too.
        shadow_xy_F2: where its shadow would fall on the floor with light from straight above (x), and which share of
            its usual strength it has (y, 0..1); None for the usual place and strength.
    """

    form: Form
    xy_F2: Floats
    angle_F: Floats
    radius_F: Floats
    rgb_F3: Floats
    shown_F: Floats
    stretch_F2: Floats
    depth: int = 0
    shadow_xy_F2: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fixture:
    """What belongs to the scenery: a filled polygon, or a rod between two points that may follow an actor.

    Args:
        kind: floor and wall bound the room, ramp stands in it, occluder in front of things, liquid in its container,
            mirror shows a reflection (drawn as a framed pane; the reflected actor is an actor of its own).
        corners_P2: of the polygon, in order; a rod has two, a container is open from the last to the first; what
            moves has its corners per frame, [F, P, 2].
        depth: drawn from the lowest up; an occluder lies above its actors.
    """

    kind: Literal["floor", "wall", "ramp", "occluder", "rod", "container", "liquid", "mirror"]
    corners_P2: Floats
    depth: int = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """A scene from its first frame to its last.

    Args:
        fps: frames per second.
        actors, fixtures: all that is drawn; the floor is drawn below `FLOOR_Y` without being named.
        palette: picks the colours of what stands still.
    """

    fps: float
    actors: tuple[Actor, ...]
    fixtures: tuple[Fixture, ...] = ()
    palette: int = 0

    @property
    def frames(self) -> int:
        return len(self.actors[0].xy_F2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that truly happened: an event kind as the judge names them, its frame, the indices of its actors."""

    kind: str
    frame: float
    actors: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a take keeps and breaks.

    Args:
        family: name of the scene family.
        seed: with family, law and severity names the take.
        law: the one rule that is broken, by the judge's name; None for a possible take.
        severity: 0..1; 0 for a possible take.
        frames: first and last frame that show the breach; before the first, twins are equal. None where possible.
        actors: indices of those that break it.
        happenings: what truly happens.
        symmetric: whether the take looks as possible played backwards.
    """

    family: str
    seed: int
    law: str | None = None
    severity: float = 0.0
    frames: tuple[int, int] | None = None
    actors: tuple[int, ...] = ()
    happenings: tuple[Happening, ...] = field(default=())
    symmetric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Take:
    """A film and the truth about it."""

    film: Film
    truth: Truth
