"""teleport: a thing gets from one place to another through the places between.

Formula: the way d of one step lies within the triangle of standing still and going on with the velocity of the step
before and of the step after, whatever knock fell into it; distance of d from that triangle, of the step itself and of
the two pairs of steps that hold it, the least of the three (so that a centre that was off in one frame is no jump).
A lost thing that shows again at once elsewhere jumped by all of its way beyond what its speed took it.
Where `Observation.disorder` is above .8, all frames are in no order; what it has above that, over all that it can have.
Source: spatiotemporal continuity (Spelke et al. 1995; IntPhys, arXiv:1803.07616, block O3).
Strength: diameters, four standard errors taken off; of disorder its share. What happens out of sight is
`path_behind_occluder`; a picture that stands still for some frames is `speed_jerk`.
Abstains where nothing is wholly seen in four frames running, or where noise hides half a diameter.
"""

from collections.abc import Iterator

import numpy as np

from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import lost_camera
from vgen.judge.rules.lives import noise_px, runs, successions, unbroken
from vgen.judge.rules.segments import usable

__all__ = ["RULE"]

CLEAR = 0.5  # diameters
LEAST = 4  # frames of a run
ONE_STEP, TWO_STEPS = np.sqrt(5), np.sqrt(10)  # standard errors of a way less that of its neighbours, of one centre's
ORDERLY = 0.8  # as alike as this, frames may still be in order: something small goes fast
BEND_D = 0.5  # diameters; where the usual change from step to step is larger, the frames are in no order of their own
TOUCHING = 3  # frames for which a thing may touch others without a clear centre of its own


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    found, noisy = list(_shuffled(observation)), False
    for track in unbroken(observation):
        if 4 * ONE_STEP * noise_px(track) > CLEAR * track.diameter_px:
            noisy = True
        elif (jump := _largest(observation, track)) is not None:
            frame, excess, sigma = jump
            found.append(_said((track.id,), (frame, frame + 1), excess, sigma, track.diameter_px))
    for old, new in successions(observation):
        found.append(_between(old, new))
    if found:
        return tuple(found)
    if noisy:
        return Abstention(status="undecidable", reason="noise hides half a diameter")
    return Abstention(status="not_applicable", reason="no thing is wholly seen in four frames running")


def _shuffled(observation: Observation) -> Iterator[Measurement]:
    """That frames follow each other in no order: everything in them is everywhere at once."""
    excess = observation.disorder - ORDERLY
    if excess > 0:
        first, end = observation.shot
        yield Measurement(
            strength=excess / (1 - ORDERLY),
            frames=(first, end - 1),
            objects=(),
            quantity="difference of neighbouring frames over that of frames some way apart",
            value=observation.disorder,
            expected=ORDERLY,
            sigma=0.0,
            text=f"frames follow each other in no order: neighbours differ {observation.disorder:.2f} times as much as "
            "frames far apart",
        )


def _largest(observation: Observation, track: Track) -> tuple[int, float, float] | None:
    """Frame before the largest jump, its size and standard error in pixels; None without a run of frames."""
    usable_F = usable(observation, track)
    sigma = noise_px(track)
    worst: tuple[int, float, float] | None = None
    for start, end in runs(usable_F):
        if end - start < LEAST:
            continue
        bend = float(np.median(np.linalg.norm(np.diff(track.xy_F2[start:end], 2, axis=0), axis=-1)))
        excess_N = _excess(track.xy_F2[start:end], sigma, min(bend, BEND_D * track.diameter_px))
        k = int(excess_N.argmax())
        if worst is None or excess_N[k] > worst[1]:
            worst = (start + k, float(excess_N[k]), sigma * ONE_STEP)
    for start, end in runs(~usable_F):
        jump = _over_gap(track, start, end, sigma)
        if jump is not None and (worst is None or jump[1] > worst[1]):
            worst = jump
    return worst


def _excess(xy_N2: Floats, sigma: float, bend: float) -> Floats:
    """How far each step goes beyond what its neighbours allow, in pixels; [N - 1].

    What noise explains is taken off, and `bend`, the usual change from step to step, which falls between two steps in a
    bounce.
    """
    one = _beyond(xy_N2, 1) - 4 * ONE_STEP * sigma - bend
    two = np.maximum(_beyond(xy_N2, 2) - 4 * TWO_STEPS * sigma - 2 * bend, 0)
    both = np.full(len(one) + 1, np.inf)
    both[1:-1] = two
    return np.maximum(np.minimum(one, np.minimum(both[:-1], both[1:])), 0)


def _beyond(xy_N2: Floats, span: int) -> Floats:
    """Distance of every way over `span` steps from the triangle (nothing, as before, as after); [N - span]."""
    step_M2 = np.diff(xy_N2, axis=0)
    way_M2 = xy_N2[span:] - xy_N2[:-span]
    beyond_M = np.zeros(len(way_M2))  # at the ends of a run a bounce cannot be told from a jump
    for i in range(1, len(way_M2) - 1):
        beyond_M[i] = _from_triangle(way_M2[i], span * step_M2[i - 1], span * step_M2[i + span])
    return beyond_M


def _from_triangle(point_2: Floats, one_2: Floats, other_2: Floats) -> float:
    """Distance of a point from the triangle of the origin and two points; 0 within."""
    det = one_2[0] * other_2[1] - one_2[1] * other_2[0]
    if abs(det) > 1e-12:
        s = (point_2[0] * other_2[1] - point_2[1] * other_2[0]) / det
        t = (one_2[0] * point_2[1] - one_2[1] * point_2[0]) / det
        if s >= 0 and t >= 0 and s + t <= 1:
            return 0.0
    origin_2 = np.zeros(2)
    sides = ((origin_2, one_2), (origin_2, other_2), (one_2, other_2))
    return min(_from_segment(point_2, start_2, end_2) for start_2, end_2 in sides)


def _from_segment(point_2: Floats, start_2: Floats, end_2: Floats) -> float:
    along_2 = end_2 - start_2
    share = np.clip((point_2 - start_2) @ along_2 / max(float(along_2 @ along_2), 1e-12), 0, 1)
    return float(np.linalg.norm(point_2 - start_2 - share * along_2))


def _over_gap(track: Track, start: int, end: int, sigma: float) -> tuple[int, float, float] | None:
    """The jump over a short gap in which it touches another thing or the tracker missed it; None where it is none."""
    if start < 2 or end > len(track.sight_F) - 2 or end - start > TOUCHING:
        return None
    hidden_F = (track.sight_F[start:end] == Sight.OCCLUDED) | (track.sight_F[start:end] == Sight.OUTSIDE)
    xy_4 = track.xy_F2[[start - 2, start - 1, end, end + 1]]
    if hidden_F.any() or np.isnan(xy_4).any():
        return None
    n = end - start + 1
    way, before, after = xy_4[2] - xy_4[1], n * (xy_4[1] - xy_4[0]), n * (xy_4[3] - xy_4[2])
    error = sigma * np.sqrt(2 + n**2)
    return start - 1, max(0.0, _from_triangle(way, before, after) - 4 * error), error


def _between(old: Track, new: Track) -> Measurement:
    last, first = int(np.flatnonzero(old.seen_F | (old.sight_F == Sight.PARTLY))[-1]), _first(new)
    way = float(np.linalg.norm(new.xy_F2[first] - old.xy_F2[last]))
    steps_F = np.linalg.norm(np.diff(old.xy_F2[max(0, last - 4) : last + 1], axis=0), axis=-1)
    speed = float(np.nanmax(steps_F)) if np.isfinite(steps_F).any() else 0.0
    excess = max(0.0, way - max(first - last, 1) * speed - 4 * np.sqrt(2) * noise_px(old))
    sigma = float(np.sqrt(2) * noise_px(old))
    return _said((old.id, new.id), (min(last, first), max(last, first)), excess, sigma, old.diameter_px)


def _first(track: Track) -> int:
    return int(np.flatnonzero(track.sight_F <= Sight.PARTLY)[0])


def _said(
    objects: tuple[int, ...], frames: tuple[int, int], excess: float, sigma: float, diameter: float
) -> Measurement:
    who = f"thing {objects[0]}"
    return Measurement(
        strength=excess / diameter,
        frames=frames,
        objects=objects,
        quantity="step beyond what the steps around it allow, diameters",
        value=excess / diameter,
        expected=0.0,
        sigma=sigma / diameter,
        text=f"{who} jumps by {excess / diameter:.2f} diameters between frames {frames[0]} and {frames[1]}"
        if excess
        else f"{who} moves without a jump",
    )


RULE = Rule(
    name="teleport",
    group="continuity",
    statement="A thing gets from one place to another through the places between.",
    measure=measure,
    motion=False,
)
