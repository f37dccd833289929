"""One scene per rule, kept or broken by a chosen severity, as the rules of cause and mechanics see it.

Severity means what the judge's card says: at .5 a speed or energy change of half, a start four frames early, and so on.
`CASES` gives for each law a maker `(severity, seed) -> Observation`; severity 0 keeps every law.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tests.judge.rules import world
from tests.judge.rules.world import DIAMETER, FLOOR_Y, GRAVITY, body, bounces, event, seen
from vgen.judge.observation import Floats, Observation

__all__ = ["CASES"]

GROUND = FLOOR_Y - DIAMETER / 2


def _after(xy_F2: Floats, frame: int, moved_F2: Floats) -> Floats:
    """The first path up to a frame, from there on the second, which starts at the same place."""
    return np.concatenate([xy_F2[:frame], moved_F2[: len(xy_F2) - frame]])


def _row(severity: float, seed: int, *, early: float = 0.0, share: float = 1.0, order: float = 0.0) -> Observation:
    """One body strikes a second one, and that a third one."""
    frames, speed, t = 60, 6.0, np.arange(60)
    first = 20.0
    second = first + 8
    x = np.cumsum([100.0, first * speed + DIAMETER, 8 * speed + DIAMETER])
    start_c = (first - order if order else second) - early
    a = np.minimum(x[0] + speed * t, x[0] + speed * first + 0.05 * speed * (t - first))
    b = x[1] + speed * np.clip(t - first, 0, 8) + 0.05 * speed * np.maximum(t - second, 0)
    c = x[2] + share * speed * np.maximum(t - start_c, 0)
    y = np.full(frames, GROUND)
    bodies = [body(np.stack([path, y], -1), id=i, seed=seed) for i, path in enumerate((a, b, c))]
    return seen(*bodies)


def effect_before_cause(severity: float, seed: int) -> Observation:
    return _row(severity, seed, early=8 * severity)


def event_order(severity: float, seed: int) -> Observation:
    return _row(severity, seed, order=8 * severity)


def missing_effect(severity: float, seed: int) -> Observation:
    return _row(severity, seed, share=max(0.0, 1 - 2 * severity))


def motion_without_cause(severity: float, seed: int) -> Observation:
    t = np.maximum(np.arange(60.0) - 25, 0)
    way = 0.3 * DIAMETER * severity * np.minimum(t, 20)
    resting = body(np.stack([300 + way, np.full(60, GROUND)], -1), seed=seed)
    return seen(resting, body(world.slide(60, (60, GROUND), 4.0), id=1, seed=seed))


def midair_turn(severity: float, seed: int) -> Observation:
    flight = world.throw(40, (100, 300), (6, -14), floor=2000).xy_F2
    angle = 2 * math.asin(severity / 2)
    vx, vy = 6.0, -14 + GRAVITY * 14
    turned = (vx * math.cos(angle) - vy * math.sin(angle), vx * math.sin(angle) + vy * math.cos(angle))
    after = world.throw(26, tuple(flight[14]), turned, floor=2000).xy_F2
    return seen(body(_after(flight, 14, after), seed=seed, floor=900))


def irreversibility(severity: float, seed: int) -> Observation:
    t, back = np.arange(60.0), 34
    away = 40 * (1 - np.exp(-np.maximum(t - 15, 0) / 5))
    pieces = []
    for index, way in enumerate((-2, -1, 1, 2)):
        far = (
            away
            if index >= round(4 * severity)
            else np.where(t > back, away[np.clip(2 * back - t, 0, 59).astype(int)], away)
        )
        xy_F2 = np.stack([300 + 14 * way + way * far, np.full(60, GROUND)], -1)
        sight_F = np.where(t < 15, 4, 0)
        pieces.append(body(xy_F2, id=index, seed=seed, sight_F=sight_F))
    return seen(*pieces, events=[event("split", 15, (0, 1, 2, 3), xy=(300, GROUND))])


def consequence_persists(severity: float, seed: int) -> Observation:
    t = np.arange(50)
    track = body(world.uniform(50, (60, GROUND), (4, 0)), seed=seed)
    lab_F3 = np.tile((90.0, 0.0, 0.0), (50, 1))
    lab_F3[t >= 15] = (50.0, 40.0, 20.0)
    home = np.array([40.0, -40.0, -20.0]) / 60
    lab_F3[t >= 30] += 40 * severity * home
    lab_F3 += 0.5 * np.random.default_rng(seed).standard_normal((50, 3))
    return seen(replace(track, lab_F3=lab_F3))


def const_accel(severity: float, seed: int) -> Observation:
    flight = world.throw(36, (100, 380), (6, -14), floor=2000).xy_F2
    after = world.throw(20, tuple(flight[16]), (6, -14 + 16 * GRAVITY), g=GRAVITY * (1 + severity), floor=2000).xy_F2
    return seen(body(_after(flight, 16, after), seed=seed, floor=900))


def common_gravity(severity: float, seed: int) -> Observation:
    one = world.throw(36, (100, 300), (4, -10), floor=2000).xy_F2
    other = world.throw(36, (600, 300), (-4, -11), g=GRAVITY * (1 + severity), floor=2000).xy_F2
    return seen(body(one, seed=seed, floor=900), body(other, id=1, seed=seed, floor=900))


def drop_ratio(severity: float, seed: int) -> Observation:
    one = world.throw(50, (100, 100), e=0.4)
    other = world.throw(50, (400, 200), g=GRAVITY * (1 + severity), e=0.4)
    return seen(
        body(one.xy_F2, seed=seed),
        body(other.xy_F2, id=1, seed=seed),
        events=[*bounces(one), *bounces(other, 1)],
    )


def support(severity: float, seed: int) -> Observation:
    edge, speed, waits = 250.0, 6.0, round(16 * severity)
    off = int((edge - 60) / speed) + waits
    on = world.uniform(off + 1, (60, 200), (speed, 0))
    fall = world.throw(40, tuple(on[-1]), (speed, 0), e=0.3)
    xy_F2 = np.concatenate([on, fall.xy_F2[1:]])[:70]
    top = np.where(xy_F2[:, 0] < edge, 200 + DIAMETER / 2, FLOOR_Y)
    free_F = np.maximum(top - xy_F2[:, 1] - DIAMETER / 2, 0)
    hits = [event("bounce", off + frame, (0,), change) for frame, change in fall.hits]
    return seen(body(xy_F2, seed=seed, standing_F=free_F), events=hits)


def restitution(severity: float, seed: int) -> Observation:
    motion = world.throw(70, (100, 250), (2, 0), e=[0.6, 1 + 2 * 0.5 * severity if severity else 0.6, *[0.6] * 20])
    return seen(body(motion.xy_F2, seed=seed), events=bounces(motion))


def momentum(severity: float, seed: int) -> Observation:
    a_F2, b_F2, meet = world.collide(50, ((100, 200), (6, 0)), ((320, 200), (-6, 0)))
    v = b_F2[-1] - b_F2[-2]
    angle = 2 * math.asin(severity / 2)
    v = (v[0] * math.cos(angle) - v[1] * math.sin(angle), v[0] * math.sin(angle) + v[1] * math.cos(angle))
    t = np.arange(50)[:, None]
    place = np.array([320 - 6 * meet, 200])
    b_F2 = np.where(t > meet, place + (t - meet) * np.asarray(v), b_F2)
    return seen(body(a_F2, seed=seed, floor=None), body(b_F2, id=1, seed=seed, floor=None))


def energy(severity: float, seed: int) -> Observation:
    flight = world.throw(30, (100, 200), (8, 0), floor=2000).xy_F2
    faster = math.sqrt(1 + severity)
    after = world.throw(20, tuple(flight[10]), (8 * faster, 10 * GRAVITY * faster), floor=2000).xy_F2
    return seen(body(_after(flight, 10, after), seed=seed, floor=900))


def friction(severity: float, seed: int) -> Observation:
    path = world.slide(60, (60, GROUND), 5.0, braking=0.04)
    t = np.clip(np.arange(60) - 20, 0, None)
    push = severity * 4.2 / 10
    pushed = np.where(t < 10, push * t**2 / 2, push * 50 + push * 10 * (t - 10))
    return seen(body(path + np.stack([pushed, np.zeros(60)], -1), seed=seed))


def pendulum(severity: float, seed: int) -> Observation:
    length, amplitude = 180.0, 0.4
    fine = world.swing(150, length=length, amplitude=amplitude)
    angle_F = np.arctan2(fine[:, 0] - 320, fine[:, 1] - 60)
    low = int(np.flatnonzero(np.diff(np.sign(angle_F)))[1]) + 1
    angle_F = np.concatenate([angle_F[:low], angle_F[low:] * (1 + severity)])[:150]
    xy_F2 = np.stack([320 + length * np.sin(angle_F), 60 + length * np.cos(angle_F)], -1)
    return seen(body(xy_F2, seed=seed))


def _flier(seed: int, angle_F: Floats | None = None) -> Observation:
    return seen(body(world.throw(36, (100, 300), (6, -13), floor=2000).xy_F2, seed=seed, floor=900, angle_F=angle_F))


def rigid(severity: float, seed: int) -> Observation:
    obs = _flier(seed)
    (track,) = obs.tracks
    ways = 2 * np.pi * np.arange(24) / 24
    long = math.sqrt(1 + severity)
    stretched_A = DIAMETER / 2 / np.hypot(np.cos(ways) / long, np.sin(ways) * long)
    outline_FA = track.outline_px_FA.copy()
    outline_FA[18:] = stretched_A
    outline_FA += 0.1 * np.random.default_rng(seed).standard_normal(outline_FA.shape)
    return replace(obs, tracks=(replace(track, outline_px_FA=outline_FA),))


def spin(severity: float, seed: int) -> Observation:
    t = np.arange(36.0)
    angle_F = 0.1 * t + 0.1 * severity * np.maximum(t - 17, 0)
    return _flier(seed, angle_F + 0.01 * np.random.default_rng(seed).standard_normal(36))


CASES: dict[str, Callable[[float, int], Observation]] = {
    make.__name__: make
    for make in (
        effect_before_cause,
        motion_without_cause,
        missing_effect,
        midair_turn,
        event_order,
        irreversibility,
        consequence_persists,
        const_accel,
        common_gravity,
        drop_ratio,
        support,
        restitution,
        momentum,
        energy,
        friction,
        pendulum,
        rigid,
        spin,
    )
}
