"""solidity: two solid things are never in one place, nor is one inside the ground.

Formula: for two things that meet and part again, R the distance of their centres at which they touch, d_b(t) and d_a(t)
the distances that their motions before and after foretell, t* the frame at which both agree: depth = R - d_b(t*), which
is 0 for what turns round at the touch. Where they are not seen to part, t* is when one of them is kicked. For the
ground: how far below the surface that was under it a thing comes, by its outline or by its centre and its usual height,
whichever is less, .6 of the way sideways allowed for slopes. An edge that a thing shows wholly below, or that it is
moving on past as freely as before, lies behind it and is no ground of it: a hill, a horizon, a wall's foot. Both over
the diameter of the smaller thing.
Source: solidity (Spelke et al. 1992; IntPhys2, arXiv:2506.09849, condition solidity).
Strength: diameters of the smaller thing, a tenth and three standard errors taken off. Things that cross and both keep
their velocities pass at different depths. Tops of what a thing passes behind are no ground of it. Abstains where
nothing meets anything, or where noise hides a quarter of a diameter.
"""

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import lost_camera, motion_near
from vgen.judge.rules.fits import Fit
from vgen.judge.rules.lives import in_touch, level_px, noise_px, runs, unbroken

__all__ = ["RULE"]

FLOOR_D = 0.1  # diameters: outlines are no better than that
CLEAR = 0.25  # diameters: what a breach of severity .25 does
LEAST_HALF = 0.25  # quantile of a thing's heights below its centre: what turns has several
STEEPEST = 0.6  # slope of a ground
CROSSING = 0.15  # of its speed, by which what crosses another may change it
KEPT = 0.15  # of the closing speed: a velocity that changes by less is kept
PASSING = 0.25  # of its depth, by which what goes on freely may be off its course
TOUCH = 0.08  # diameters of free space from which two things are surely apart
KICKS = ("onset", "turn", "bounce", "stop")
NEAR = 0.25  # diameters of free space from which two things meet

Sides = tuple[tuple[Fit, Fit], ...]  # of each of two things, its motion into a meeting and out of it


def measure(observation: Observation) -> Measured:
    if blind := lost_camera(observation):
        return blind
    found: list[Measurement] = []
    noisy = False
    things = unbroken(observation)
    for one in things:
        if (ground := _in_ground(observation, one)) is not None:
            found.append(ground)
        for other in things:
            if one.id >= other.id:
                continue
            for last, first in _meetings(observation, one, other):
                met = _met(observation, one, other, last, first)
                noisy |= met is not None and 3 * met.sigma > CLEAR
                found += [met] if met is not None and 3 * met.sigma <= CLEAR else []
    if found:
        return tuple(found)
    if noisy:
        return Abstention(status="undecidable", reason="noise hides a quarter of a diameter")
    return Abstention(status="not_applicable", reason="nothing meets anything")


def _meetings(observation: Observation, one: Track, other: Track) -> list[tuple[int, int]]:
    """Last frame before and first frame after each meeting that show both wholly and apart.

    One past the end of the clip for a meeting out of which they do not come.
    """
    smaller = min(one.diameter_px, other.diameter_px)
    gap_F = observation.gap(one.id, other.id)
    clear_F = one.seen_F & other.seen_F & (gap_F > TOUCH * smaller)
    closing_F = np.nan_to_num(np.abs(np.gradient(gap_F)))
    close_F = np.nan_to_num(gap_F, nan=np.inf) < NEAR * smaller + closing_F  # a touch may fall between two frames
    hidden_F = (one.sight_F > Sight.PARTLY) | (other.sight_F > Sight.PARTLY)
    met = []
    for start, end in runs(~clear_F):
        if start > 0 and (close_F | hidden_F)[start - 1 : end + 1].any():
            met.append((start - 1, end))
    for frame in np.flatnonzero(clear_F[:-1] & clear_F[1:] & (close_F[:-1] | close_F[1:])):
        met.append((int(frame), int(frame) + 1))
    return met


def _met(observation: Observation, one: Track, other: Track, last: int, first: int) -> Measurement | None:
    """How deep they were within each other; None where they did not come nearer and part again, each by its motion."""
    into, out = (
        [fit for track in (one, other) if (fit := motion_near(observation, track, frame, step)) is not None]
        for frame, step in ((last, -1), (first, +1))
    )
    if len(into) < 2:
        return None
    turn = None
    if len(out) == 2:
        sides = tuple(zip(into, out, strict=True))
        if _cross(sides, last, first):
            return None
        turn = _turn(sides, last, first)
    turn = turn or _kick(observation, (one.id, other.id), into, last, first)
    first = min(first, observation.shot[1] - 1)
    if turn is None:
        return None
    smaller = min(one.diameter_px, other.diameter_px)
    sigma = float(np.hypot(turn[1], np.hypot(noise_px(one), noise_px(other)))) / smaller
    depth = (_reach(observation, one, other) - turn[0]) / smaller
    strength = max(0.0, depth - FLOOR_D - 3 * sigma)
    return Measurement(
        strength=strength,
        frames=(last, first),
        objects=(one.id, other.id),
        quantity="depth of one thing within another, diameters of the smaller",
        value=max(0.0, depth),
        expected=0.0,
        sigma=sigma,
        text=f"things {one.id} and {other.id} are {depth:.2f} diameters within each other between frames {last} and "
        f"{first}"
        if strength
        else f"things {one.id} and {other.id} meet at frame {first} and stay apart",
    )


def _cross(sides: Sides, last: int, first: int) -> bool:
    """Whether both are known to go on as they came."""
    time = (last + first) / 2
    return all(_goes_on(into, out, time) for into, out in sides)


def _goes_on(into: Fit, out: Fit, time: float) -> bool:
    change = float(np.linalg.norm(out.at(time, 1) - into.at(time, 1)))
    sigma = float(np.hypot(into.error(time, 1), out.error(time, 1)))
    speed = float(np.linalg.norm(into.at(time, 1)))
    return change < max(3 * sigma, CROSSING * speed) and speed > 3 * sigma


def _turn(sides: Sides, last: int, first: int) -> tuple[float, float] | None:
    """Distance of the centres at which approach turns into parting, in pixels, and its standard error."""
    (in_one, out_one), (in_other, out_other) = sides
    times = np.linspace(last, first, 16 * (first - last) + 1)
    in_N = np.array([np.linalg.norm(in_other.at(time) - in_one.at(time)) for time in times])
    out_N = np.array([np.linalg.norm(out_other.at(time) - out_one.at(time)) for time in times])
    if in_N[0] <= in_N.min() or out_N[-1] <= out_N.min():
        return None
    i = int(np.maximum(in_N, out_N).argmin())
    time = float(times[i])
    closing = float(np.linalg.norm(in_other.at(time, 1) - in_one.at(time, 1)))
    if not any(_kicked(into, out, time, closing) for into, out in sides):
        return None
    errors = [max(into.error(time), out.error(time)) for into, out in sides]
    return float(in_N[i] + out_N[i]) / 2, float(np.linalg.norm(errors))


def _kick(
    observation: Observation, ids: tuple[int, int], into: list[Fit], last: int, first: int
) -> tuple[float, float] | None:
    """As `_turn`, for two whose parting is not seen for long enough: at the moment at which one of them is kicked."""
    in_one, in_other = into

    def apart(time: float) -> float:
        return float(np.linalg.norm(in_other.at(time) - in_one.at(time)))

    closing = apart(last - 1) - apart(last)
    for event in observation.events:
        alone = event.tracks in ((ids[0],), (ids[1],))
        if alone and event.kind in KICKS and last < event.frame < first and event.strength > KEPT * closing > 0:
            error = max(fit.error(event.frame) for fit in into)
            return apart(event.frame), float(np.hypot(np.sqrt(2) * error, closing * event.sigma_frames))
    return None


def _kicked(into: Fit, out: Fit, time: float, closing: float) -> bool:
    """Whether a thing's velocity changed at a meeting."""
    kick = float(np.linalg.norm(out.at(time, 1) - into.at(time, 1)))
    return kick > max(3 * float(np.hypot(into.error(time, 1), out.error(time, 1))), KEPT * closing)


def _reach(observation: Observation, one: Track, other: Track) -> float:
    """Distance of the centres at which they touch: as their gap tells while they near each other, else their radii."""
    gap_F = observation.gap(one.id, other.id)
    apart_F = np.linalg.norm(other.xy_F2 - one.xy_F2, axis=-1)
    clear = np.flatnonzero(one.seen_F & other.seen_F & (gap_F > 0) & np.isfinite(apart_F))
    if not clear.size:
        return (one.diameter_px + other.diameter_px) / 2
    nearest = clear[np.argsort(gap_F[clear], kind="stable")[:5]]
    return float(np.median(apart_F[nearest] - gap_F[nearest]))


def _in_ground(observation: Observation, track: Track) -> Measurement | None:
    """How far it sinks below the surface that was known to lie under it; None where it never comes down to one."""
    low_F = track.box_F4[:, 3]
    known = np.flatnonzero(
        track.seen_F & np.isfinite(track.surface_px_F) & np.isfinite(low_F) & ~_over(observation, track)
    )
    known = known[~_behind(track, known, (low_F + track.surface_px_F)[known])]
    if len(known) < 2:
        return None
    fall = float(np.nanmax(np.abs(np.diff(low_F)), initial=0.0))
    if np.nanmin(track.surface_px_F[known]) > level_px(track) + fall:
        return None
    level_N = low_F[known] + track.surface_px_F[known]
    # Its outline may take in some of a shadow, or of another body that touches it; its centre hardly does.
    whole_F = track.seen_F & np.isfinite(low_F)
    half = float(np.quantile((low_F - track.xy_F2[:, 1])[whole_F], LEAST_HALF))
    bottom_F = np.minimum(low_F, track.xy_F2[:, 1] + half)
    depths = {
        int(frame): _depth(track, known, level_N, int(frame), float(bottom_F[frame]))
        for frame in np.flatnonzero(whole_F)
    }
    depths = {
        frame: depth
        for frame, depth in depths.items()
        if not in_touch(observation, track, frame)
        and not (depth > 0 and _goes_through(observation, track, frame, depth))
    }
    if not depths:
        return None
    at = max(depths, key=lambda frame: depths[frame])
    worst = depths[at]
    if not np.isfinite(worst):
        return None
    sigma = max(noise_px(track), _scatter(level_N)) / track.diameter_px
    depth = worst / track.diameter_px
    strength = max(0.0, depth - FLOOR_D - 3 * np.sqrt(2) * sigma)
    return Measurement(
        strength=strength,
        frames=(max(at - 1, 0), at),
        objects=(track.id,),
        quantity="depth within the ground, diameters",
        value=max(0.0, depth),
        expected=0.0,
        sigma=sigma,
        text=f"thing {track.id} sinks {depth:.2f} diameters into the ground at frame {at}"
        if strength
        else f"thing {track.id} comes down to its ground and stays above it",
    )


def _over(observation: Observation, track: Track) -> npt.NDArray[np.bool_]:
    """Frames [F] in which the surface below it is of something that it passes behind: its top, or an edge on it."""
    level_F = track.box_F4[:, 3] + track.surface_px_F
    near = 0.25 * track.diameter_px
    over_F = np.zeros(len(level_F), bool)
    for left, top, right, bottom in observation.occluders:
        beside_F = (track.xy_F2[:, 0] > left - 4 * near) & (track.xy_F2[:, 0] < right + 4 * near)
        over_F |= beside_F & (level_F > top - near) & (level_F < max(bottom - near, top + near))
    return over_F


def _behind(track: Track, known: npt.NDArray[np.int_], level_N: Floats) -> npt.NDArray[np.bool_]:
    """Which of its surfaces it ever shows wholly below: what stands for all to see before an edge is not in it."""
    whole = np.flatnonzero(track.seen_F & np.isfinite(track.box_F4[:, 1]))
    aside_NM = np.abs(track.xy_F2[known, 0][:, None] - track.xy_F2[whole, 0])
    above_NM = track.box_F4[whole, 1] - level_N[:, None] - STEEPEST * aside_NM
    return np.asarray((above_NM > 0).any(1))


def _goes_through(observation: Observation, track: Track, frame: int, depth: float) -> bool:
    """Whether it moves on as it did before it came this deep, so that nothing that it met there acted on it."""
    speed = float(np.nanmax(np.abs(np.diff(track.xy_F2[max(frame - 1, 0) : frame + 1, 1])), initial=0.0))
    if speed <= 0:
        return False
    since = frame - int(np.ceil(depth / speed)) - 1
    into = motion_near(observation, track, since, -1, degree=2)
    if into is None or not np.isfinite(error := into.error(frame)):
        return False
    off = float(np.linalg.norm(track.xy_F2[frame] - into.at(frame)))
    return off < max(3 * float(np.hypot(error, noise_px(track))), PASSING * depth) and error < PASSING * depth


def _depth(track: Track, known: npt.NDArray[np.int_], level_N: Floats, frame: int, bottom: float) -> float:
    """How far below the surface known before it comes at a frame, in pixels; minus infinity where none was."""
    earlier_N = known < frame
    if not earlier_N.any():
        return -np.inf
    aside_N = np.abs(track.xy_F2[known[earlier_N], 0] - track.xy_F2[frame, 0])
    i = int(aside_N.argmin())
    return float(bottom - level_N[earlier_N][i] - STEEPEST * aside_N[i])


def _scatter(level_N: Floats) -> float:
    """Standard error of one measured level, from how the levels of neighbouring frames differ."""
    return 1.48 * float(np.median(np.abs(np.diff(level_N)))) / float(np.sqrt(2))


RULE = Rule(
    name="solidity",
    group="materials",
    statement="Two solid things are never in one place, nor is one inside the ground.",
    measure=measure,
)
