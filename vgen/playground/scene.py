"""What a playground scene is, and how a seed becomes one.

The world is a side view of the unit square: x to the right, y up, lengths as fractions of the square, seconds, radians.
A scene is a start state with fixtures, made so that its one named event happens within `NATIVE_FRAMES`; `simulate.py`
moves it, `render.py` draws it, `caption.py` says it. A new event needs an entry in `EVENTS` and in `STAGINGS`, its
phrases in `caption.py` and its signs in `detect.py`.
Scenes of this module are those of the first world; richer ones are staged in `scene_rich.py`, of the same `parts.py`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count as count_from
from typing import Literal, TypeVar, get_args

import numpy as np

from vgen.errors import InputError, nearest
from vgen.playground.parts import (
    COLOURS,
    SHAPES,
    SIZES,
    Body,
    Colour,
    Ledge,
    Occluder,
    Pivot,
    Ramp,
    Shape,
    Shelf,
    Size,
    Start,
)

__all__ = [
    "COLOURS",
    "EVENTS",
    "FLOOR_Y",
    "FPS",
    "FRAMES",
    "GRAVITY",
    "HELD_OUT_COMBINATIONS",
    "HELD_OUT_FROM_SEED",
    "NATIVE_FRAMES",
    "NUM_PALETTES",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "STAGINGS",
    "WALL_X",
    "Body",
    "Colour",
    "Dice",
    "Direction",
    "Event",
    "Ledge",
    "Occluder",
    "Pivot",
    "Ramp",
    "Scene",
    "Shape",
    "Shelf",
    "Size",
    "Split",
    "Staging",
    "Start",
    "mirrored",
    "rolling",
    "sample_scene",
    "scenes",
    "scenes_of",
    "split_of",
]

Event = Literal["fall", "roll", "throw", "hit", "hide", "slide", "ramp", "swing"]
Direction = Literal["left", "right"]
Split = Literal["train", "held_out_seed", "held_out_combination"]

EVENTS: tuple[Event, ...] = get_args(Event)
SPLITS: tuple[Split, ...] = get_args(Split)

FPS = 12
FRAMES = 65  # of a whole clip
NATIVE_FRAMES = 33  # within these every event is over or plain to see
GRAVITY = 2.0  # per s^2: a fall from the top of the square takes about nine frames
FLOOR_Y = 0.14
NUM_PALETTES = 5  # of what does not move; their colours stand in `render.py`
WALL_X = 0.04  # inner face of the left wall; the right one mirrors it

HELD_OUT_FROM_SEED = 10_000_000  # training uses seeds below it, scoring those from it on
HELD_OUT_COMBINATIONS: frozenset[tuple[Colour, Event]] = frozenset(
    {("red", "throw"), ("yellow", "hit"), ("green", "ramp"), ("blue", "swing"), ("purple", "slide")}
)

_NATIVE_S = (NATIVE_FRAMES - 1) / FPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Ground truth of one clip before anything moves.

    Args:
        seed: the scene's name; `sample_scene(seed)` makes it again.
        event: the one named event, or the first of two; it is the first body's.
        direction: where it goes, seen by the viewer; None for those without one (fall or swing alone).
        bodies: of different colours: the moving one first, then the one that it hits, if it does, then bystanders.
        starts: state of each body at time 0.
        palette: index into the `PALETTES` of `render.py`.
        friction: of each body on floor and ramp (Coulomb).
        restitution: of each body on floor and ramp.
        ramp, occluder, pivot, ledge: the fixtures that the events need.
        then: the second event; the first body's too.
        shelf: where bystanders may rest.
        fps: frames per second of its clips.
    """

    seed: int
    event: Event
    direction: Direction | None
    bodies: tuple[Body, ...]
    starts: tuple[Start, ...]
    palette: int
    friction: float
    restitution: float
    ramp: Ramp | None = None
    occluder: Occluder | None = None
    pivot: Pivot | None = None
    then: Event | None = None
    ledge: Ledge | None = None
    shelf: Shelf | None = None
    fps: int = FPS

    @property
    def bystanders(self) -> tuple[Body, ...]:
        """The bodies that have no part in the events."""
        return self.bodies[2 if "hit" in (self.event, self.then) else 1 :]


_Option = TypeVar("_Option")


class Dice:
    """Draws keyed by a seed (below 2^128), from the raw stream of Philox: fixed by its paper, it outlives libraries."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=seed)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def pick(self, options: tuple[_Option, ...]) -> _Option:
        return options[int(self.uniform(0, len(options)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """What an event's staging adds to a drawn cast; always moving to the right."""

    starts: tuple[Start, ...]
    friction: float = 0.3
    restitution: float = 0.5
    ramp: Ramp | None = None
    occluder: Occluder | None = None
    pivot: Pivot | None = None
    ledge: Ledge | None = None


def sample_scene(seed: int) -> Scene:
    """The scene of a seed, the same on every machine.

    Raises:
        InputError: where the seed is not in 0..2^63-1.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"scene seed {seed} is out of range; possible: 0 to 2^63 - 1")
    dice = Dice(seed)
    event = dice.pick(EVENTS)
    bodies = _cast(event, dice)
    heading = dice.pick(get_args(Direction))
    palette = dice.pick(tuple(range(NUM_PALETTES)))
    staging = STAGINGS[event](bodies, dice)
    if heading == "left":
        staging = mirrored(staging)
    return Scene(
        seed=seed,
        event=event,
        direction=None if event in ("fall", "swing") else heading,
        bodies=bodies,
        palette=palette,
        starts=staging.starts,
        friction=staging.friction,
        restitution=staging.restitution,
        ramp=staging.ramp,
        occluder=staging.occluder,
        pivot=staging.pivot,
    )


def split_of(scene: Scene) -> Split:
    """Which split a scene belongs to: a held-out colour-event combination counts before a held-out seed."""
    if (scene.bodies[0].colour, scene.event) in HELD_OUT_COMBINATIONS:
        return "held_out_combination"
    return "train" if scene.seed < HELD_OUT_FROM_SEED else "held_out_seed"


def scenes(split: Split, count: int, start: int = 0) -> Iterator[Scene]:
    """`count` scenes of a split in order of their seeds.

    Args:
        split: one of `SPLITS`.
        count: how many.
        start: offset of the first seed looked at; scenes of other splits are passed over, so continue from the last
            seed seen rather than from `start + count`.

    Raises:
        InputError: for an unknown split.
    """
    yield from scenes_of(sample_scene, split_of, split, count, start)


def scenes_of(
    sample: Callable[[int], Scene], split_of: Callable[[Scene], Split], split: Split, count: int, start: int
) -> Iterator[Scene]:
    """As `scenes`, of any world: its sampler and its splits."""
    if split not in SPLITS:
        raise InputError(f"unknown split '{split}'; {nearest(split, SPLITS)}")
    base = 0 if split == "train" else HELD_OUT_FROM_SEED
    drawn = (sample(seed) for seed in count_from(base + start))
    matching = (scene for scene in drawn if split_of(scene) == split)
    for _ in range(count):
        yield next(matching)


def _cast(event: Event, dice: Dice) -> tuple[Body, ...]:
    """The bodies of an event; two only where one hits the other."""
    shapes: dict[Event, tuple[Shape, ...]] = {
        "fall": SHAPES,
        "throw": SHAPES,
        "hit": SHAPES,
        "swing": SHAPES,
        "slide": ("box",),
    }
    sizes = tuple(SIZES)
    main = Body(shape=dice.pick(shapes.get(event, ("ball",))), colour=dice.pick(COLOURS), size=dice.pick(sizes))
    if event != "hit":
        return (main,)
    others = tuple(colour for colour in COLOURS if colour != main.colour)
    # A smaller body would bounce off a larger one and hardly move it.
    movable = sizes[: sizes.index(main.size) + 1]
    return main, Body(shape=dice.pick(SHAPES), colour=dice.pick(others), size=dice.pick(movable))


def _stage_fall(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    ball = bodies[0].shape == "ball"
    start = Start(x=dice.uniform(0.25, 0.75), y=dice.uniform(0.68, 0.85))
    return Staging(starts=(start,), restitution=dice.uniform(0.65, 0.78) if ball else dice.uniform(0.5, 0.6))


def _stage_roll(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    radius = bodies[0].radius
    x = WALL_X + radius + dice.uniform(0.02, 0.08)
    room = 1 - WALL_X - radius - x
    return Staging(starts=(rolling(x, radius, room * dice.uniform(0.7, 0.97) / _NATIVE_S),))


def _stage_throw(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    start = Start(
        x=WALL_X + bodies[0].radius + dice.uniform(0.02, 0.08),
        y=dice.uniform(0.27, 0.40),
        vx=dice.uniform(0.32, 0.42),
        vy=dice.uniform(0.8, 1.05),
        spin=dice.uniform(-1.5, -0.5),
    )
    if bodies[0].shape == "box":  # a lively box would kick off its corner in any direction
        return Staging(starts=(start,), friction=0.2, restitution=0.15)
    return Staging(starts=(start,), restitution=dice.uniform(0.45, 0.6))


def _stage_hit(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    mover, target = bodies
    x = WALL_X + mover.radius + dice.uniform(0.005, 0.03)
    gap = dice.uniform(0.16, 0.24)
    speed = gap / dice.uniform(0.45, 0.6)
    sliding = Start(x=x, y=FLOOR_Y + mover.radius, vx=speed)
    start = rolling(x, mover.radius, speed) if mover.shape == "ball" else sliding
    resting = Start(x=x + mover.radius + gap + target.radius, y=FLOOR_Y + target.radius)
    return Staging(starts=(start, resting), friction=0.04, restitution=0.0)


def _stage_hide(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    radius = bodies[0].radius
    slab = Occluder(
        x=dice.uniform(0.47, 0.53),
        half_width=radius + dice.uniform(0.03, 0.05),
        top=FLOOR_Y + 2 * radius + dice.uniform(0.08, 0.25),
    )
    x = WALL_X + radius + dice.uniform(0.01, 0.03)
    reappeared = slab.x + slab.half_width + radius + 0.01
    end = dice.uniform(reappeared + 0.02, 1 - WALL_X - radius)
    return Staging(starts=(rolling(x, radius, (end - x) / _NATIVE_S),), occluder=slab)


def _stage_slide(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    half = bodies[0].radius
    x = WALL_X + half + dice.uniform(0.02, 0.08)
    distance = (1 - WALL_X - half - x) * dice.uniform(0.6, 0.92)
    duration_s = dice.uniform(1.2, 1.9)
    # Constant deceleration mu*g: distance = v*t/2 and v = mu*g*t.
    speed = 2 * distance / duration_s
    start = Start(x=x, y=FLOOR_Y + half, vx=speed)
    return Staging(starts=(start,), friction=speed / (GRAVITY * duration_s), restitution=0.0)


def _stage_ramp(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    radius = bodies[0].radius
    ramp = Ramp(high_x=WALL_X, low_x=WALL_X + dice.uniform(0.46, 0.56), height=dice.uniform(0.18, 0.28))
    slope = math.atan2(ramp.height, ramp.low_x - ramp.high_x)
    x = WALL_X + radius + dice.uniform(0.01, 0.05)
    # The centre lies one radius off the incline, whose line passes through (low_x, FLOOR_Y).
    y = FLOOR_Y + (ramp.low_x - x) * math.tan(slope) + radius / math.cos(slope)
    return Staging(starts=(Start(x=x, y=y),), friction=0.6, restitution=0.0, ramp=ramp)


def _stage_swing(bodies: tuple[Body, ...], dice: Dice) -> Staging:
    pivot = Pivot(x=dice.uniform(0.46, 0.54), y=dice.uniform(0.86, 0.92))
    length = dice.uniform(0.36, 0.46)
    room = min(pivot.x, 1 - pivot.x) - WALL_X - bodies[0].radius - 0.02
    swing = math.asin(min(0.85, room / length)) * dice.uniform(0.8, 1.0)
    start = Start(x=pivot.x - length * math.sin(swing), y=pivot.y - length * math.cos(swing), angle=-swing)
    return Staging(starts=(start,), pivot=pivot)


STAGINGS: dict[Event, Callable[[tuple[Body, ...], Dice], Staging]] = {
    "fall": _stage_fall,
    "roll": _stage_roll,
    "throw": _stage_throw,
    "hit": _stage_hit,
    "hide": _stage_hide,
    "slide": _stage_slide,
    "ramp": _stage_ramp,
    "swing": _stage_swing,
}


def rolling(x: float, radius: float, speed: float) -> Start:
    """A ball on the floor that already rolls without slipping."""
    return Start(x=x, y=FLOOR_Y + radius, vx=speed, spin=-speed / radius)


def mirrored(staging: Staging) -> Staging:
    """The same staging seen in a mirror: what went right goes left."""
    ramp, occluder, pivot, ledge = staging.ramp, staging.occluder, staging.pivot, staging.ledge
    return replace(
        staging,
        starts=tuple(replace(s, x=1 - s.x, vx=-s.vx, angle=-s.angle, spin=-s.spin) for s in staging.starts),
        ramp=ramp and replace(ramp, high_x=1 - ramp.high_x, low_x=1 - ramp.low_x),
        occluder=occluder and replace(occluder, x=1 - occluder.x),
        pivot=pivot and replace(pivot, x=1 - pivot.x),
        ledge=ledge and replace(ledge, wall_x=1 - ledge.wall_x, edge_x=1 - ledge.edge_x),
    )
