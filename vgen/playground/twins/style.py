"""What a world must say before it can be drawn: how it looks behind, on, under and in front of things.

`draw.py` puts the parts together and knows no world; a world is a `Style` in a file of its own and its entry in
`draw.STYLES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from vgen.playground.render import Canvas
from vgen.playground.twins.film import Floats, Form

__all__ = ["Body", "FixtureKind", "Pane", "Style"]

FixtureKind = Literal["floor", "wall", "ramp", "occluder", "rod", "container", "liquid", "mirror"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The patches of an actor, one per frame; `Y` and `X` are those of a patch.

    Args:
        form: its outline.
        look: a number that goes with its first paint: things painted alike, such as a reflection, look alike.
        dx_FYX, dy_FYX: offsets from the centre along the axes of the world, in radii.
        u_FYX, v_FYX: the same along the thing's own axes, stretch undone.
        outside_FYX: signed distance to the outline, in radii.
        paint_F113: its colour, sRGB 0..1.
        radius_px: pixels per radius, [F, 1, 1].
    """

    form: Form
    look: int
    dx_FYX: Tensor
    dy_FYX: Tensor
    u_FYX: Tensor
    v_FYX: Tensor
    outside_FYX: Tensor
    paint_F113: Tensor
    radius_px: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Pane:
    """The part of a picture that a fixture is drawn on; frames lead, one where the fixture stands still.

    Args:
        kind: what it is.
        canvas: the pixels.
        outside_FYX: signed distance to the polygon or to the middle line of the rod, in world units.
        edge_FYX: distance to the edges that its looks stress: slanting ones of a ramp, all but the one from the last
            corner to the first, where it is open, of a container, all of others.
        across_FYX: 0 half-way between its left and right ends, 1 at them.
        pivot_FYX: distance to its first corner.
    """

    kind: FixtureKind
    canvas: Canvas
    outside_FYX: Tensor
    edge_FYX: Tensor
    across_FYX: Tensor
    pivot_FYX: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How one world looks; colours are sRGB 0..1 in the last axis.

    Args:
        backdrop: (canvas, palette) -> still_YX3: what lies behind everything, the floor included.
        fixture: (pane, palette) -> share_FYX that it covers, and its colour_FYX3.
        paint: (rgb_F3 of an actor over its whole film, palette) -> rgb_F3 as this world paints it.
        body: body -> its colour_FYX3.
        shadow: (dx, depth, y, radius) -> share of the light that a body keeps from the floor, as
            `render.floor_shadow`.
    """

    backdrop: Callable[[Canvas, int], Tensor]
    fixture: Callable[[Pane, int], tuple[Tensor, Tensor]]
    paint: Callable[[Floats, int], Floats]
    body: Callable[[Body, int], Tensor]
    shadow: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
