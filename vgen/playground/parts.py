"""What scenes are made of: bodies with their materials, how they start, and the things that stand still.

Axes and units are those of `scene.py`.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = [
    "COLOURS",
    "MATERIALS",
    "SHAPES",
    "SHELF_THICKNESS",
    "SIZES",
    "Body",
    "Colour",
    "Ledge",
    "Material",
    "Matter",
    "Occluder",
    "Pivot",
    "Ramp",
    "Shape",
    "Shelf",
    "Size",
    "Start",
]

Colour = Literal["red", "yellow", "green", "blue", "purple", "white"]
Shape = Literal["ball", "box"]
Size = Literal["small", "medium", "large"]
Material = Literal["plain", "rubber", "metal", "wooden"]

COLOURS: tuple[Colour, ...] = get_args(Colour)
SHAPES: tuple[Shape, ...] = get_args(Shape)
SIZES: dict[Size, float] = {"small": 0.065, "medium": 0.085, "large": 0.11}  # radius of a ball, half a box's side
SHELF_THICKNESS = 0.03


@dataclass(frozen=True, slots=True)
class Matter:
    """Mass per area and elasticity of a material, as factors of the plain one's."""

    density: float
    bounce: float  # 1.05 at most: two bodies that give back more than they took would gain energy


MATERIALS: dict[Material, Matter] = {
    "plain": Matter(1.0, 1.0),
    "rubber": Matter(1.05, 1.05),
    "metal": Matter(1.6, 0.55),
    "wooden": Matter(0.8, 0.8),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A thing that moves: its looks. Its mass goes with its area and its material."""

    shape: Shape
    colour: Colour
    size: Size
    material: Material = "plain"

    @property
    def radius(self) -> float:
        """Radius of a ball or half the side of a box, in world units."""
        return SIZES[self.size]

    @property
    def mass(self) -> float:
        """In units of a plain square of side 1."""
        area = math.pi * self.radius**2 if self.shape == "ball" else (2 * self.radius) ** 2
        return MATERIALS[self.material].density * area


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A body's state at time 0: centre, angle, velocity per second, spin in radians per second (left turn positive)."""

    x: float
    y: float
    angle: float = 0.0
    vx: float = 0.0
    vy: float = 0.0
    spin: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """A solid wedge on the floor: height `height` at `high_x`, down to nothing at `low_x`."""

    high_x: float
    low_x: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledge:
    """A solid block on the floor, from the wall at `wall_x` to `edge_x`, its top `height` above the floor."""

    wall_x: float
    edge_x: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A plank on a side wall, from `wall_x` to `edge_x`, with its upper face at y = `top`."""

    wall_x: float
    edge_x: float
    top: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Occluder:
    """A slab in front of everything, standing on the floor; it stops nothing."""

    x: float
    half_width: float
    top: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pivot:
    """Where the rod of a pendulum hangs; the rod ends in the first body's centre."""

    x: float
    y: float
