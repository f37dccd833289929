"""Bodies at rest that have no part in a scene's events: where they can stand or lie without ever being touched.

The actors are simulated alone; what they sweep is a set of circles, and a place is free where a body keeps a margin
from all of them and from what stands on the floor.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vgen.playground.parts import SHELF_THICKNESS
from vgen.playground.scene import FLOOR_Y, WALL_X, Body, Dice, Scene, Shelf, Start

__all__ = ["with_bystanders"]

Floats = npt.NDArray[np.float64]

_MARGIN = 0.03  # between a bystander and all that moves
_GAP = 0.02  # between a bystander and walls or fixtures
_SPACING = 0.02  # of the places that are tried on the floor
_SHELF_TOPS = (0.50, 0.56, 0.62, 0.68)
_SHELF_ROOM = 0.035  # of a shelf on either side of what lies on it
_SHELF_SHARE = 0.4  # of bystanders that could be in both places


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a bystander's centre may be; on a shelf, if that is put there or made longer."""

    x: float
    y: float
    shelf: Shelf | None = None


def with_bystanders(scene: Scene, bodies: tuple[Body, ...], dice: Dice, *, frames: int) -> Scene:
    """Puts bodies into a scene of actors, as many as there is room for, the first ones first.

    Args:
        scene: without bystanders.
        bodies: of colours of their own; those that fit nowhere are left out.
        dice: picks among the free places.
        frames: during which nothing may come near them.
    """
    swept_K3 = _swept(scene, frames)
    for number, body in enumerate(bodies, start=1):
        floor = [place for place in _on_floor(scene, body) if _is_free((place.x, place.y), _reach(body), swept_K3)]
        shelves = [place for place in _on_shelves(scene, body) if _plank_is_free(place, scene, swept_K3)]
        shelves = [place for place in shelves if _is_free((place.x, place.y), _reach(body), swept_K3)]
        last = number == len(bodies)  # the floor has the least room: the first of two takes it where it can
        places = shelves if shelves and (not floor or (last and dice.uniform(0, 1) < _SHELF_SHARE)) else floor
        if not places:
            continue
        place = dice.pick(tuple(places))
        scene = replace(
            scene,
            bodies=(*scene.bodies, body),
            starts=(*scene.starts, Start(x=place.x, y=place.y)),
            shelf=place.shelf or scene.shelf,
        )
        swept_K3 = np.vstack([swept_K3, (place.x, place.y, body.radius)])
    return scene


def _reach(body: Body) -> float:
    """Radius of the circle round a body."""
    return body.radius * (math.sqrt(2) if body.shape == "box" else 1.0)


def _swept(scene: Scene, frames: int) -> Floats:
    """Circles x, y, radius that cover where the actors and their rod come."""
    from vgen.playground.simulate import simulate

    parts = []
    for body, state_F3 in zip(scene.bodies, simulate(scene, frames).states_NF3.astype(np.float64), strict=True):
        parts.append(np.column_stack([state_F3[:, :2], np.full(frames, _reach(body))]))
    if scene.pivot is not None:
        pivot_2 = np.array([scene.pivot.x, scene.pivot.y])
        rods = [pivot_2 + share * (parts[0][:, :2] - pivot_2) for share in np.linspace(0, 1, 9)[:-1]]
        parts += [np.column_stack([rod_F2, np.full(frames, 0.04)]) for rod_F2 in rods]
    return np.concatenate(parts)


def _is_free(centre: tuple[float, float], reach: float, swept_K3: Floats) -> bool:
    apart_K = np.hypot(swept_K3[:, 0] - centre[0], swept_K3[:, 1] - centre[1])
    return bool((apart_K > swept_K3[:, 2] + reach + _MARGIN).all())


def _on_floor(scene: Scene, body: Body) -> list[_Place]:
    """Places on the floor, beside whatever stands on it."""
    taken = [(o.x - o.half_width, o.x + o.half_width) for o in (scene.occluder,) if o]
    taken += [(min(r.high_x, r.low_x), max(r.high_x, r.low_x)) for r in (scene.ramp,) if r]
    taken += [(min(b.wall_x, b.edge_x), max(b.wall_x, b.edge_x)) for b in (scene.ledge,) if b]
    first, last = WALL_X + body.radius + _GAP, 1 - WALL_X - body.radius - _GAP
    places = first + _SPACING * np.arange(int((last - first) / _SPACING) + 1)
    return [
        _Place(float(x), FLOOR_Y + body.radius)
        for x in places
        if all(x + body.radius + _GAP < low or x - body.radius - _GAP > high for low, high in taken)
    ]


def _on_shelves(scene: Scene, body: Body) -> list[_Place]:
    """Places on a shelf at either wall; where there is a shelf already, the one on a longer one."""
    room = body.radius + _SHELF_ROOM
    if (shelf := scene.shelf) is not None:
        out = math.copysign(room, shelf.edge_x - shelf.wall_x)
        longer = replace(shelf, edge_x=shelf.edge_x + 2 * out)
        return [_Place(shelf.edge_x + out, shelf.top + body.radius, longer)]
    return [
        _Place(wall_x + out, top + body.radius, Shelf(wall_x=wall_x, edge_x=wall_x + 2 * out, top=top))
        for top in _SHELF_TOPS
        for wall_x, out in ((WALL_X, room), (1 - WALL_X, -room))
    ]


def _plank_is_free(place: _Place, scene: Scene, swept_K3: Floats) -> bool:
    """Whether the plank under a place is in nobody's way and not behind the pillar."""
    assert place.shelf is not None, "a place on a shelf has one"
    shelf, pillar = place.shelf, scene.occluder
    middle_y = shelf.top - SHELF_THICKNESS / 2
    if pillar is not None and pillar.top + SHELF_THICKNESS > middle_y:
        left, right = sorted((shelf.wall_x, shelf.edge_x))
        if right > pillar.x - pillar.half_width - _GAP and left < pillar.x + pillar.half_width + _GAP:
            return False
    own_part = np.linspace(2 * place.x - shelf.edge_x, shelf.edge_x, 5)
    return all(_is_free((float(x), middle_y), SHELF_THICKNESS, swept_K3) for x in own_part)
