"""Breaches behind an occluder: the film of one possible scene before, and of another one after all is hidden.

Both scenes are possible in themselves (IntPhys: Riochet et al. 2018, arXiv:1803.07616); no single frame gives the
breach away.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vgen.playground.scene import FLOOR_Y
from vgen.playground.twins.film import Actor
from vgen.playground.twins.motion import rolled
from vgen.playground.twins.paint import pick_paints, repainted
from vgen.playground.twins.staging import FOLLOWS, Staged, Wrong

__all__ = ["SWAPS", "Swap", "swapped"]

Floats = npt.NDArray[np.float64]
Swap = Callable[[Staged, Wrong], Staged]  # the other possible scene, of the same film length; its `culprits` differ


def swapped(before: Staged, after: Staged) -> Staged:
    """The first scene until those that differ (`after.culprits`) come out from behind the occluder, then the second."""
    differing = [staged.actors[i] for staged in (before, after) for i in after.culprits if i < len(staged.actors)]
    hidden_F = np.all([_hidden(body, before) for body in differing], axis=0)
    assert hidden_F.any(), "those that differ are never hidden together"
    after_F = np.arange(before.frames) > int(np.flatnonzero(hidden_F)[-1])
    actors, new, culprits = [], [], []
    for index in range(max(len(before.actors), len(after.actors))):
        one = before.actors[index] if index < len(before.actors) else None
        other = after.actors[index] if index < len(after.actors) else None
        if one is not None and other is not None and one.form == other.form:
            actors.append(_joined(one, other, after_F))
            culprits += [index] * (index in after.culprits)
            continue
        if one is not None:
            actors.append(replace(one, shown_F=np.where(after_F, 0.0, one.shown_F)))
            culprits += [index] * (index in after.culprits)
        if other is not None:
            new.append(replace(other, shown_F=np.where(after_F, other.shown_F, 0.0)))
    culprits += range(len(actors), len(actors) + len(new))
    return replace(before, actors=(*actors, *new), culprits=tuple(culprits), lasts=None)


def _joined(one: Actor, other: Actor, after_F: npt.NDArray[np.bool_]) -> Actor:
    def join(was: Floats, becomes: Floats) -> Floats:
        return np.where(after_F.reshape(-1, *[1] * (was.ndim - 1)), becomes, was)

    return replace(
        one,
        xy_F2=join(one.xy_F2, other.xy_F2),
        angle_F=join(one.angle_F, other.angle_F),
        radius_F=join(one.radius_F, other.radius_F),
        rgb_F3=join(one.rgb_F3, other.rgb_F3),
        shown_F=join(one.shown_F, other.shown_F),
        stretch_F2=join(one.stretch_F2, other.stretch_F2),
    )


def _hidden(body: Actor, staged: Staged) -> npt.NDArray[np.bool_]:
    """Frames in which an upright box around the body lies wholly behind an occluder."""
    hidden_F = np.zeros(staged.frames, dtype=np.bool_)
    for fixture in staged.fixtures:
        if fixture.kind == "occluder":
            low, high = fixture.corners_P2.min(axis=0), fixture.corners_P2.max(axis=0)
            reach_F1 = body.radius_F[:, None]
            hidden_F |= np.all((body.xy_F2 - reach_F1 >= low) & (body.xy_F2 + reach_F1 <= high), axis=1)
    return hidden_F


def _identity(staged: Staged, wrong: Wrong) -> Staged:
    """A ball for a box of the same area or the other way round, and another paint."""
    body = staged.actors[staged.culprits[0]]
    ball = body.form == "ball"
    radius_F = body.radius_F * (np.sqrt(np.pi) / 2 if ball else 2 / np.sqrt(np.pi))
    rgb_F3 = np.tile(repainted(body.rgb_F3[0], wrong.of("identity"), wrong.dice), (staged.frames, 1))
    xy_F2 = body.xy_F2.copy()
    if _stands(body):
        xy_F2[:, 1] = FLOOR_Y + radius_F
    angle_F = np.zeros(staged.frames) if ball or not _stands(body) else rolled(xy_F2, radius_F[0])
    other = replace(
        body, form="box" if ball else "ball", radius_F=radius_F, rgb_F3=rgb_F3, xy_F2=xy_F2, angle_F=angle_F
    )
    return _with(staged, other)


def _reappear(staged: Staged, wrong: Wrong) -> Staged:
    """The same body some frames ahead or behind, so that it is that far along its way at the occluder."""
    body = staged.actors[staged.culprits[0]]
    middle = int(np.median(np.flatnonzero(_hidden(body, staged))))
    speed = float(np.hypot(*(body.xy_F2[middle + 1] - body.xy_F2[middle])))
    ahead = wrong.of("reappear") * 2 * body.radius_F[0] / speed * wrong.dice.pick((-1, 1))
    clock_F = np.arange(staged.frames, dtype=np.float64)
    # One leg of even acceleration: a parabola through all its frames says where it was before and will be after.
    xy_F2 = np.stack([np.polyval(np.polyfit(clock_F, track_F, 2), clock_F + ahead) for track_F in body.xy_F2.T], axis=1)
    angle_F = rolled(xy_F2, body.radius_F[0]) if np.ptp(body.angle_F) else body.angle_F
    return _with(staged, replace(body, xy_F2=xy_F2, angle_F=angle_F))


def _path_behind_occluder(staged: Staged, wrong: Wrong) -> Staged:
    """The same body on a path beside its own: across the way it goes, up or aside."""
    body = staged.actors[staged.culprits[0]]
    way = np.abs(body.xy_F2[-1] - body.xy_F2[0])
    across = int(np.argmin(way))
    jump = wrong.of("path_behind_occluder") * 2 * body.radius_F[0]
    low, high = ((0.0, 1.0), (FLOOR_Y, 1.0))[across]
    options = []
    for side in wrong.dice.pick(((1, -1), (-1, 1))):
        xy_F2 = body.xy_F2.copy()
        xy_F2[:, across] += side * jump
        room = min(xy_F2[:, across].min() - low, high - xy_F2[:, across].max()) - body.radius_F[0]
        options.append((room < 0, xy_F2))
    return _with(staged, replace(body, xy_F2=min(options, key=lambda option: option[0])[1]))


def _count(staged: Staged, wrong: Wrong) -> Staged:
    """One body more, close behind the last one."""
    body = staged.actors[staged.culprits[0]]
    radius_F = body.radius_F * wrong.of("count")
    taken = {tuple(other.rgb_F3[0]) for other in staged.actors}
    paint = next(paint for paint in pick_paints(wrong.dice, 9) if paint not in taken)
    xy_F2 = body.xy_F2 - np.array((FOLLOWS * body.radius_F[0] * np.sign(body.xy_F2[1, 0] - body.xy_F2[0, 0]), 0.0))
    xy_F2[:, 1] = FLOOR_Y + radius_F
    extra = replace(body, radius_F=radius_F, rgb_F3=np.tile(np.array(paint), (staged.frames, 1)), xy_F2=xy_F2)
    return replace(staged, actors=(*staged.actors, extra), culprits=(len(staged.actors),))


def _stands(body: Actor) -> bool:
    return bool(np.all(np.abs(body.xy_F2[:, 1] - FLOOR_Y - body.radius_F) < 1e-6))


def _with(staged: Staged, body: Actor) -> Staged:
    index = staged.culprits[0]
    return replace(staged, actors=tuple(body if i == index else other for i, other in enumerate(staged.actors)))


SWAPS: dict[str, Swap] = {
    "count": _count,
    "identity": _identity,
    "path_behind_occluder": _path_behind_occluder,
    "reappear": _reappear,
}
