"""Breaches that any scene can show: edits of the frames of one actor, put into its free spell."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vgen.playground.scene import FLOOR_Y
from vgen.playground.twins.film import Actor, Form
from vgen.playground.twins.paint import pick_paints, repainted
from vgen.playground.twins.staging import Spell, Staged, Wrong, actor, on_floor

__all__ = ["BREACHES", "Breach"]

Breach = Callable[[Staged, Wrong], Staged]
_GROWTH_FRAMES = 5


def _free(staged: Staged) -> Spell:
    assert staged.free is not None, "this family has no free spell"
    return staged.free


def _teleport(staged: Staged, wrong: Wrong) -> Staged:
    spell = _free(staged)
    body = staged.actors[spell.actor]
    jump = wrong.of("teleport") * 2 * body.radius_F[0]
    ways = wrong.dice.pick(((1, -1), (-1, 1)))
    # Where the body shows for longest after its jump; in the middle of the spell if that is as good.
    options = [(way * jump, spell.at(share)) for share in (0.5, 0.65, 0.35, 0.8, 0.2) for way in ways]
    step, first = max(options, key=lambda option: _shows(body, *option))
    xy_F2 = body.xy_F2.copy()
    xy_F2[first:, 0] += step
    return _with(staged, spell.actor, replace(body, xy_F2=xy_F2))


def _shows(body: Actor, step: float, first: int) -> float:
    """Share of the frames from `first` on that show a body wholly, if it is moved along x."""
    return float(np.mean(np.abs(body.xy_F2[first:, 0] + step - 0.5) < 0.5 - body.radius_F[first:]))


def _vanish(staged: Staged, wrong: Wrong) -> Staged:
    index = staged.free.actor if staged.free else 0
    body = staged.actors[index]
    shown_F = body.shown_F.copy()
    shown_F[-_share(staged, wrong.of("vanish")) :] = 0.0
    return _with(staged, index, replace(body, shown_F=shown_F))


def _spawn(staged: Staged, wrong: Wrong) -> Staged:
    frames, radius = staged.frames, wrong.dice.uniform(0.05, 0.06)
    # On the floor, where nothing else ever comes near.
    places = np.linspace(0.09, 0.91, 42)
    distance = np.full(len(places), math.inf)
    for body in staged.actors:
        for index, x in enumerate(places):
            away_F = np.hypot(*(body.xy_F2 - on_floor(x, radius)).T) - body.radius_F
            distance[index] = min(distance[index], float(away_F.min()))
    x = float(places[int(np.argmax(distance))])
    shown_F = np.zeros(frames)
    shown_F[-_share(staged, wrong.of("spawn")) :] = 1.0
    form: Form = wrong.dice.pick(("ball", "box"))
    rgb = pick_paints(wrong.dice, 1)[0]
    new = actor(form, np.tile(on_floor(x, radius), (frames, 1)), radius, rgb, shown_F=shown_F)
    return replace(staged, actors=(*staged.actors, new), culprits=(len(staged.actors),), lasts=0)


def _share(staged: Staged, share: float) -> int:
    return max(1, round(share * staged.frames))


def _size(staged: Staged, wrong: Wrong) -> Staged:
    spell = _free(staged)
    body = staged.actors[spell.actor]
    clock_F = np.arange(staged.frames) - (spell.at(0.5) - 1)
    radius_F = body.radius_F * (1 + wrong.of("size") * np.clip(clock_F / _GROWTH_FRAMES, 0.0, 1.0))
    xy_F2 = body.xy_F2.copy()
    stands_F = np.abs(xy_F2[:, 1] - FLOOR_Y - body.radius_F) < 1e-6
    xy_F2[stands_F, 1] = FLOOR_Y + radius_F[stands_F]
    grown = replace(body, radius_F=radius_F, xy_F2=xy_F2)
    return replace(_with(staged, spell.actor, grown), lasts=_GROWTH_FRAMES - 1)


def _colour(staged: Staged, wrong: Wrong) -> Staged:
    spell = _free(staged)
    body = staged.actors[spell.actor]
    rgb_F3 = body.rgb_F3.copy()
    rgb_F3[spell.at(0.5) :] = repainted(body.rgb_F3[0], wrong.of("colour"), wrong.dice)
    return replace(_with(staged, spell.actor, replace(body, rgb_F3=rgb_F3)), lasts=None)


def _rigid(staged: Staged, wrong: Wrong) -> Staged:
    spell = _free(staged)
    body = staged.actors[spell.actor]
    long = math.sqrt(1 + wrong.of("rigid"))
    stretch_F2 = body.stretch_F2.copy()
    stretch_F2[spell.at(0.5) :] *= wrong.dice.pick(((long, 1 / long), (1 / long, long)))
    return replace(_with(staged, spell.actor, replace(body, stretch_F2=stretch_F2)), lasts=None)


def _spin(staged: Staged, wrong: Wrong) -> Staged:
    spell = _free(staged)
    body = staged.actors[spell.actor]
    first = spell.at(0.45)
    factor = 1 + wrong.dice.pick((-1, 1)) * wrong.of("spin")
    angle_F = body.angle_F.copy()
    angle_F[first:] = angle_F[first] + factor * (angle_F[first:] - angle_F[first])
    return _with(staged, spell.actor, replace(body, angle_F=angle_F))


def _speed_jerk(staged: Staged, wrong: Wrong) -> Staged:
    spell = _free(staged)
    body = staged.actors[spell.actor]
    first, factor = spell.at(0.45), 1 - wrong.of("speed_jerk")
    xy_F2, angle_F = body.xy_F2.copy(), body.angle_F.copy()
    xy_F2[first:] = xy_F2[first] + factor * (xy_F2[first:] - xy_F2[first])
    angle_F[first:] = angle_F[first] + factor * (angle_F[first:] - angle_F[first])
    return _with(staged, spell.actor, replace(body, xy_F2=xy_F2, angle_F=angle_F))


def _with(staged: Staged, index: int, body: Actor) -> Staged:
    actors = tuple(body if i == index else other for i, other in enumerate(staged.actors))
    return replace(staged, actors=actors, culprits=(index,), lasts=0)


BREACHES: dict[str, Breach] = {
    "colour": _colour,
    "rigid": _rigid,
    "size": _size,
    "spawn": _spawn,
    "speed_jerk": _speed_jerk,
    "spin": _spin,
    "teleport": _teleport,
    "vanish": _vanish,
}
