"""A take at other moments: slow motion and other frame rates, worked out on the film so that nothing blurs or doubles.

Between frames every quantity follows a parabola through three of them, which is exact for free flight. Where it bends
sharply (a bounce), the parabolas before and after are continued until they meet; where it jumps, it jumps in the last
moment before the later frame. So a slowed film bounces on the floor and not above it, and a breach stays a breach.
"""

import math
from dataclasses import replace

import numpy as np

from vgen.errors import InputError
from vgen.playground.twins.film import Actor, Fixture, Floats, Take, Truth

__all__ = ["at_fps", "slowed"]

# deviation of the second difference, per frame^2, that counts as a sharp bend
_BEND_LENGTH, _BEND_SHARE, _BEND_RADIANS = 5e-4, 0.01, 0.02
_WINDOW = 7  # frames whose median second difference is the usual one
_SLACK = 0.05  # frames by which parabolas may miss each other's interval and still meet


def slowed(take: Take, factor: float) -> Take:
    """The take in slow motion: the same frame rate, `factor` of the speed.

    Args:
        take: what is slowed; its truth is moved along, and a breach may begin to show between two old frames.
        factor: above 0, at most 1.

    Raises:
        InputError: for another factor.
    """
    if not 0 < factor <= 1:
        raise InputError(f"slow motion by {factor:g} is none; possible: above 0, at most 1")
    return _resampled(take, step=factor, fps=take.film.fps)


def at_fps(take: Take, fps: float) -> Take:
    """The take at another frame rate, its speed and length in seconds kept.

    Raises:
        InputError: where fewer than two frames would be left.
    """
    film = take.film
    if not fps > 0 or (film.frames - 1) * fps < film.fps:
        raise InputError(f"{film.frames} frames at {film.fps:g} fps cannot be shown at {fps:g}: that needs two frames")
    return _resampled(take, step=film.fps / fps, fps=fps)


def _resampled(take: Take, *, step: float, fps: float) -> Take:
    """New frame j shows the old moment `j * step`."""
    film = take.film
    times = np.asarray(np.arange(math.floor((film.frames - 1) / step + 1e-9) + 1) * step, np.float64)
    moved = replace(
        film,
        fps=fps,
        actors=tuple(_actor_at(actor, times) for actor in film.actors),
        fixtures=tuple(_fixture_at(fixture, times) for fixture in film.fixtures),
    )
    return Take(film=moved, truth=_truth_at(take.truth, step, moved.frames))


def _truth_at(truth: Truth, step: float, frames: int) -> Truth:
    span = None
    if truth.frames is not None:  # what differs from a frame on differs right after the frame before it
        first = max(0, math.floor((truth.frames[0] - 1) / step + 1e-9) + 1)
        span = (min(first, frames - 1), min(math.ceil(truth.frames[1] / step), frames - 1))
    happenings = tuple(replace(happening, frame=happening.frame / step) for happening in truth.happenings)
    return replace(truth, frames=span, happenings=happenings)


def _actor_at(actor: Actor, times: Floats) -> Actor:
    shadow = actor.shadow_xy_F2
    return replace(
        actor,
        xy_F2=_between(actor.xy_F2, times, _BEND_LENGTH),
        angle_F=_between(actor.angle_F, times, _BEND_RADIANS),
        radius_F=_between(actor.radius_F, times, _BEND_LENGTH),
        rgb_F3=_between(actor.rgb_F3, times, _BEND_SHARE).clip(0, 1),
        shown_F=_between(actor.shown_F, times, _BEND_SHARE).clip(0, 1),
        stretch_F2=_between(actor.stretch_F2, times, _BEND_SHARE),
        shadow_xy_F2=None if shadow is None else _between(shadow, times, _BEND_LENGTH),
    )


def _fixture_at(fixture: Fixture, times: Floats) -> Fixture:
    if fixture.corners_P2.ndim == 2:
        return fixture
    return replace(fixture, corners_P2=_between(fixture.corners_P2, times, _BEND_LENGTH))


def _between(values: Floats, times: Floats, sharp: float) -> Floats:
    """Values [F, ...] at moments between their frames."""
    columns = values.reshape(len(values), -1).T.astype(np.float64)
    moved = [
        _column(column_F, times, sharp) if np.ptp(column_F) else np.full(len(times), column_F[0])
        for column_F in columns
    ]
    return np.stack(moved, axis=-1).reshape(len(times), *values.shape[1:])


def _column(values_F: Floats, times: Floats, sharp: float) -> Floats:
    frames = len(values_F)
    bend_F = np.zeros(frames)
    bend_F[1:-1] = np.diff(values_F, 2)
    smooth_F = np.zeros(frames, bool)  # whether the parabola around a frame runs through no sharp bend
    smooth_F[1:-1] = np.abs(bend_F - _usual(bend_F))[1:-1] <= sharp

    def parabola(centre: int, time: float) -> float:
        slope = (values_F[centre + 1] - values_F[centre - 1]) / 2
        return float(values_F[centre] + slope * (time - centre) + bend_F[centre] * (time - centre) ** 2 / 2)

    def at(time: float) -> float:
        frame = min(int(time + 1e-9), frames - 1)
        if time - frame < 1e-9:
            return float(values_F[frame])
        if smooth_F[frame]:
            return parabola(frame, time)
        if smooth_F[frame + 1]:
            return parabola(frame + 1, time)
        before, after = frame - 1, frame + 2
        if before < 0 or after >= frames or not (smooth_F[before] and smooth_F[after]):
            return _straight_or_step(values_F, frame, time, sharp)
        meeting = _meeting([parabola(before, frame + s) - parabola(after, frame + s) for s in (0.0, 0.5, 1.0)])
        return parabola(before if time < frame + meeting else after, time)

    return np.array([at(time) for time in times])


def _usual(bend_F: Floats) -> Floats:
    """Median second difference around each frame; the ends have none of their own."""
    inner = np.pad(bend_F[1:-1], _WINDOW // 2, mode="edge") if len(bend_F) > 2 else np.zeros(_WINDOW - 1)
    usual_F = np.zeros(len(bend_F))
    if len(bend_F) > 2:
        usual_F[1:-1] = np.median(np.lib.stride_tricks.sliding_window_view(inner, _WINDOW), axis=1)
    return usual_F


def _straight_or_step(values_F: Floats, frame: int, time: float, sharp: float) -> float:
    """Between two frames with nothing smooth around: a step where both neighbours stand still, else a line."""
    near_F = values_F[max(0, frame - 1) : frame + 3]
    still = (
        [abs(near_F[1] - near_F[0]) <= sharp, abs(near_F[-1] - near_F[-2]) <= sharp] if len(near_F) == 4 else [False]
    )
    if all(still):
        return float(values_F[frame])
    return float(np.interp(time, (frame, frame + 1), values_F[frame : frame + 2]))


def _meeting(gap_3: list[float]) -> float:
    """Where in 0..1 the parabola with these values at 0, 1/2 and 1 is zero; 1 where it is not."""
    low, middle, high = gap_3
    curve = 2 * (low - 2 * middle + high)
    roots = np.roots([curve, high - low - curve, low]) if abs(curve) > 1e-12 else np.roots([high - low, low])
    inside = [float(root.real) for root in roots if abs(root.imag) < 1e-9 and -_SLACK <= root.real <= 1 + _SLACK]
    return min(max(inside[0], 0.0), 1.0) if inside else 1.0
