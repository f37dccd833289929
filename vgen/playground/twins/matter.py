"""Families in which matter changes: what breaks, what takes up paint, and liquid in a vessel."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vgen.playground.scene import FLOOR_Y, Dice
from vgen.playground.twins.film import Actor, Fixture, Happening
from vgen.playground.twins.motion import Vector, bouncing, fly, rest, rolled, slide, spliced, state, trace
from vgen.playground.twins.paint import lab_of, pick_paints, rgb_of
from vgen.playground.twins.staging import Staged, Wrong, actor, on_floor, roller

__all__ = ["painted", "shatter", "smash", "vessel"]

Floats = npt.NDArray[np.float64]
_BREAKING_FRAMES = 48
_PIECES_GRAVITY = 0.006  # per frame^2
_WALL = 0.01  # half the thickness of a vessel's walls
_PAINT_STEP = 45.0  # Delta-E at least between a body and what it is painted with


def shatter(dice: Dice, wrong: Wrong) -> Staged:
    """A box falls on the floor and breaks."""
    paint, radius = pick_paints(dice, 1)[0], dice.uniform(0.085, 0.1)
    x, fall, height = dice.uniform(0.46, 0.54), dice.uniform(11, 14), dice.uniform(0.45, 0.55)
    start = (x, FLOOR_Y + radius + height)
    track_F2 = trace(fly(0, start, (0.0, 0.0), 2 * height / fall**2), _BREAKING_FRAMES)
    staged = _broken(track_F2, radius, paint, fall, (-0.011, -0.024, 0.011, 0.024), dice, wrong)
    contact = Happening(kind="contact", frame=fall, actors=(0,))
    return replace(staged, happenings=(contact, *staged.happenings))


def smash(dice: Dice, wrong: Wrong) -> Staged:
    """A ball runs into a box, which breaks; its pieces go the way of the blow."""
    paints, radius = pick_paints(dice, 2), dice.uniform(0.085, 0.1)
    x, ball, hit = dice.uniform(0.48, 0.54), dice.uniform(0.05, 0.06), dice.uniform(11, 14)
    start, struck = on_floor(ball + 0.06, ball), on_floor(x - radius - ball, ball)
    path = spliced(slide(0, start, (struck[0] - start[0]) / hit), rest(hit, struck))
    track_F2 = trace(rest(0, on_floor(x, radius)), _BREAKING_FRAMES)
    staged = _broken(track_F2, radius, paints[0], hit, (0.012, 0.004, 0.02, 0.028), dice, wrong)
    striker = roller("ball", trace(path, _BREAKING_FRAMES), ball, paints[1])
    contact = Happening(kind="contact", frame=hit, actors=(0, len(staged.actors)))
    return replace(staged, actors=(*staged.actors, striker), happenings=(contact, *staged.happenings))


def _broken(
    track_F2: Floats,
    radius: float,
    paint: tuple[float, float, float],
    breaks: float,
    speeds: tuple[float, ...],
    dice: Dice,
    wrong: Wrong,
) -> Staged:
    """A box that falls into its four quarters, which slide apart.

    In the breach pieces come back the way they went, and join where they parted.
    """
    first, back = math.ceil(breaks), math.ceil(breaks) + 14
    clock_F = np.arange(len(track_F2))
    track_F2 = np.where(clock_F[:, None] < first, track_F2, on_floor(track_F2[0, 0], radius))
    whole_F = np.where(clock_F < first, 1.0, 0.0)
    actors = [actor("box", track_F2, radius, paint, shown_F=whole_F)]
    joining = math.ceil(len(speeds) * wrong.of("irreversibility") - 1e-9)
    there_and_back_F = np.where(clock_F > back, np.maximum(2 * back - clock_F, first - 1), clock_F)
    quarters = ((-1, 1), (-1, 3), (1, 1), (1, 3))  # in halves of a piece's side, from the middle of the foot
    for index, ((right, up), speed) in enumerate(zip(quarters, speeds, strict=True)):
        start = (track_F2[first - 1, 0] + right * radius / 2, FLOOR_Y + up * radius / 2)
        piece_F2 = _piece(start, radius / 2, speed * dice.uniform(0.9, 1.1), breaks, len(track_F2))
        if index < joining:
            piece_F2 = piece_F2[there_and_back_F]
        actors.append(actor("box", piece_F2, radius / 2, paint, shown_F=1.0 - whole_F))
    return Staged(
        actors=tuple(actors),
        happenings=(Happening(kind="split", frame=breaks, actors=tuple(range(len(actors)))),),
        culprits=tuple(range(1, joining + 1)),
        lasts=back - first,
    )


def _piece(start: Vector, half: float, speed: float, breaks: float, frames: int) -> Floats:
    """Track of a piece that falls to the floor and slides until friction stops it."""
    flight, landings = bouncing(breaks, start, (speed, 0.0), _PIECES_GRAVITY, FLOOR_Y + half, (0.0,), frames)
    sliding = slide(landings[0], state(flight, landings[0])[0], speed, abs(speed) / 12)
    return trace(spliced(rest(-1, start), spliced(flight, sliding)), frames)


def painted(dice: Dice, wrong: Wrong, *, falling: bool) -> Staged:
    """A white ball takes up paint where it touches a wet patch; in the breach the paint goes off it later."""
    radius, frames = dice.uniform(0.055, 0.07), 46
    white = np.array([0.93, 0.93, 0.92])
    paint = next(p for p in pick_paints(dice, 9) if np.linalg.norm(lab_of(p) - lab_of(white)) > _PAINT_STEP)
    if falling:
        height, fall, x = dice.uniform(0.45, 0.55), dice.uniform(11, 14), dice.uniform(0.4, 0.6)
        gravity = 2 * height / fall**2
        start = (x, FLOOR_Y + radius + height)
        path, bounces = bouncing(0, start, (0.0, 0.0), gravity, FLOOR_Y + radius, (0.6,), frames)
        touch = bounces[0]
        happenings = tuple(Happening(kind="bounce", frame=time, actors=(0,)) for time in bounces)
    else:
        x = dice.uniform(0.36, 0.44)
        speed = dice.uniform(0.017, 0.0185)
        path = slide(0, on_floor(radius + 0.03, radius), speed)
        touch, happenings = (x - radius - 0.03) / speed, ()
    xy_F2 = trace(path, frames)
    first, back = math.ceil(touch), math.ceil(touch) + 10
    lab_F3 = np.tile(lab_of(white), (frames, 1))
    taken = lab_of(paint)
    lab_F3[first:] = taken
    undone = wrong.of("consequence_persists")
    lab_F3[back:] += undone * (lab_F3[0] - taken) / np.linalg.norm(lab_F3[0] - taken)
    rgb_F3 = np.clip(rgb_of(lab_F3), 0.0, 1.0)
    ball = Actor(
        form="ball",
        xy_F2=xy_F2,
        angle_F=rolled(xy_F2, radius),
        radius_F=np.full(frames, radius),
        rgb_F3=rgb_F3,
        shown_F=np.ones(frames),
        stretch_F2=np.ones((frames, 2)),
    )
    patch_F2 = np.tile((x, FLOOR_Y - 0.03), (frames, 1))
    patch = actor("ellipse", patch_F2, 0.045, paint, stretch=(2.0, 0.5), depth=-1)
    return Staged(
        actors=(ball, patch),
        happenings=(*happenings, Happening(kind="contact", frame=touch, actors=(0, 1))),
        lasts=None,
    )


def vessel(dice: Dice, wrong: Wrong, *, tilting: bool) -> Staged:
    """Liquid in a vessel that tilts on the spot, or that is drawn along slowly and evenly; its surface stays level.

    The body that the film needs rests beside it.
    """
    paints, frames = pick_paints(dice, 2), int(dice.uniform(34, 44))
    half, tall, fill = dice.uniform(0.13, 0.16), dice.uniform(0.26, 0.32), dice.uniform(0.45, 0.6)
    clock_F = np.arange(frames, dtype=np.float64)
    way = wrong.dice.pick((-1.0, 1.0))
    slant = np.radians(wrong.of("liquid_level")) * way * np.clip((clock_F - frames // 3) / 6, 0.0, 1.0)
    if tilting:
        tilt = dice.uniform(0.25, 0.4) * np.sin(2 * math.pi * clock_F / dice.uniform(30, 40))
        foot = np.tile((0.4, FLOOR_Y + (half + 2 * _WALL) * math.sin(0.4)), (frames, 1))
    else:
        tilt = np.zeros(frames)
        foot = np.stack([0.22 + 0.35 * clock_F / frames, np.full(frames, FLOOR_Y + _WALL)], axis=1)
    upright = np.array([(-half, tall), (-half, 0.0), (half, 0.0), (half, tall)])
    walls, liquid = [], []
    for t, at, s in zip(tilt, foot, slant, strict=True):
        turn = np.array([(math.cos(t), -math.sin(t)), (math.sin(t), math.cos(t))])
        left_top, left, right, right_top = upright @ turn.T + at
        walls.append((left_top, left, right, right_top))
        # The surface runs through the middle of the fill at slope s; the liquid's area stays: its middle does.
        middle = at + turn @ np.array((0.0, fill * tall))
        ends = [_meet(side, top - side, middle, math.tan(s)) for side, top in ((left, left_top), (right, right_top))]
        liquid.append((ends[0], left, right, ends[1]))
    radius = dice.uniform(0.05, 0.06)
    beside = roller("ball", trace(rest(0, on_floor(0.9, radius)), frames), radius, paints[0])
    return Staged(
        actors=(beside,),
        fixtures=(
            Fixture(kind="liquid", corners_P2=np.array(liquid), depth=1),
            Fixture(kind="container", corners_P2=np.array(walls), depth=2),
        ),
        culprits=(),
        lasts=None,
        symmetric=True,
    )


def _meet(base: Floats, along: Floats, middle: Floats, slope: float) -> Floats:
    """Where a wall from `base` along `along` meets the surface through `middle` of a slope."""
    share = (middle[1] - base[1] + slope * (base[0] - middle[0])) / (along[1] - slope * along[0])
    return np.asarray(base + share * along)
