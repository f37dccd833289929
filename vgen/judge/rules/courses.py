"""How a thing moved over a few frames, and where that leads: short polynomial fits with honest errors.

For the rules of what lies behind something; whole flights are `segments.py`'s.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Event, Observation, Sight, Track
from vgen.judge.rule import Abstention
from vgen.judge.rules.fits import Fit, polynomial
from vgen.judge.rules.lives import Passage, level_px, noise_px

__all__ = ["Crossing", "crossing", "excused", "lost_camera", "motion_near"]

WINDOW = 8  # frames on either side that a velocity comes from
LEAST = 3
BEND_LEAST = 6  # frames that tell an acceleration
BEND_CHI2 = 2.0  # per degree of freedom, from which a straight line does not do
CUT_FRAMES = 2  # next to an occluder, in which a thing that counts as wholly seen may be cut a little
WHOLE = 0.97  # of its usual area: below, its centre is off
FRICTION = 0.3  # share of its speed that a thing may lose or win out of sight


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossing:
    """A passage behind something, against steady motion.

    Args:
        along, across: where it came out less where it should have, in diameters along its way and to its right.
        sigma: of both, in diameters.
        turn: change of its horizontal velocity beyond friction, as a share of that velocity; 2 is straight back.
        turn_sigma: of that.
        hidden_bounce: whether it may have bounced out of sight, so that its height tells nothing.
    """

    along: float
    across: float
    sigma: float
    turn: float
    turn_sigma: float
    hidden_bounce: bool


def lost_camera(observation: Observation) -> Abstention | None:
    """An abstention where the camera's motion is not known."""
    first, past = observation.shot
    if np.median(observation.camera.inliers_F[first:past]) < 0.5:
        return Abstention(status="undecidable", reason="the camera's own motion could not be told")
    return None


def excused(observation: Observation, track: Track, start: float, end: float, kinds: tuple[str, ...]) -> bool:
    """Whether one of its events of these kinds lies within the frames."""
    return any(e.kind in kinds and track.id in e.tracks and start <= e.frame <= end for e in observation.events)


def crossing(observation: Observation, passage: Passage) -> Crossing | None:
    """How well what came out continues what went in; None where too little shows on either side or it stood.

    Under steady acceleration the way between two frames is their distance in time by the mean of both velocities; the
    horizontal velocity may change by `FRICTION` alone.
    """
    if passage.entering is None or passage.leaving is None or passage.last is None or passage.first is None:
        return None
    last, first = passage.last, passage.first
    into = motion_near(observation, passage.entering, last, -1)
    out = motion_near(observation, passage.leaving, first, +1)
    if into is None or out is None:
        return None
    n, diameter = first - last, passage.entering.diameter_px
    v_in_2, v_out_2 = into.at(last, 1), out.at(first, 1)
    speed = float(np.hypot(*v_in_2))
    if n * speed < 0.5 * diameter:
        return None
    v_sigma = float(np.hypot(into.error(last, 1), out.error(first, 1)))
    vx = v_in_2[0]
    out_x = np.clip(v_out_2[0], vx - FRICTION * abs(vx), vx + FRICTION * abs(vx))
    mean_2 = np.array([(vx + out_x) / 2, (v_in_2[1] + v_out_2[1]) / 2])
    off_2 = out.at(first) - into.at(last) - n * mean_2
    way_2 = mean_2 / max(float(np.hypot(*mean_2)), 1e-9)
    level = max(abs(vx), 0.25 * speed)
    return Crossing(
        along=float(off_2 @ way_2) / diameter,
        across=float(way_2[0] * off_2[1] - way_2[1] * off_2[0]) / diameter,
        sigma=float(np.hypot(np.hypot(into.error(last), out.error(first)), n / 2 * v_sigma)) / diameter,
        turn=max(0.0, float(abs(v_out_2[0] - vx)) / level - FRICTION),
        turn_sigma=v_sigma / level,
        hidden_bounce=_may_bounce(passage.entering, last, v_in_2[1], v_out_2[1], v_sigma, n),
    )


def motion_near(
    observation: Observation, track: Track, frame: int, step: int, *, degree: int | None = None
) -> Fit | None:
    """Its motion at `frame` from the frames before it (-1) or after it (+1); None where too few show it.

    A parabola where `degree` is 2 or where one stands out from a straight line through few frames.
    """
    frames = _window(observation, track, frame, step, WINDOW if degree is None else 2 * WINDOW)
    if len(frames) < (LEAST if degree is None else BEND_LEAST):
        return None
    sigma = noise_px(track)
    if degree is not None:
        return polynomial(frames.astype(float), track.xy_F2[frames], sigma, degree)
    straight = polynomial(frames.astype(float), track.xy_F2[frames], sigma, 1)
    if len(frames) < BEND_LEAST or straight.chi2 < BEND_CHI2 * straight.dof:
        return straight  # a bend that does not stand out from the noise only adds noise
    return polynomial(frames.astype(float), track.xy_F2[frames], sigma, 2)


def _window(observation: Observation, track: Track, frame: int, step: int, most: int) -> npt.NDArray[np.int_]:
    """Up to `most` wholly seen frames from `frame` on, back (-1) or ahead (+1), to the first knock or gap.

    The frames next to `frame` are left out while what hides it already cuts off some of its area.
    """
    knocks = [e.frame for e in observation.events if track.id in e.tracks and _is_knock(e, frame)]
    frames: list[int] = []
    while 0 <= frame < len(track.sight_F) and len(frames) < most + CUT_FRAMES and track.sight_F[frame] == Sight.SEEN:
        if frames and any(min(frame, frames[-1]) <= knock <= max(frame, frames[-1]) for knock in knocks):
            break
        frames.append(frame)
        frame += step
    whole = WHOLE * np.nanmedian(track.area_px_F[frames]) if frames else 0.0
    while frames and track.area_px_F[frames[0]] < whole:
        frames.pop(0)
    return np.array(sorted(frames[:most]), dtype=np.int_)


def _is_knock(event: Event, edge: int) -> bool:
    """Whether an event breaks a motion off; next to an occluder's edge, meeting the scenery is going behind it."""
    if len(event.tracks) == 1 and abs(event.frame - edge) <= CUT_FRAMES:
        return False
    return event.kind in ("contact", "bounce", "separation", "onset")


def _may_bounce(track: Track, last: int, vy_in: float, vy_out: float, sigma: float, n: int) -> bool:
    fell_and_slowed = vy_in > 2 * sigma and vy_out < vy_in - 4 * sigma
    free = track.surface_px_F[last]
    in_the_air = np.isfinite(free) and free > level_px(track)
    return bool(fell_and_slowed or (in_the_air and n * max(vy_in, vy_out, 0.0) >= free))
