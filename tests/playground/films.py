"""Little films for tests of drawing and nuisances: a playground scene as a film, and one actor on a path."""

import math

import numpy as np

from vgen.playground.render import PAINTS
from vgen.playground.scene import FLOOR_Y, WALL_X, Scene
from vgen.playground.simulate import Trajectory
from vgen.playground.twins.film import Actor, Film, Fixture, Floats, Form, Take, Truth
from vgen.playground.twins.staging import actor, block

RED = PAINTS["red"]


def film_of(scene: Scene, run: Trajectory) -> Film:
    """What `render` would draw of a scene, as a film."""
    fixtures = [
        Fixture(kind="wall", corners_P2=block(-9.0, WALL_X, -9.0, 9.0)),
        Fixture(kind="wall", corners_P2=block(1 - WALL_X, 9.0, -9.0, 9.0)),
    ]
    if ramp := scene.ramp:
        wedge = [(ramp.high_x, FLOOR_Y), (ramp.high_x, FLOOR_Y + ramp.height), (ramp.low_x, FLOOR_Y)]
        fixtures.insert(0, Fixture(kind="ramp", corners_P2=np.array(wedge)))
    if slab := scene.occluder:
        corners_P2 = block(slab.x - slab.half_width, slab.x + slab.half_width, FLOOR_Y / 2, slab.top)
        fixtures.append(Fixture(kind="occluder", corners_P2=corners_P2, depth=5))
    if pivot := scene.pivot:
        top_F2 = np.tile((pivot.x, pivot.y), (run.frames, 1))
        fixtures.append(Fixture(kind="rod", corners_P2=np.stack([top_F2, run.states_NF3[0, :, :2]], axis=1)))
    actors = (
        actor(
            body.shape,
            state_F3[:, :2].astype(np.float64),
            body.radius,
            PAINTS[body.colour],
            angle_F=state_F3[:, 2].astype(np.float64),
        )
        for body, state_F3 in zip(scene.bodies, run.states_NF3, strict=True)
    )
    return Film(fps=12.0, actors=tuple(actors), fixtures=tuple(fixtures), palette=scene.palette)


def one(xy: tuple[float, float] | Floats, *, form: Form = "ball", radius: float = 0.1, frames: int = 1) -> Actor:
    """A red thing at one place, or on a path [F, 2]."""
    xy_F2 = np.asarray(xy, np.float64)
    return actor(form, np.tile(xy_F2, (frames, 1)) if xy_F2.ndim == 1 else xy_F2, radius, RED)


def bounce_y(frames: int, *, drop: float = 0.5, fall_frames: float = 9.4, restitution: float = 0.8) -> Floats:
    """Heights over the floor of a point that is dropped and bounces once: parabolas with a sharp bend in between."""
    clock_F = np.arange(frames, dtype=np.float64)
    gravity = 2 * drop / fall_frames**2
    since_F = clock_F - fall_frames
    rising_F = restitution * gravity * fall_frames * since_F - gravity * since_F**2 / 2
    return np.where(since_F < 0, drop - gravity * clock_F**2 / 2, rising_F)


def bouncing_take(frames: int = 24) -> Take:
    """A ball that drops, bounces once and drifts to the right."""
    radius = 0.07
    y_F = FLOOR_Y + radius + bounce_y(frames)
    ball = one(np.stack([np.linspace(0.2, 0.7, frames), y_F], axis=1), radius=radius)
    return Take(film=Film(fps=12.0, actors=(ball,)), truth=Truth(family="bounce", seed=0))


def disc_area(radius: float) -> float:
    return math.pi * radius**2
