"""Families of shadows, of mirrors, and of bodies that cross at different depths."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vgen.playground.scene import FLOOR_Y, Dice
from vgen.playground.twins.film import Fixture, Form
from vgen.playground.twins.motion import bouncing, fly, slide, trace
from vgen.playground.twins.paint import pick_paints
from vgen.playground.twins.staging import Staged, Wrong, actor, block, on_floor, roller

__all__ = ["cross", "mirrored_ball", "shadowed"]

Floats = npt.NDArray[np.float64]
_LAG_FRAMES = 8  # that a shadow or reflection takes to fall behind


def shadowed(dice: Dice, wrong: Wrong, *, hopping: bool) -> Staged:
    """A body with its shadow on the floor below it: one that hops along, or one that hangs low in the air and glides.

    The light comes from above: the shadow lies under the body.
    """
    form: Form = "ball" if hopping else "pentagon"
    radius, rgb = dice.uniform(0.05, 0.065), pick_paints(dice, 1)[0]
    frames, floor_y = int(dice.uniform(38, 46)), FLOOR_Y + radius
    speed = (0.9 - 2 * radius) / frames
    if hopping:
        rise, up = dice.uniform(0.22, 0.3), dice.uniform(8, 10)
        gravity = 2 * rise / up**2
        path, _ = bouncing(0, (radius + 0.05, floor_y + rise), (speed, 0.0), gravity, floor_y, (0.93,), frames)
    else:  # thrown in a flat arc
        rise = dice.uniform(0.14, 0.2)
        gravity = 8 * rise / frames**2
        path = fly(0, (radius + 0.05, floor_y + 0.12), (speed, gravity * frames / 2), gravity)
    xy_F2 = trace(path, frames)
    clock_F = _lagging(frames, frames // 3, wrong.of("shadow_follows"))
    shadow_F2 = _at(xy_F2, clock_F)
    shadow_F2 = np.stack([shadow_F2[:, 0], np.ones(frames)], axis=1)
    return Staged(
        actors=(actor(form, xy_F2, radius, rgb, shadow_xy_F2=shadow_F2),),
        lasts=None,
        symmetric=True,  # backwards its hops gain 7 %, which nobody sees
    )


def mirrored_ball(dice: Dice, wrong: Wrong, *, hopping: bool) -> Staged:
    """A body beside an upright pane and its reflection in it, as far behind the pane as the body stands before it."""
    radius, rgb = dice.uniform(0.05, 0.06), pick_paints(dice, 1)[0]
    form: Form = "ball" if hopping else "box"
    frames, pane = int(dice.uniform(34, 42)), dice.uniform(0.49, 0.51)
    floor_y = FLOOR_Y + radius
    start, near = radius + 0.03, pane - radius - 0.03
    speed = (near - start) / (frames - 1)
    if hopping:
        rise, up = dice.uniform(0.25, 0.35), dice.uniform(8, 10)
        gravity = 2 * rise / up**2
        path, _ = bouncing(0, (start, floor_y + rise), (speed, 0.0), gravity, floor_y, (0.93,), frames)
    else:
        path = slide(0, (start, floor_y), speed)
    xy_F2 = trace(path, frames)
    angle_F = np.zeros(frames)
    clock_F = _lagging(frames, frames // 3, wrong.of("mirror"))
    image_F2 = _at(xy_F2, clock_F)
    image_F2[:, 0] = 2 * pane - image_F2[:, 0]
    frame = Fixture(kind="mirror", corners_P2=block(pane, 0.995, FLOOR_Y * 0.6, 0.9), depth=-1)
    return Staged(
        actors=(
            actor(form, xy_F2, radius, rgb, angle_F=angle_F),
            actor(form, image_F2, radius, rgb, angle_F=-angle_F),
        ),
        fixtures=(frame,),
        culprits=(1,),
        lasts=None,
        symmetric=True,  # backwards its hops gain 7 %, which nobody sees
    )


def cross(dice: Dice, wrong: Wrong, *, flying: bool) -> Staged:
    """Two bodies cross at different depths, one before the other; the wrong one changes depth at a known overlap."""
    paints = pick_paints(dice, 2)
    forms: tuple[Form, Form] = ("pentagon", "ball") if flying else ("box", "ball")
    one, other = dice.uniform(0.06, 0.075), dice.uniform(0.06, 0.075)
    frames = int(dice.uniform(32, 42))
    speed = (0.92 - 2 * one) / (frames - 1)
    front = int(dice.uniform(0, 2))
    starts = (one + 0.03, 0.97 - other)
    paths = []
    for way, x, radius in ((1, starts[0], one), (-1, starts[1], other)):
        if flying:
            gravity = 8 * 0.3 / frames**2
            paths.append(fly(0, (x, 0.42), (way * speed, gravity * frames / 2), gravity))
        else:
            paths.append(slide(0, on_floor(x, radius), way * speed))
    actors = [
        roller(form, trace(path, frames), radius, rgb, depth=int(index == front))
        for index, (form, path, radius, rgb) in enumerate(zip(forms, paths, (one, other), paints, strict=True))
    ]
    culprits: tuple[int, ...] = (front,)
    overlap = wrong.of("occlusion_order") * 2 * min(one, other)
    if overlap:
        meet = (starts[1] - starts[0] - one - other + overlap) / (2 * speed)
        after_F = np.arange(frames) >= math.ceil(meet)
        was = actors[front]
        actors[front] = replace(was, shown_F=np.where(after_F, 0.0, 1.0))
        actors.append(replace(was, shown_F=np.where(after_F, 1.0, 0.0), depth=-1))
        culprits = (front, 2)
    return Staged(actors=tuple(actors), culprits=culprits, lasts=0, symmetric=True)


def _lagging(frames: int, since: int, lag: float) -> Floats:
    """A clock that from `since` on falls evenly behind, by `lag` frames in the end."""
    clock_F = np.arange(frames, dtype=np.float64)
    return np.asarray(clock_F - lag * np.clip((clock_F - since) / _LAG_FRAMES, 0.0, 1.0))


def _at(xy_F2: Floats, clock_F: Floats) -> Floats:
    """A track read at fractional frames."""
    frame_F = np.arange(len(xy_F2))
    return np.stack([np.interp(clock_F, frame_F, xy_F2[:, axis]) for axis in (0, 1)], axis=1)
