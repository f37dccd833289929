"""A maker of observations for tests of the rules: closed-form motion, plus noise of known size. No picture is drawn.

Motions give `xy_F2` in pixels, y down, per frame. `body` makes a track of them, a disc unless told otherwise, and
`seen` an observation; `resized`, `mirrored` and `turned` are changes that a unit-free rule must not notice.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vgen.judge.observation import (
    OUTLINE_DIRECTIONS,
    Camera,
    Event,
    EventKind,
    Floats,
    Observation,
    Sight,
    Track,
)

__all__ = [
    "DIAMETER",
    "FLOOR_Y",
    "GRAVITY",
    "SIGMA",
    "Floats",
    "Motion",
    "body",
    "bounces",
    "collide",
    "event",
    "mirrored",
    "resized",
    "seen",
    "slide",
    "swing",
    "throw",
    "turned",
    "uniform",
]

FLOOR_Y = 400.0
DIAMETER = 24.0
SIGMA = 0.1
GRAVITY = 0.8  # px per frame^2


class Motion(NamedTuple):
    """A path and the moments at which it touched the floor, with the speed it changed there."""

    xy_F2: Floats
    hits: tuple[tuple[float, float], ...] = ()


def throw(
    frames: int,
    start: tuple[float, float],
    velocity: tuple[float, float] = (0.0, 0.0),
    *,
    g: float = GRAVITY,
    e: float | Iterable[float] = 0.8,
    floor: float = FLOOR_Y,
    diameter: float = DIAMETER,
) -> Motion:
    """Flight with bounces on a floor, exact between them; `e` may give one restitution per bounce."""
    rebounds = iter(e) if isinstance(e, Iterable) else None
    ground = floor - diameter / 2
    t0, (x0, y0), (vx, vy) = 0.0, start, velocity
    xy_F2, hits = np.empty((frames, 2)), []
    frame = 0
    while frame < frames:
        fall = (-vy + np.sqrt(vy**2 + 2 * g * max(ground - y0, 0.0))) / g  # time until the floor
        while frame < frames and frame - t0 <= fall:
            t = frame - t0
            xy_F2[frame] = (x0 + vx * t, y0 + vy * t + g * t**2 / 2)
            frame += 1
        impact = vy + g * fall
        bounce = next(rebounds) if rebounds is not None else float(e)  # type: ignore[arg-type]  # not an Iterable
        t0, x0, y0, vy = t0 + fall, x0 + vx * fall, ground, -bounce * impact
        if t0 < frames:
            hits.append((t0, (1 + bounce) * impact))
        if abs(vy) < g:  # hops shorter than two frames: it rests
            xy_F2[frame:] = np.stack([x0 + vx * (np.arange(frame, frames) - t0), np.full(frames - frame, ground)], -1)
            break
    return Motion(xy_F2, tuple(hits))


def slide(frames: int, start: tuple[float, float], speed: float, *, braking: float = 0.05) -> Floats:
    """Along a level floor, slowed evenly until it stands."""
    t = np.minimum(np.arange(frames), abs(speed) / braking if braking else np.inf)
    x = start[0] + speed * t - np.sign(speed) * braking * t**2 / 2
    return np.stack([x, np.full(frames, start[1])], -1)


def uniform(frames: int, start: tuple[float, float], velocity: tuple[float, float]) -> Floats:
    return np.asarray(start) + np.arange(frames)[:, None] * np.asarray(velocity)


def swing(
    frames: int,
    pivot: tuple[float, float] = (320.0, 60.0),
    length: float = 180.0,
    amplitude: float = 0.6,
    *,
    g: float = GRAVITY,
    damping: float = 0.0,
) -> Floats:
    """A true pendulum (not the small-angle one), released at rest; `damping` per frame of the angular speed."""
    angle, rate, step = amplitude, 0.0, 1 / 50
    xy_F2 = np.empty((frames, 2))
    for frame in range(frames):
        xy_F2[frame] = (pivot[0] + length * np.sin(angle), pivot[1] + length * np.cos(angle))
        for _ in range(50):  # leapfrog
            rate += step / 2 * (-g / length * np.sin(angle) - damping * rate)
            angle += step * rate
            rate += step / 2 * (-g / length * np.sin(angle) - damping * rate)
    return xy_F2


def collide(
    frames: int,
    one: tuple[tuple[float, float], tuple[float, float]],
    other: tuple[tuple[float, float], tuple[float, float]],
    *,
    masses: tuple[float, float] = (1.0, 1.0),
    diameters: tuple[float, float] = (DIAMETER, DIAMETER),
    e: float = 0.9,
) -> tuple[Floats, Floats, float]:
    """Two discs, each (start, velocity), without gravity or friction; their paths and the moment they meet."""
    (p, u), (q, w) = (np.asarray(one, float), np.asarray(other, float))
    reach = sum(diameters) / 2
    d, v = q - p, w - u
    a, b, c = v @ v, d @ v, d @ d - reach**2
    meet = (-b - np.sqrt(b**2 - a * c)) / a
    normal = (d + v * meet) / reach
    push = (1 + e) * (v @ normal) / (1 / masses[0] + 1 / masses[1])
    t = np.arange(frames)[:, None]
    after = np.maximum(t - meet, 0)
    return p + u * t + after * push / masses[0] * normal, q + w * t - after * push / masses[1] * normal, float(meet)


def body(
    xy_F2: Floats,
    *,
    id: int = 0,
    seed: int = 0,
    sigma: float = SIGMA,
    diameter: float = DIAMETER,
    floor: float | None = FLOOR_Y,
    standing_F: Floats | None = None,
    sight_F: np.ndarray | None = None,
    angle_F: Floats | None = None,
    lab: tuple[float, float, float] = (60.0, 40.0, 20.0),
) -> Track:
    """A disc that follows `xy_F2`, with noise of `sigma` px on its centre.

    `floor` is the height of the level floor below it, None where nothing tells; `standing_F` gives free space below
    instead of it, for other grounds. Where it is not SEEN or PARTLY every measured array is NaN.
    """
    frames = len(xy_F2)
    rng = np.random.default_rng([seed, id])
    noisy_F2 = xy_F2 + sigma * rng.standard_normal((frames, 2))
    r = diameter / 2
    surface_F = standing_F if standing_F is not None else np.full(frames, np.nan)
    if floor is not None and standing_F is None:
        free = floor - xy_F2[:, 1] - r
        surface_F = np.where(free < 0.04 * diameter, 0.0, free)
    sight_F = np.zeros(frames, np.uint8) if sight_F is None else np.asarray(sight_F, np.uint8)
    hidden_F = sight_F > Sight.PARTLY

    def shown(values: Floats) -> Floats:
        values = np.array(values, float)
        values[hidden_F] = np.nan
        return values

    return Track(
        id=id,
        xy_F2=shown(noisy_F2),
        sigma_px=max(sigma, 1e-3),
        sight_F=sight_F,
        area_px_F=shown(np.full(frames, np.pi * r**2)),
        box_F4=shown(np.concatenate([noisy_F2 - r, noisy_F2 + r], -1)),
        outline_px_FA=shown(np.full((frames, OUTLINE_DIRECTIONS), r)),
        angle_F=shown(np.full(frames, np.nan) if angle_F is None else angle_F),
        lab_F3=shown(np.tile(lab, (frames, 1))),
        surface_px_F=shown(surface_F),
    )


def event(
    kind: EventKind, frame: float, tracks: tuple[int, ...], strength: float = 1.0, xy: tuple[float, float] = (0.0, 0.0)
) -> Event:
    return Event(kind=kind, frame=frame, sigma_frames=0.3, tracks=tracks, xy=xy, strength=strength)


def bounces(motion: Motion, id: int = 0) -> tuple[Event, ...]:
    return tuple(event("bounce", frame, (id,), change) for frame, change in motion.hits)


def seen(
    *tracks: Track,
    events: Iterable[Event] = (),
    fps: float = 24.0,
    size: tuple[int, int] = (480, 854),
    occluders: tuple[tuple[float, float, float, float], ...] = (),
) -> Observation:
    """An observation of discs under a still camera; gaps between them are measured from their noisy centres."""
    frames = len(tracks[0].xy_F2)
    gap_px = {}
    for one in tracks:
        for other in tracks:
            if one.id < other.id:
                apart = np.hypot(*(one.xy_F2 - other.xy_F2).T)
                gap_px[one.id, other.id] = apart - (one.diameter_px + other.diameter_px) / 2
    return Observation(
        num_frames=frames,
        fps=fps,
        height=size[0],
        width=size[1],
        camera=Camera(
            to_reference_F33=np.tile(np.eye(3), (frames, 1, 1)),
            inliers_F=np.ones(frames),
            reference=0,
            moving=False,
        ),
        tracks=tracks,
        events=tuple(sorted(events, key=lambda e: e.frame)),
        gap_px=gap_px,
        occluders=occluders,
        shot=(0, frames),
        motion_share=0.01,
    )


def resized(obs: Observation, factor: float) -> Observation:
    """The same clip with `factor` times as many pixels across."""

    def bigger(track: Track) -> Track:
        return replace(
            track,
            xy_F2=track.xy_F2 * factor,
            sigma_px=track.sigma_px * factor,
            area_px_F=track.area_px_F * factor**2,
            box_F4=track.box_F4 * factor,
            outline_px_FA=track.outline_px_FA * factor,
            surface_px_F=track.surface_px_F * factor,
        )

    def moved(event: Event) -> Event:
        speed = event.kind in ("contact", "bounce", "turn", "onset", "stop")
        return replace(
            event,
            xy=(event.xy[0] * factor, event.xy[1] * factor),
            strength=event.strength * (factor if speed else 1.0),
        )

    return replace(
        obs,
        height=round(obs.height * factor),
        width=round(obs.width * factor),
        tracks=tuple(map(bigger, obs.tracks)),
        events=tuple(map(moved, obs.events)),
        gap_px={pair: gap * factor for pair, gap in obs.gap_px.items()},
        occluders=tuple((a * factor, b * factor, c * factor, d * factor) for a, b, c, d in obs.occluders),
    )


def mirrored(obs: Observation) -> Observation:
    """The same clip with left and right exchanged."""

    def flipped(track: Track) -> Track:
        xy_F2, box_F4 = track.xy_F2 * (-1, 1) + (obs.width, 0), track.box_F4.copy()
        box_F4[:, [0, 2]] = obs.width - track.box_F4[:, [2, 0]]
        half = OUTLINE_DIRECTIONS // 2
        order = (half - np.arange(OUTLINE_DIRECTIONS)) % OUTLINE_DIRECTIONS
        return replace(
            track,
            xy_F2=xy_F2,
            box_F4=box_F4,
            outline_px_FA=track.outline_px_FA[:, order],
            angle_F=-track.angle_F,
        )

    return replace(
        obs,
        tracks=tuple(map(flipped, obs.tracks)),
        events=tuple(replace(e, xy=(obs.width - e.xy[0], e.xy[1])) for e in obs.events),
        occluders=tuple((obs.width - c, b, obs.width - a, d) for a, b, c, d in obs.occluders),
    )


def turned(obs: Observation, angle: float) -> Observation:
    """The same clip with the paths turned about the picture's middle; for laws that know no down."""
    cos, sin = np.cos(angle), np.sin(angle)
    middle = np.array([obs.width, obs.height]) / 2
    turn = np.array([[cos, sin], [-sin, cos]])  # of row vectors

    def one(track: Track) -> Track:
        xy_F2 = (track.xy_F2 - middle) @ turn + middle
        r = track.diameter_px / 2
        return replace(track, xy_F2=xy_F2, box_F4=np.concatenate([xy_F2 - r, xy_F2 + r], -1))

    return replace(obs, tracks=tuple(map(one, obs.tracks)))
