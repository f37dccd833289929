"""Families with an occluder: bodies that pass behind it, on the ground or in flight, or stay there."""

from vgen.playground.scene import FLOOR_Y, Dice
from vgen.playground.twins.film import Form
from vgen.playground.twins.motion import fly, slide, trace
from vgen.playground.twins.paint import pick_paints
from vgen.playground.twins.staging import FOLLOWS, Spell, Staged, Wrong, actor, on_floor, roller, slab

__all__ = ["behind", "fall_behind", "fly_behind", "parked"]

_ROOM = 3.4  # half the slab's width over a body's radius: a jump of two diameters fits behind it
_TIGHT_ROOM = 2.1  # the same for two in a row, which need room before it and after it


def behind(dice: Dice, wrong: Wrong, *, count: int) -> Staged:
    """Bodies roll or slide past behind a standing slab, one after the other."""
    paints = pick_paints(dice, count)
    radius = dice.uniform(0.045, 0.05)
    form: Form = dice.pick(("ball", "box"))
    frames, x = int(dice.uniform(44, 54)) + 10 * (count - 1), dice.uniform(0.48, 0.52)
    half = (_ROOM if count == 1 else _TIGHT_ROOM) * radius
    screen = slab(x - half, x + half, FLOOR_Y + 2 * radius + dice.uniform(0.1, 0.3))
    start, end = radius + 0.02, 1 - radius - 0.02
    lead = FOLLOWS * radius * (count - 1)  # of the first one, which goes on past the picture's border at the end
    speed = (end - start) / (frames - 1)
    actors = []
    for index in range(count):
        xy_F2 = trace(slide(0, on_floor(start + lead - FOLLOWS * radius * index, radius), speed * 0.97), frames)
        actors.append(roller(form, xy_F2, radius, paints[index]))
    return Staged(
        actors=tuple(actors),
        fixtures=(screen,),
        free=Spell(count - 1, 2, int((x - half - radius - start) / speed) - 1),
        culprits=(count - 1,),
        lasts=None,
        symmetric=True,
    )


def fly_behind(dice: Dice, wrong: Wrong) -> Staged:
    """A thrown body passes behind a high slab."""
    radius, rgb = dice.uniform(0.045, 0.05), pick_paints(dice, 1)[0]
    form: Form = dice.pick(("ball", "box"))
    frames, x = int(dice.uniform(40, 48)), dice.uniform(0.48, 0.52)
    half, rise = _ROOM * radius, dice.uniform(0.2, 0.26)
    up = frames / 2 * dice.uniform(0.98, 1.1)
    gravity = 2 * rise / up**2
    speed = (1 - 2 * (radius + 0.03)) / (frames - 1)
    path = fly(0, (radius + 0.03, dice.uniform(0.42, 0.46)), (speed, gravity * up), gravity)
    return Staged(
        actors=(actor(form, trace(path, frames), radius, rgb),),
        fixtures=(slab(x - half, x + half, 1.0),),
        free=Spell(0, 2, int((x - half - 2 * radius - 0.03) / speed) - 1),
        lasts=None,
        symmetric=True,
    )


def fall_behind(dice: Dice, wrong: Wrong) -> Staged:
    """A body falls past behind a board in mid-air; the film ends before it lands."""
    radius, rgb = dice.uniform(0.045, 0.05), pick_paints(dice, 1)[0]
    form: Form = dice.pick(("ball", "box"))
    x, frames = dice.uniform(0.4, 0.6), int(dice.uniform(34, 42))
    half, middle = _ROOM * radius, dice.uniform(0.55, 0.58)
    top, ground = 0.99 - radius, FLOOR_Y + radius
    down = dice.uniform(0.005, 0.008)  # it is thrown down, so that it shows long enough below the board and above
    gravity = 2 * (top - ground - down * frames) / frames**2
    path = fly(0, (x, top), (dice.uniform(-0.002, 0.002), -down), gravity)
    board = slab(x - 2 * half, x + 2 * half, middle + half, middle - half)
    return Staged(
        actors=(actor(form, trace(path, frames), radius, rgb),),
        fixtures=(board,),
        free=Spell(0, 2, 6),
        lasts=None,
        symmetric=True,
    )


def parked(dice: Dice, wrong: Wrong) -> Staged:
    """A body slides behind a standing slab and stays there."""
    radius, rgb = dice.uniform(0.05, 0.06), pick_paints(dice, 1)[0]
    form: Form = dice.pick(("ball", "box"))
    x, stop = dice.uniform(0.62, 0.7), dice.uniform(28, 34)
    half = 2 * radius
    start = radius + 0.03
    speed = 2 * (x - start) / stop
    path = slide(0, on_floor(start, radius), speed, speed / stop)
    return Staged(
        actors=(roller(form, trace(path, int(stop) + 10), radius, rgb),),
        fixtures=(slab(x - half, x + half, FLOOR_Y + 2 * radius + dice.uniform(0.1, 0.3)),),
        free=Spell(0, 3, int(stop * 0.4)),
        lasts=None,
    )
