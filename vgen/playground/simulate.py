"""Moves a scene: rigid bodies in pymunk with fixed substeps, kept as compact float16 states.

A trajectory is what happened: a state per body and frame, and the moments (contacts, hiding, coming to rest) with
their frames.
Letters beyond the project's legend: `N` bodies (not heads), and a last axis of 3: x, y, angle.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from vgen.errors import InputError
from vgen.playground.parts import MATERIALS, SHELF_THICKNESS
from vgen.playground.scene import FLOOR_Y, FRAMES, GRAVITY, WALL_X, Body, Scene

if TYPE_CHECKING:
    import pymunk

__all__ = ["LAWS", "MOMENTS", "Moment", "Trajectory", "laws_of", "simulate"]

Kind = Literal["touches_floor", "touches_wall", "touches_ramp", "hits", "hidden", "reappears", "rests", "touches_ledge"]
MOMENTS: tuple[Kind, ...] = get_args(Kind)

LAWS: tuple[str, ...] = (
    "gravity",
    "inertia",
    "friction",
    "restitution",
    "momentum",
    "solidity",
    "permanence",
    "shape",
    "colour",
)

_STEPS_PER_S = 144  # a fast ball moves a tenth of its radius per step
_FLOOR_FRICTION = 3.0  # pymunk multiplies frictions: high here, low on bodies, so bodies hardly drag each other
_DENSITY = 100.0
_THICKNESS = 0.5  # of floor and walls, outwards: nothing tunnels
_REST_PER_S = 0.02  # slower than this counts as at rest
_BODY_RESTITUTION = 0.9  # between two bodies
_WALL_RESTITUTION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened: what, in which frame (the first that shows it), and to which bodies (indices)."""

    kind: Kind
    frame: int
    bodies: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """What happened to the bodies of one scene.

    Args:
        states_NF3: float16; centre x, y in world units and angle in radians within -pi..pi.
        moments: in the order of their frames.
    """

    states_NF3: npt.NDArray[np.float16]
    moments: tuple[Moment, ...]

    @property
    def frames(self) -> int:
        return int(self.states_NF3.shape[1])


def laws_of(scene: Scene) -> tuple[str, ...]:
    """The laws of `LAWS` that a scene puts to the test; all hold in every scene that `simulate` moves."""
    events = {scene.event, scene.then}
    needs = {
        "restitution": not events.isdisjoint(("fall", "throw")),
        "friction": not events.isdisjoint(("slide", "ramp", "roll")),
        "momentum": "hit" in events,
        "permanence": scene.occluder is not None,
    }
    return tuple(law for law in LAWS if needs.get(law, True))


def simulate(scene: Scene, frames: int = FRAMES) -> Trajectory:
    """Moves a scene for `frames` frames at its rate, frame 0 being its start.

    The same scene gives the same states: fixed substeps, one space per scene, one thread.

    Raises:
        InputError: for less than one frame.
    """
    if frames < 1:
        raise InputError(f"a trajectory needs at least 1 frame, got {frames}")
    log = _ContactLog()
    substeps = round(_STEPS_PER_S / scene.fps)
    space, bodies = _build(scene, log)
    states_NF3 = np.empty((len(bodies), frames, 3))
    for frame in range(frames):
        log.frame = frame
        if frame:
            for _ in range(substeps):
                space.step(1 / (scene.fps * substeps))
        for index, body in enumerate(bodies):
            states_NF3[index, frame] = (body.position.x, body.position.y, math.remainder(body.angle, 2 * math.pi))
    moments = [*log.moments, *_hidings(scene, states_NF3), *_rests(states_NF3, scene.fps)]
    moments.sort(key=lambda moment: (moment.frame, MOMENTS.index(moment.kind), moment.bodies))
    return Trajectory(states_NF3.astype(np.float16), tuple(moments))


class _ContactLog:
    """Collects the first frame of each contact; pymunk calls `begin` when two shapes start to touch."""

    def __init__(self) -> None:
        self.frame = 0
        self.moments: list[Moment] = []
        self._latest: dict[tuple[Kind, tuple[int, ...]], int] = {}

    def begin(self, arbiter: "pymunk.Arbiter", _space: "pymunk.Space", _data: object) -> None:
        kinds: dict[int, Kind] = {
            _FLOOR: "touches_floor",
            _WALL: "touches_wall",
            _RAMP: "touches_ramp",
            _LEDGE: "touches_ledge",
        }
        types = [shape.collision_type for shape in arbiter.shapes]
        bodies = tuple(sorted(kind - _FIRST_BODY for kind in types if kind >= _FIRST_BODY))
        still = [kind for kind in types if kind < _FIRST_BODY]
        kind = kinds[still[0]] if still else "hits"
        latest = self._latest.get((kind, bodies), 0)
        self._latest[kind, bodies] = self.frame
        # A resting contact begins again and again; what starts at rest or repeats within two frames is no moment.
        if self.frame - latest > 2:
            self.moments.append(Moment(kind=kind, frame=self.frame, bodies=bodies))


_FLOOR, _WALL, _RAMP, _LEDGE, _FIRST_BODY = 1, 2, 3, 4, 5  # collision types
_BODY_ELASTICITY = math.sqrt(_BODY_RESTITUTION)  # pymunk multiplies the values of the two that touch


def _build(scene: Scene, log: _ContactLog) -> "tuple[pymunk.Space, list[pymunk.Body]]":
    import pymunk

    space = pymunk.Space()
    space.gravity = (0, -GRAVITY)
    space.iterations = 20
    space.collision_slop = 0.0005
    space.on_collision(None, None, begin=log.begin)
    _add_fixtures(space, scene)
    bodies = []
    for index, (looks, start) in enumerate(zip(scene.bodies, scene.starts, strict=True)):
        body, shape = _body_and_shape(looks)
        body.position, body.angle = (start.x, start.y), start.angle
        body.velocity, body.angular_velocity = (start.vx, start.vy), start.spin
        shape.friction = scene.friction / _FLOOR_FRICTION
        shape.elasticity = _BODY_ELASTICITY * MATERIALS[looks.material].bounce
        shape.collision_type = _FIRST_BODY + index
        space.add(body, shape)
        bodies.append(body)
    if scene.pivot is not None:
        space.add(pymunk.PivotJoint(space.static_body, bodies[0], (scene.pivot.x, scene.pivot.y)))
    return space, bodies


def _body_and_shape(looks: Body) -> "tuple[pymunk.Body, pymunk.Shape]":
    import pymunk

    r, density = looks.radius, _DENSITY * MATERIALS[looks.material].density
    if looks.shape == "ball":
        mass = density * math.pi * r**2
        body = pymunk.Body(mass, pymunk.moment_for_circle(mass, 0, r))
        return body, pymunk.Circle(body, r)
    mass = density * (2 * r) ** 2
    body = pymunk.Body(mass, pymunk.moment_for_box(mass, (2 * r, 2 * r)))
    return body, pymunk.Poly.create_box(body, (2 * r, 2 * r))


def _add_fixtures(space: "pymunk.Space", scene: Scene) -> None:
    """Floor, walls, ramp, ledge and shelf: static, smooth walls, all else rough. The occluder stops nothing."""
    import pymunk

    def add(shape: "pymunk.Shape", kind: int, friction: float, restitution: float) -> None:
        shape.collision_type, shape.friction, shape.elasticity = kind, friction, restitution
        space.add(shape)

    def slab(left: float, low: float, right: float, top: float) -> "pymunk.Poly":
        return pymunk.Poly(space.static_body, [(left, low), (right, low), (right, top), (left, top)])

    bounce = scene.restitution / _BODY_ELASTICITY
    add(slab(-1, FLOOR_Y - _THICKNESS, 2, FLOOR_Y), _FLOOR, _FLOOR_FRICTION, bounce)
    for inner, outer in ((WALL_X, WALL_X - _THICKNESS), (1 - WALL_X, 1 - WALL_X + _THICKNESS)):
        add(slab(min(inner, outer), -1, max(inner, outer), 3), _WALL, 0.0, _WALL_RESTITUTION / _BODY_ELASTICITY)
    if scene.ramp is not None:
        ramp = scene.ramp
        corners = [(ramp.high_x, FLOOR_Y), (ramp.low_x, FLOOR_Y), (ramp.high_x, FLOOR_Y + ramp.height)]
        add(pymunk.Poly(space.static_body, corners), _RAMP, _FLOOR_FRICTION, bounce)
    if (ledge := scene.ledge) is not None:
        left, right = sorted((ledge.wall_x, ledge.edge_x))
        add(slab(left, FLOOR_Y, right, FLOOR_Y + ledge.height), _LEDGE, _FLOOR_FRICTION, bounce)
    if (shelf := scene.shelf) is not None:
        left, right = sorted((shelf.wall_x, shelf.edge_x))
        add(slab(left, shelf.top - SHELF_THICKNESS, right, shelf.top), _LEDGE, _FLOOR_FRICTION, bounce)


def _hidings(scene: Scene, states_NF3: npt.NDArray[np.float64]) -> list[Moment]:
    """When a body vanishes wholly behind the occluder, and when its first part shows again."""
    if scene.occluder is None:
        return []
    moments = []
    for index, body in enumerate(scene.bodies):
        hidden_F = np.abs(states_NF3[index, :, 0] - scene.occluder.x) <= scene.occluder.half_width - body.radius
        for frame in np.flatnonzero(np.diff(hidden_F.astype(int))) + 1:
            kind: Kind = "hidden" if hidden_F[frame] else "reappears"
            moments.append(Moment(kind=kind, frame=int(frame), bodies=(index,)))
    return moments


def _rests(states_NF3: npt.NDArray[np.float64], fps: int) -> list[Moment]:
    """When a body that had moved comes to rest for good (until the end of the trajectory)."""
    moments = []
    for index, state_F3 in enumerate(states_NF3):
        step_F = np.hypot(*np.diff(state_F3[:, :2], axis=0).T)
        moving = np.flatnonzero(step_F > _REST_PER_S / fps)
        if moving.size and moving[-1] + 1 < len(step_F):
            moments.append(Moment(kind="rests", frame=int(moving[-1]) + 2, bodies=(index,)))
    return moments
