"""Richer scenes: one event or two in a row, materials, and up to two bystanders; at 16 frames per second.

Made of the parts of `scene.py`. A chain of two events is staged here, always moving to the right and mirrored half of
the time, such that both are over or plain to see within `NATIVE_FRAMES`; a new one is an entry of `CHAINS`, with its
phrases in `caption_rich.py`. `bystanders.py` says where the others rest.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from vgen.errors import InputError
from vgen.playground.bystanders import with_bystanders
from vgen.playground.parts import MATERIALS, Material
from vgen.playground.scene import (
    COLOURS,
    EVENTS,
    FLOOR_Y,
    NUM_PALETTES,
    SHAPES,
    SIZES,
    STAGINGS,
    WALL_X,
    Body,
    Colour,
    Dice,
    Direction,
    Event,
    Ledge,
    Occluder,
    Pivot,
    Ramp,
    Scene,
    Shape,
    Size,
    Split,
    Staging,
    Start,
    mirrored,
    rolling,
    split_of,
)
from vgen.playground.scene import FPS as FIRST_FPS
from vgen.playground.scene import NATIVE_FRAMES as FIRST_NATIVE_FRAMES

__all__ = [
    "CHAINS",
    "CHAIN_SHARE",
    "FPS",
    "FRAMES",
    "HELD_OUT_THEN",
    "NATIVE_FRAMES",
    "rich_split_of",
    "sample_rich_scene",
]

FPS = 16
NATIVE_FRAMES = 49  # within these both events are over or plain to see
FRAMES = 97  # of a whole clip
CHAIN_SHARE = 0.45
BYSTANDER_SHARE = 0.5

# Of chains, by colour and second event, beside those of the first world, which count by the first event.
HELD_OUT_THEN: frozenset[tuple[Colour, Event]] = frozenset(
    {("white", "hit"), ("red", "hide"), ("blue", "ramp"), ("yellow", "fall")}
)

_STREAM = 2**64  # added to the seed: other draws than those of the first world
_MATERIALS: tuple[Material, ...] = ("plain", *MATERIALS)  # two of five are plain
_SLOWER = ((FIRST_NATIVE_FRAMES - 1) / FIRST_FPS) / ((NATIVE_FRAMES - 1) / FPS)
_MAX_MASS_RATIO = 3.0  # of the one that pushes to the one that is pushed, which would be shot away
_CLEARANCE = 0.045  # between a pendulum at its lowest and the floor
_END_X = 1 - WALL_X - 0.11  # what is pushed stands at most here, to have a way to go

Bodies = tuple[Body, ...]


def sample_rich_scene(seed: int) -> Scene:
    """The rich scene of a seed, the same on every machine.

    Raises:
        InputError: where the seed is not in 0..2^63-1.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"scene seed {seed} is out of range; possible: 0 to 2^63 - 1")
    dice = Dice(_STREAM + seed)
    then: Event | None
    event, then = dice.pick(tuple(CHAINS)) if dice.uniform(0, 1) < CHAIN_SHARE else (dice.pick(EVENTS), None)
    heading = dice.pick(get_args(Direction))
    palette = dice.pick(tuple(range(NUM_PALETTES)))
    actors = _actors(event, then, dice)
    staging = _single(event, actors, dice) if then is None else CHAINS[event, then](actors, dice)
    if heading == "left":
        staging = mirrored(staging)
    scene = Scene(
        seed=seed,
        event=event,
        then=then,
        direction=None if then is None and event in ("fall", "swing") else heading,
        bodies=actors,
        palette=palette,
        starts=staging.starts,
        friction=staging.friction,
        restitution=staging.restitution,
        ramp=staging.ramp,
        occluder=staging.occluder,
        pivot=staging.pivot,
        ledge=staging.ledge,
        fps=FPS,
    )
    if dice.uniform(0, 1) >= BYSTANDER_SHARE:
        return scene
    resting: Bodies = ()
    for _ in range(dice.pick((1, 2))):
        resting += (_body(SHAPES, ("small", "medium"), dice, beside=actors + resting),)
    return with_bystanders(scene, resting, dice, frames=FRAMES)


def rich_split_of(scene: Scene) -> Split:
    """Which split a rich scene belongs to: as in the first world by its first event, and by its second."""
    if scene.then is not None and (scene.bodies[0].colour, scene.then) in HELD_OUT_THEN:
        return "held_out_combination"
    return split_of(scene)


def _body(shapes: tuple[Shape, ...], sizes: tuple[Size, ...], dice: Dice, *, beside: Bodies = ()) -> Body:
    """A body of a colour that no other one has."""
    taken = {body.colour for body in beside}
    return Body(
        shape=dice.pick(shapes),
        colour=dice.pick(tuple(colour for colour in COLOURS if colour not in taken)),
        size=dice.pick(sizes),
        material=dice.pick(_MATERIALS),
    )


def _actors(event: Event, then: Event | None, dice: Dice) -> Bodies:
    """The body of the events and, where it hits one, that one: no larger and no heavier."""
    rolls = then is not None or event in ("roll", "hide", "ramp")
    sizes: tuple[Size, ...] = tuple(SIZES)
    if "hide" in (event, then) and then is not None:
        sizes = ("small", "medium")  # a pillar for a large one would leave no room for the rest
    main = _body(("ball",) if rolls else ("box",) if event == "slide" else SHAPES, sizes, dice)
    if "hit" not in (event, then):
        return (main,)
    colour = dice.pick(tuple(colour for colour in COLOURS if colour != main.colour))
    every = (
        Body(shape=shape, colour=colour, size=size, material=material)
        for shape in SHAPES
        for size in SIZES
        for material in MATERIALS
    )
    largest = SIZES["small"] if event == "hide" else main.radius  # a pillar takes the room
    least_top = main.radius + _CLEARANCE + 0.015 if event == "swing" else 0.0  # a pendulum must not pass above it
    possible = tuple(
        body
        for body in every
        if main.mass / _MAX_MASS_RATIO <= body.mass <= main.mass and least_top / 2 <= body.radius <= largest
    )
    return main, dice.pick(possible)


def _single(event: Event, bodies: Bodies, dice: Dice) -> Staging:
    """As in the first world, but what crosses the picture takes the longer time of these clips."""
    staging = STAGINGS[event](bodies, dice)
    if event not in ("roll", "hide"):
        return staging
    slower = tuple(replace(start, vx=start.vx * _SLOWER, spin=start.spin * _SLOWER) for start in staging.starts)
    return replace(staging, starts=slower)


def _on_ramp(ramp: Ramp, x: float, radius: float) -> float:
    """Height of the centre of a ball on a ramp: one radius off the incline, whose line passes through its foot."""
    slope = math.atan2(ramp.height, ramp.low_x - ramp.high_x)
    return FLOOR_Y + (ramp.low_x - x) * math.tan(slope) + radius / math.cos(slope)


def _ramp_hit(bodies: Bodies, dice: Dice) -> Staging:
    mover, target = bodies
    ramp = Ramp(high_x=WALL_X, low_x=WALL_X + dice.uniform(0.30, 0.36), height=dice.uniform(0.17, 0.23))
    x = WALL_X + mover.radius + dice.uniform(0.005, 0.03)
    start = Start(x=x, y=_on_ramp(ramp, x, mover.radius))
    gap = dice.uniform(0.05, 0.10)  # of floor between the ball at the foot of the ramp and what it hits
    target_x = min(ramp.low_x + 0.3 * mover.radius + gap + mover.radius + target.radius, _END_X - target.radius)
    resting = Start(x=target_x, y=FLOOR_Y + target.radius)
    return Staging(starts=(start, resting), friction=0.3, restitution=0.0, ramp=ramp)


def _hide_hit(bodies: Bodies, dice: Dice) -> Staging:
    mover, target = bodies
    r = mover.radius
    x, half = WALL_X + r + 0.005, r + dice.uniform(0.022, 0.032)
    out_x = x + r + 0.02 + 2 * half + r + 0.05  # where the whole ball shows again, and a way beyond
    room = _END_X - target.radius - (out_x + r + target.radius)
    before, after = dice.uniform(0, room / 2), dice.uniform(0, room / 2)
    slab = Occluder(x=x + before + r + 0.02 + half, half_width=half, top=FLOOR_Y + 2 * r + dice.uniform(0.08, 0.2))
    hit_x = out_x + before + after
    resting = Start(x=hit_x + r + target.radius, y=FLOOR_Y + target.radius)
    start = rolling(x, r, (hit_x - x) / dice.uniform(1.5, 1.8))
    return Staging(starts=(start, resting), friction=0.04, restitution=0.0, occluder=slab)


def _ramp_hide(bodies: Bodies, dice: Dice) -> Staging:
    r = bodies[0].radius
    ramp = Ramp(high_x=WALL_X, low_x=WALL_X + dice.uniform(0.28, 0.32), height=dice.uniform(0.16, 0.21))
    x = WALL_X + r + dice.uniform(0.005, 0.02)
    half = r + dice.uniform(0.04, 0.05)
    left = dice.uniform(ramp.low_x + 0.02, 1 - WALL_X - 2 * r - 0.04 - 2 * half)
    slab = Occluder(x=left + half, half_width=half, top=FLOOR_Y + 2 * r + dice.uniform(0.08, 0.2))
    start = Start(x=x, y=_on_ramp(ramp, x, r))
    return Staging(starts=(start,), friction=0.5, restitution=0.0, ramp=ramp, occluder=slab)


def _swing_hit(bodies: Bodies, dice: Dice) -> Staging:
    mover, target = bodies
    pivot = Pivot(x=dice.uniform(0.38, 0.44), y=dice.uniform(0.78, 0.88))
    low_y = FLOOR_Y + _CLEARANCE + mover.radius
    length = pivot.y - low_y
    room = pivot.x - WALL_X - mover.radius - 0.015
    swing = math.asin(min(0.75, room / length)) * dice.uniform(0.9, 1.0)
    start = Start(x=pivot.x - length * math.sin(swing), y=pivot.y - length * math.cos(swing), angle=-swing)
    reach = mover.radius + target.radius
    above = low_y - FLOOR_Y - target.radius
    apart = math.sqrt(reach**2 - above**2) if target.shape == "ball" else reach
    resting = Start(x=pivot.x + apart + dice.uniform(0.002, 0.015), y=FLOOR_Y + target.radius)
    return Staging(starts=(start, resting), friction=0.15, restitution=0.0, pivot=pivot)


def _fall_ramp(bodies: Bodies, dice: Dice) -> Staging:
    r = bodies[0].radius
    ramp = Ramp(high_x=WALL_X, low_x=WALL_X + dice.uniform(0.46, 0.56), height=dice.uniform(0.2, 0.28))
    x = WALL_X + r + dice.uniform(0.01, 0.05)
    start = Start(x=x, y=_on_ramp(ramp, x, r) + dice.uniform(0.24, 0.32))
    return Staging(starts=(start,), friction=0.5, restitution=dice.uniform(0.05, 0.2), ramp=ramp)


def _roll_fall(bodies: Bodies, dice: Dice) -> Staging:
    r = bodies[0].radius
    ledge = Ledge(wall_x=WALL_X, edge_x=WALL_X + dice.uniform(0.32, 0.42), height=dice.uniform(0.22, 0.32))
    x = WALL_X + r + dice.uniform(0.01, 0.04)
    along = rolling(x, r, (ledge.edge_x - x) / dice.uniform(0.75, 1.1))
    start = replace(along, y=along.y + ledge.height)
    return Staging(starts=(start,), friction=0.3, restitution=dice.uniform(0.35, 0.5), ledge=ledge)


CHAINS: dict[tuple[Event, Event], Callable[[Bodies, Dice], Staging]] = {
    ("ramp", "hit"): _ramp_hit,
    ("hide", "hit"): _hide_hit,
    ("ramp", "hide"): _ramp_hide,
    ("swing", "hit"): _swing_hit,
    ("fall", "ramp"): _fall_ramp,
    ("roll", "fall"): _roll_fall,
}
