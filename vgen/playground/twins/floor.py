"""Families on the ground: what rolls, slides, runs through a valley, and what rests beside it."""

import math

import numpy as np

from vgen.playground.scene import FLOOR_Y, Dice
from vgen.playground.twins.film import Actor, Fixture, Form, Happening
from vgen.playground.twins.motion import Leg, Path, Vector, rest, rolled, slide, spliced, state, trace
from vgen.playground.twins.paint import pick_paints
from vgen.playground.twins.severity import SEVERITY
from vgen.playground.twins.staging import Spell, Staged, Wrong, actor, on_floor, roller

__all__ = ["bystander", "ramp", "roll", "slide_out", "still"]

_PUSH_FRAMES = 10  # that a body which speeds up by itself takes to do so
_FARTHEST = 0.2  # a body that sets off by itself comes no farther


def roll(dice: Dice, wrong: Wrong) -> Staged:
    """A ball rolls on, hardly slowing."""
    radius, rgb = dice.uniform(0.05, 0.065), pick_paints(dice, 1)[0]
    frames = int(dice.uniform(36, 46))
    start = on_floor(radius + dice.uniform(0.03, 0.06), radius)
    speed = dice.uniform(0.5, 0.56) / frames
    path = slide(0, start, speed, 0.15 * speed / frames)
    return _on_ground(path, "ball", radius, rgb, frames, Spell(0, 5, frames - 5), wrong, symmetric=True)


def slide_out(dice: Dice, wrong: Wrong) -> Staged:
    """A box slides until friction has stopped it."""
    radius, rgb = dice.uniform(0.05, 0.065), pick_paints(dice, 1)[0]
    stop = dice.uniform(28, 34)
    start = on_floor(radius + dice.uniform(0.03, 0.06), radius)
    speed = 2 * dice.uniform(0.36, 0.42) / stop
    path = slide(0, start, speed, speed / stop)
    frames = int(stop) + 8
    return _on_ground(path, "box", radius, rgb, frames, Spell(0, 4, int(stop * 0.75)), wrong, symmetric=False)


def _on_ground(
    path: Path,
    form: Form,
    radius: float,
    rgb: tuple[float, ...],
    frames: int,
    free: Spell,
    wrong: Wrong,
    *,
    symmetric: bool,
) -> Staged:
    gain = wrong.of("friction")
    if gain:
        time = free.at(0.35)
        xy, v = state(path, time)
        push = gain * v[0] / _PUSH_FRAMES
        pushed = Leg(start=time, xy=xy, v=v, a=(push, 0.0))
        xy, faster = state((pushed,), time + _PUSH_FRAMES)
        slowing = -path[0].a[0]
        path = spliced(path, (pushed, *slide(time + _PUSH_FRAMES, xy, faster[0], slowing)))
    stop = path[-1].start
    happenings = (Happening(kind="stop", frame=stop, actors=(0,)),) if 0 < stop < frames and not path[-1].v[0] else ()
    return Staged(
        actors=(roller(form, trace(path, frames), radius, rgb),),
        happenings=happenings,
        free=free,
        lasts=_PUSH_FRAMES - 1 if gain else 0,
        symmetric=symmetric,
    )


def ramp(dice: Dice, wrong: Wrong, *, valley: bool) -> Staged:
    """A ball rolls down an incline and on over the floor, or up another incline and back.

    The breach of energy comes where the first incline ends. Inclines are straight: the acceleration along one is even.
    """
    radius, rgb = dice.uniform(0.05, 0.06), pick_paints(dice, 1)[0]
    run, rise = dice.uniform(0.36, 0.42), dice.uniform(0.13, 0.17)
    slope = math.atan2(rise, run)
    down = dice.uniform(15, 18) if valley else dice.uniform(22, 26)
    frames = 46 if valley else int(down) + 14
    length = run / math.cos(slope) * (0.48 if valley else 0.65)
    pull = 2 * length / down**2
    foot = 0.5 if valley else run
    # The centre runs a radius off the surface; its two lines meet at `turn`.
    turn = (foot, FLOOR_Y + radius / math.cos(slope))
    if not valley:
        turn = (foot + radius * math.tan(slope / 2), FLOOR_Y + radius)
    start = (turn[0] - length * math.cos(slope), turn[1] + length * math.sin(slope))
    path: Path = (Leg(start=0, xy=start, a=(pull * math.cos(slope), -pull * math.sin(slope))),)
    speed = pull * down * math.sqrt(1 + wrong.of("energy"))
    if valley:
        up = (math.cos(slope), math.sin(slope))
        after: Path = (Leg(start=down, xy=turn, v=(speed * up[0], speed * up[1]), a=(-pull * up[0], -pull * up[1])),)
        back = down + 2 * speed / pull  # down again to the deepest point, and on to where it came from
        after = (*after, Leg(start=back, xy=turn, v=(-speed * up[0], speed * up[1]), a=(pull * up[0], -pull * up[1])))
    else:
        after = slide(down, turn, speed, speed / 60)
    path = spliced(path, after)
    xy_F2 = trace(path, frames)
    corners = [(foot - run, FLOOR_Y), (foot, FLOOR_Y), (foot - run, FLOOR_Y + rise)]
    fixtures = [Fixture(kind="ramp", corners_P2=np.array(corners))]
    if valley:
        other = [(0.5 + run, FLOOR_Y), (0.5, FLOOR_Y), (0.5 + run, FLOOR_Y + rise)]
        fixtures.append(Fixture(kind="ramp", corners_P2=np.array(other)))
    return Staged(
        actors=(actor("ball", xy_F2, radius, rgb, angle_F=rolled(xy_F2, radius)),),
        fixtures=tuple(fixtures),
        free=Spell(0, 4, int(down) - 2),
        lasts=None,
        symmetric=valley,
    )


def bystander(dice: Dice, wrong: Wrong) -> Staged:
    """A ball rolls and stops short of a body that nothing touches."""
    paints, radius = pick_paints(dice, 2), dice.uniform(0.05, 0.06)
    form: Form = dice.pick(("ball", "box"))
    other, x, stop = dice.uniform(0.055, 0.07), dice.uniform(0.6, 0.68), dice.uniform(26, 30)
    way = x - 0.3 - radius - 0.05
    path = slide(0, on_floor(radius + 0.05, radius), 2 * way / stop, 2 * way / stop**2)
    frames = 42
    off = int(dice.uniform(18, 22))
    return Staged(
        actors=(
            roller("ball", trace(path, frames), radius, paints[0]),
            _sets_off(form, on_floor(x, other), other, paints[1], off, frames, wrong),
        ),
        happenings=(Happening(kind="stop", frame=stop, actors=(0,)),),
        free=Spell(0, 3, int(stop * 0.7)),
        culprits=(1,),
        lasts=0,
    )


def still(dice: Dice, wrong: Wrong) -> Staged:
    """Two bodies that rest apart from each other: nothing happens."""
    paints, frames = pick_paints(dice, 2), int(dice.uniform(30, 40))
    culprit, off = int(dice.uniform(0, 2)), int(dice.uniform(12, 16))
    forms: tuple[Form, ...] = ("box", "ball")
    actors: list[Actor] = []
    for index, form in enumerate(forms):
        radius = dice.uniform(0.05, 0.065)
        xy = on_floor(0.22 + 0.42 * index + dice.uniform(-0.04, 0.02), radius)
        if index == culprit:
            actors.append(_sets_off(form, xy, radius, paints[index], off, frames, wrong))
        else:
            actors.append(roller(form, trace(rest(0, xy), frames), radius, paints[index]))
    return Staged(actors=tuple(actors), culprits=(culprit,), symmetric=True)


def _sets_off(
    form: Form, xy: Vector, radius: float, rgb: tuple[float, ...], off: int, frames: int, wrong: Wrong
) -> Actor:
    """A resting body that, where asked for, sets off to the right by itself and soon stops again."""
    fastest = SEVERITY["motion_without_cause"].size(1) * 2 * radius
    speed = wrong.of("motion_without_cause") * 2 * radius
    path = spliced(rest(0, xy), slide(off, xy, speed, fastest**2 / (2 * _FARTHEST)))
    return roller(form, trace(path, frames), radius, rgb)
