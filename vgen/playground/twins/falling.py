"""Families in which gravity acts on free bodies: drops, throws, tumbling throws, and what loses its support.

Every stage draws its dice before it looks at the breach, and goes from left to right; the suite mirrors half of them.
"""

import math

import numpy as np

from vgen.playground.scene import FLOOR_Y, Dice
from vgen.playground.twins.film import Actor, Fixture, Form, Happening
from vgen.playground.twins.motion import (
    Path,
    bouncing,
    fly,
    rest,
    slide,
    spliced,
    state,
    time_to_cover,
    trace,
    turned,
)
from vgen.playground.twins.paint import pick_paints
from vgen.playground.twins.staging import Spell, Staged, Wrong, actor, block, on_floor, roller

__all__ = ["drop", "drops", "ledge", "lob", "release", "stack", "throw", "throws", "tumble"]


def bounced(bounces: tuple[float, ...], index: int) -> tuple[Happening, ...]:
    return tuple(Happening(kind="bounce", frame=time, actors=(index,)) for time in bounces)


def drop(dice: Dice, wrong: Wrong) -> Staged:
    """A ball falls from rest and bounces."""
    radius, rgb = dice.uniform(0.05, 0.07), pick_paints(dice, 1)[0]
    height, fall = dice.uniform(0.42, 0.5), dice.uniform(12, 15)
    x, rebound = dice.uniform(0.3, 0.7), dice.uniform(0.5, 0.58)
    gravity = 2 * height / fall**2
    frames = round(fall * (1 + 2 * rebound)) + 18
    return _bouncing_ball((x, FLOOR_Y + radius + height), (0.0, 0.0), gravity, rebound, radius, rgb, frames, wrong)


def throw(dice: Dice, wrong: Wrong) -> Staged:
    """A ball is thrown up and aside, lands and bounces on."""
    radius, rgb = dice.uniform(0.05, 0.065), pick_paints(dice, 1)[0]
    rise, up = dice.uniform(0.32, 0.4), dice.uniform(9, 12)
    start_y, rebound = FLOOR_Y + radius + dice.uniform(0.03, 0.1), dice.uniform(0.48, 0.55)
    gravity = 2 * rise / up**2
    frames = round(up * (2.2 + 2.2 * rebound)) + 16
    v = (dice.uniform(0.55, 0.62) / frames, gravity * up)
    return _bouncing_ball((radius + 0.06, start_y), v, gravity, rebound, radius, rgb, frames, wrong)


def _bouncing_ball(
    xy: tuple[float, float],
    v: tuple[float, float],
    gravity: float,
    rebound: float,
    radius: float,
    rgb: tuple[float, ...],
    frames: int,
    wrong: Wrong,
) -> Staged:
    floor_y = FLOOR_Y + radius
    gain = wrong.of("restitution")
    # The second rebound is the wrong one: after the first it would leave the picture.
    restitutions = (rebound, 1 + gain if gain else rebound, rebound)
    path, bounces = bouncing(0, xy, v, gravity, floor_y, restitutions, frames)
    free = Spell(0, 3, int(bounces[0]) - 2)
    path, bounces, lasts = _disturbed_flight(path, bounces, free, gravity, floor_y, rebound, frames, wrong)
    xy_F2 = trace(path, frames)
    flattened = wrong.of("rigid_deform")
    ball = actor("ball", xy_F2, radius, rgb)
    if flattened:
        long, short = math.sqrt(1 + flattened), 1 / math.sqrt(1 + flattened)
        after_F = np.arange(frames) >= bounces[0]
        ball.stretch_F2[after_F] = (long, short)
        ball.xy_F2[after_F, 1] -= radius * (1 - short)  # so that it still touches the floor
        lasts = None
    return Staged(actors=(ball,), happenings=bounced(bounces, 0), free=free, lasts=lasts)


def _disturbed_flight(
    path: Path,
    bounces: tuple[float, ...],
    free: Spell,
    gravity: float,
    floor_y: float,
    rebound: float,
    frames: int,
    wrong: Wrong,
) -> tuple[Path, tuple[float, ...], int | None]:
    """The same flight with a turn, a push along its way or more gravity in it, where asked for."""
    turn, push, pull = wrong.of("midair_turn"), wrong.of("energy"), wrong.of("const_accel")
    if not (turn or push or pull):
        return path, bounces, 0
    # A push early on, while it is fast; a turn and a pull where as much flight lies before as after.
    time = free.at(0.12 if push else 0.4)
    xy, v = state(path, time)
    ways = (1, -1) if wrong.dice.pick((True, False)) else (-1, 1)
    options = []
    for way in ways if turn else (1,):
        speed = math.sqrt(1 + push)
        start = turned((v[0] * speed, v[1] * speed), way * 2 * math.asin(turn / 2))
        after, later = bouncing(time, xy, start, gravity * (1 + pull), floor_y, (rebound,), frames)
        options.append((spliced(path, after), later))
    # Of two ways to turn, the one that shows longer.
    path, bounces = max(options, key=lambda option: _frames_inside(option[0], frames))
    return path, bounces, max(0, int(min(bounces, default=frames - 1)) - time - 1) if pull else 0


def _frames_inside(path: Path, frames: int) -> int:
    inside_F = np.all(np.abs(trace(path, frames) - 0.5) < 0.45, axis=1)
    return int(frames if inside_F.all() else np.argmin(inside_F))


def lob(dice: Dice, wrong: Wrong) -> Staged:
    """A body on one long flight from side to side; the film ends before it lands."""
    form: Form = dice.pick(("ball", "ball", "box", "pentagon", "ellipse"))
    radius, rgb = dice.uniform(0.05, 0.065), pick_paints(dice, 1)[0]
    rise, up = dice.uniform(0.36, 0.43), dice.uniform(13, 16)
    gravity = 2 * rise / up**2
    frames = int(2 * up)
    v = (dice.uniform(0.5, 0.6) / frames, gravity * up)
    path = fly(0, (radius + 0.08, FLOOR_Y + 1.5 * radius + 0.04), v, gravity)
    free = Spell(0, 4, frames - 4)
    path, bounces, lasts = _disturbed_flight(path, (), free, gravity, FLOOR_Y + 1.5 * radius, 0.5, frames, wrong)
    flyer = actor(form, trace(path, frames), radius, rgb)
    return Staged(actors=(flyer,), happenings=bounced(bounces, 0), free=free, lasts=lasts, symmetric=True)


def drops(dice: Dice, wrong: Wrong, *, count: int) -> Staged:
    """Bodies are let go together at different heights."""
    paints = pick_paints(dice, count)
    fall, high = dice.uniform(12, 15), dice.uniform(0.58, 0.64)
    shares = [1.0, dice.uniform(0.4, 0.55), dice.uniform(0.65, 0.78)][:count]
    gravity, rebound = 2 * high / fall**2, dice.uniform(0.35, 0.45)
    frames = round(fall) + 16
    culprit = int(wrong.dice.uniform(0, count))
    actors: list[Actor] = []
    happenings: list[Happening] = []
    for index, share in enumerate(shares):
        radius = dice.uniform(0.05, 0.065)
        x = (index + 0.5) / count + dice.uniform(-0.04, 0.04)
        pull = gravity * (1 + (wrong.of("drop_ratio") if index == culprit else 0.0))
        floor_y = FLOOR_Y + radius
        path, bounces = bouncing(0, (x, floor_y + share * high), (0.0, 0.0), pull, floor_y, (rebound,), frames)
        actors.append(actor("ball", trace(path, frames), radius, paints[index]))
        happenings += bounced(bounces, index)
    return Staged(
        actors=tuple(actors),
        happenings=tuple(happenings),
        free=Spell(0, 3, int(fall) - 2),
        culprits=(culprit,),
        lasts=None,
    )


def throws(dice: Dice, wrong: Wrong, *, drop_one: bool) -> Staged:
    """Two bodies in flight at once, on either side: both thrown, or one thrown straight up and one dropped."""
    paints, up = pick_paints(dice, 2), dice.uniform(12, 15)
    rises = (dice.uniform(0.4, 0.48), dice.uniform(0.3, 0.42))
    gravity = 2 * rises[0] / up**2
    frames = int(1.9 * up)
    culprit = int(wrong.dice.uniform(0, 2))
    actors: list[Actor] = []
    happenings: list[Happening] = []
    for index, rise in enumerate(rises):
        radius, drift = dice.uniform(0.05, 0.065), dice.uniform(0.18, 0.25) / frames
        floor_y = FLOOR_Y + radius
        if drop_one:
            x, y = (0.3, 0.7)[index] + dice.uniform(-0.08, 0.08), (floor_y + 0.06, 0.86)[index]
            drift *= index / 3
        else:
            x, y, drift = (0.12, 0.88)[index], floor_y + 0.06, (drift, -drift)[index]
        speed = 0.0 if drop_one and index else math.sqrt(2 * gravity * rise)
        pull = gravity * (1 + (wrong.of("common_gravity") if index == culprit else 0.0))
        path, bounces = bouncing(0, (x, y), (drift, speed), pull, floor_y, (0.5,), frames)
        actors.append(actor("ball", trace(path, frames), radius, paints[index]))
        happenings += bounced(bounces, index)
    return Staged(
        actors=tuple(actors),
        happenings=tuple(happenings),
        free=Spell(0, 3, frames - 6),
        culprits=(culprit,),
        lasts=None,
        symmetric=not happenings,
    )


def tumble(dice: Dice, wrong: Wrong, *, dropped: bool) -> Staged:
    """A body with corners turns evenly on its flight; the film ends before it lands."""
    form: Form = dice.pick(("triangle", "star", "ellipse") if dropped else ("box", "ellipse", "pentagon"))
    radius, rgb = dice.uniform(0.06, 0.08), pick_paints(dice, 1)[0]
    rise, up = dice.uniform(0.34, 0.42), dice.uniform(15, 18) if dropped else dice.uniform(13, 16)
    rate = dice.uniform(0.07, 0.11) * dice.pick((-1.0, 1.0))
    gravity, floor_y = 2 * rise / up**2, FLOOR_Y + 1.6 * radius
    drift = dice.uniform(0.5, 0.6)
    if dropped:
        frames = int(1.55 * up) + 1
        y, v = floor_y + rise + 0.06, (drift / frames / 2, 0.55 * gravity * up)
    else:
        frames = int(2 * up)
        y, v = floor_y, (drift / frames, gravity * up)
    xy_F2 = trace(fly(0, (radius + 0.1, y), v, gravity), frames)
    tumbler = actor(form, xy_F2, radius, rgb, angle_F=dice.uniform(0, 1) + rate * np.arange(frames, dtype=np.float64))
    return Staged(actors=(tumbler,), free=Spell(0, 4, frames - 3), symmetric=True)


def release(dice: Dice, wrong: Wrong) -> Staged:
    """A body hangs on a rod, is let go, falls and bounces."""
    radius, rgb, x = dice.uniform(0.05, 0.07), pick_paints(dice, 1)[0], dice.uniform(0.3, 0.7)
    height, fall, held = dice.uniform(0.46, 0.54), dice.uniform(12, 15), int(dice.uniform(6, 11))
    gravity, floor_y = 2 * height / fall**2, FLOOR_Y + radius
    frames = held + round(fall) + 24
    hang = (x, floor_y + height)
    path = (*rest(0, hang), *fly(held, hang, (0.0, 0.0), gravity))
    time, floats, pull = held + 3, wrong.of("support"), wrong.of("const_accel")
    xy, v = state(path, time)
    if floats:  # weight comes back after that many frames
        path = spliced(path, fly(time, xy, v, 0.0))
        time += round(floats)
        xy, v = state(path, time)
    after, bounces = bouncing(time, xy, v, gravity * (1 + pull), floor_y, (0.4,), frames)
    path = spliced(path, after)
    rod = Fixture(kind="rod", corners_P2=np.array([(x, 1.0), (x, hang[1] + radius)]))
    onset = Happening(kind="onset", frame=held, actors=(0,))
    return Staged(
        actors=(actor("ball", trace(path, frames), radius, rgb),),
        fixtures=(rod,),
        happenings=(onset, *bounced(bounces, 0)),
        free=Spell(0, held + 3, held + int(fall) - 2),
        lasts=round(floats) if floats else int(bounces[0]) - held - 4,
    )


def ledge(dice: Dice, wrong: Wrong) -> Staged:
    """A ball rolls off a block, falls and rolls on."""
    radius, rgb = dice.uniform(0.05, 0.06), pick_paints(dice, 1)[0]
    top, edge = FLOOR_Y + dice.uniform(0.34, 0.42), dice.uniform(0.3, 0.34)
    speed, fall = dice.uniform(0.0135, 0.015), dice.uniform(11, 13)
    gravity, floor_y = 2 * (top - FLOOR_Y) / fall**2, FLOOR_Y + radius
    path = slide(0, (radius + 0.03, top + radius), speed)
    off = time_to_cover(edge - radius - 0.03, speed) + round(wrong.of("support"))
    xy, _ = state(path, off)
    frames = 46
    after, bounces = bouncing(off, xy, (speed, 0.0), gravity, floor_y, (0.3,), frames)
    path = spliced(path, after)
    support = Fixture(kind="ramp", corners_P2=block(0.0, edge, FLOOR_Y, top))
    return Staged(
        actors=(roller("ball", trace(path, frames), radius, rgb),),
        fixtures=(support,),
        happenings=bounced(bounces, 0),
        free=Spell(0, 3, int((edge - radius - 0.03) / speed) - 2),
        lasts=round(wrong.of("support")),
    )


def stack(dice: Dice, wrong: Wrong) -> Staged:
    """A ball knocks the lower one of two stacked boxes away; the upper one falls straight down."""
    paints = pick_paints(dice, 3)
    low, high, ball = dice.uniform(0.07, 0.08), dice.uniform(0.05, 0.058), dice.uniform(0.055, 0.065)
    x, speed = dice.uniform(0.44, 0.5), dice.uniform(0.03, 0.034)
    fall = dice.uniform(7, 9)
    gravity, frames = 2 * (2 * low) / fall**2, 44
    start, struck = (ball + 0.04, FLOOR_Y + ball), x - low - ball
    hit = time_to_cover(struck - start[0], speed)
    slowing = speed**2 / (2 * (1 - low - 0.03 - x))  # mu g: the box stops before it leaves the picture
    box = spliced(rest(0, on_floor(x, low)), slide(hit, on_floor(x, low), speed, slowing))
    mover = spliced(slide(0, start, speed), rest(hit, (struck, FLOOR_Y + ball)))
    falls = hit + time_to_cover(low + high, speed, slowing) + wrong.of("support")
    upper = (x, FLOOR_Y + 2 * low + high)
    after, bounces = bouncing(falls, upper, (0.0, 0.0), gravity, FLOOR_Y + high, (0.2,), frames)
    return Staged(
        actors=(
            actor("box", trace(spliced(rest(0, upper), after), frames), high, paints[0]),
            actor("box", trace(box, frames), low, paints[1]),
            roller("ball", trace(mover, frames), ball, paints[2]),
        ),
        happenings=(
            Happening(kind="contact", frame=hit, actors=(1, 2)),
            Happening(kind="onset", frame=hit, actors=(1,)),
            Happening(kind="onset", frame=falls, actors=(0,)),
            *bounced(bounces, 0),
        ),
        free=Spell(2, 3, int(hit) - 2),
        lasts=round(wrong.of("support")),
    )
