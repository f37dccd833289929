"""What stands or moves in a film without being part of its action: distractors, and a slab in front of the path.

Both are chosen by the seed and by where the actors are, so that twins get the same ones unless their breach comes near.
"""

import math
from dataclasses import replace

import numpy as np

from vgen.errors import InputError
from vgen.playground.scene import FLOOR_Y, GRAVITY, WALL_X, Dice
from vgen.playground.twins.film import FORMS, Actor, Film, Fixture, Form, Take
from vgen.playground.twins.forms import CORNERS, ELLIPSE_AXES, REACH
from vgen.playground.twins.motion import rolled
from vgen.playground.twins.paint import PAINTS
from vgen.playground.twins.staging import actor, block

__all__ = ["distracted", "half_hidden"]

_TRIES = 300
_MARGIN = 0.04  # world units kept free around a distractor
_SMALL, _LARGE = 0.028, 0.05  # radii of distractors


def distracted(take: Take, count: int, seed: int) -> Take:
    """Adds things that neither touch nor cover what happens: resting, rolling on or swinging by themselves.

    They come after the actors, whose indices stay; the truth stays as it is.

    Raises:
        InputError: where the film has no room for them.
    """
    dice = Dice(seed)
    film = take.film
    for _ in range(count):
        candidates = (_candidate(film, dice) for _ in range(_TRIES))
        fitting = next((candidate for candidate in candidates if _is_clear(film, *candidate)), None)
        if fitting is None:
            raise InputError(f"no room for {count} distractors in '{take.truth.family}', seed {take.truth.seed}")
        thing, rod = fitting
        film = replace(film, actors=(*film.actors, thing), fixtures=(*film.fixtures, *rod))
    return Take(film=film, truth=take.truth)


def half_hidden(take: Take, seed: int) -> Take:
    """Puts a slab in front of an early part of the first mover's path, narrower than the mover.

    It stands on the floor before a level path, and hangs as a bar before a steep one.

    Raises:
        InputError: where nothing goes far enough.
    """
    dice = Dice(seed)
    film = take.film
    start = dice.uniform(0.08, 0.14)  # world units that the mover has gone when it comes behind the slab
    frame, mover = min(((_frame_at(start, thing), thing) for thing in film.actors), key=lambda found: found[0])
    if frame == film.frames:
        raise InputError(f"nothing goes far in '{take.truth.family}', seed {take.truth.seed}: no path for a slab")
    (x, y), radius = mover.xy_F2[frame], float(mover.radius_F[frame])
    depths = [*(thing.depth for thing in film.actors), *(fixture.depth for fixture in film.fixtures)]
    dx, dy = np.abs(mover.xy_F2[min(frame + 1, film.frames - 1)] - mover.xy_F2[frame - 1])
    thick = dice.uniform(0.35, 0.7) * radius
    if dx >= dy:
        corners_P2 = block(x - thick, x + thick, FLOOR_Y / 2, y + 2 * radius)
    else:
        corners_P2 = block(x - 2.2 * radius, x + 2.2 * radius, y - thick, y + thick)
    depth = 1 + max(depths)
    slab = Fixture(kind="occluder", corners_P2=corners_P2, depth=depth)
    return Take(film=replace(film, fixtures=(*film.fixtures, slab)), truth=take.truth)


def _frame_at(way: float, thing: Actor) -> int:
    """First frame in which a thing has gone that far; one past the last where there is none."""
    steps = np.hypot(*np.diff(thing.xy_F2, axis=0).T)
    return 1 + int(np.searchsorted(np.cumsum(steps), way))


def _candidate(film: Film, dice: Dice) -> tuple[Actor, tuple[Fixture, ...]]:
    """A distractor somewhere, with its rod where it has one."""
    frames = film.frames
    radius = dice.uniform(_SMALL, _LARGE)
    paint = dice.pick(PAINTS)
    x = dice.uniform(WALL_X + 1.5 * radius, 1 - WALL_X - 1.5 * radius)
    conduct = dice.pick(("rests", "rolls", "swings"))
    if conduct == "rests":
        form = dice.pick(FORMS)
        xy_F2 = np.tile((x, FLOOR_Y + radius * _foot(form)), (frames, 1))
        return actor(form, xy_F2, radius, paint), ()
    if conduct == "rolls":
        speed = dice.uniform(0.04, 0.12) * dice.pick((-1.0, 1.0)) / film.fps
        xy_F2 = np.stack([x + speed * np.arange(frames), np.full(frames, FLOOR_Y + radius)], axis=1)
        return actor("ball", xy_F2, radius, paint, angle_F=rolled(xy_F2, radius)), ()
    length, swing, phase = dice.uniform(0.12, 0.3), dice.uniform(0.2, 0.35), dice.uniform(0, 2 * math.pi)
    top = np.array([x, dice.uniform(0.85, 0.97)])
    angle_F = swing * np.cos(math.sqrt(GRAVITY / length) / film.fps * np.arange(frames) + phase)  # a small swing
    xy_F2 = top + length * np.stack([np.sin(angle_F), -np.cos(angle_F)], axis=1)
    rod = Fixture(kind="rod", corners_P2=np.stack([np.tile(top, (frames, 1)), xy_F2], axis=1))
    return actor(dice.pick(("ball", "box")), xy_F2, radius, paint, angle_F=angle_F), (rod,)


def _foot(form: Form) -> float:
    """How far an upright form reaches below its centre, in radii."""
    if form in CORNERS:
        return -float(CORNERS[form][:, 1].min())
    return ELLIPSE_AXES[1] if form == "ellipse" else 1.0


def _is_clear(film: Film, thing: Actor, rods: tuple[Fixture, ...]) -> bool:
    """Whether a distractor keeps away from all actors, fixtures and walls in all frames."""
    reach = REACH[thing.form] * float(thing.radius_F[0])
    spread = np.concatenate([thing.xy_F2 - reach, thing.xy_F2 + reach, *(rod.corners_P2[:, 0] for rod in rods)])
    low, high = spread.min(0), spread.max(0)
    if low[0] < WALL_X or high[0] > 1 - WALL_X:
        return False
    for fixture in film.fixtures:
        corners = fixture.corners_P2.reshape(-1, 2)
        apart = (corners.min(0) - _MARGIN > high) | (corners.max(0) + _MARGIN < low)
        if fixture.kind != "floor" and not apart.any():
            return False
    for other in film.actors:
        away_F = np.hypot(*(other.xy_F2 - thing.xy_F2).T)
        if (away_F < reach + REACH[other.form] * other.radius_F * other.stretch_F2.max(1) + _MARGIN).any():
            return False
    return not any(_crosses(rod, other) for rod in rods for other in film.actors)


def _crosses(rod: Fixture, other: Actor) -> bool:
    """Whether an actor comes near a rod in some frame."""
    top_F2, end_F2 = rod.corners_P2[:, 0], rod.corners_P2[:, 1]
    along_F2, to_F2 = end_F2 - top_F2, other.xy_F2 - top_F2
    share_F = ((to_F2 * along_F2).sum(1) / (along_F2**2).sum(1)).clip(0, 1)
    away_F = np.hypot(*(to_F2 - share_F[:, None] * along_F2).T)
    return bool((away_F < REACH[other.form] * other.radius_F * other.stretch_F2.max(1) + _MARGIN).any())
