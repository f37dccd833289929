"""spin: in free flight a body turns at one rate.

Formula: angle(t) = angle0 + w t on the stretches of a flight that one rate explains; |w_after - w_before| over
|w_before|.
Source: conservation of angular momentum (Euler 1752), for bodies that turn about the line of sight.
Strength: share of the rate, beyond 3 standard errors.
Abstains where nothing that shows its orientation and keeps its form turns in free flight, or where half of the rate is
less than noise.
"""

import itertools

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.fits import Fit, polynomial, split
from vgen.judge.rules.looks import form_gap, look
from vgen.judge.rules.segments import Path, paths

__all__ = ["RULE"]

_FEWEST = 4  # frames of a stretch
_LONG = 8  # frames of a flight
_SLOWEST = 0.02  # radians per frame: slower things do not turn
_JUMP, _JUMPS = 0.3, 0.1  # radians off the usual step, and the share of steps, above which it was not followed
_BEND = 0.1  # of the mean radius: a form that changes by more
_FINEST = 0.01  # radians: no angle is measured better


def measure(observation: Observation) -> Measured:
    flights = [
        (path, flight)
        for path in paths(observation)
        if not path.swings
        for run in path.runs("air", ("bend", "kick", "jump"))
        if (flight := _angles(path, run[0].first, run[-1].last)) is not None
    ]
    if not flights:
        return Abstention(status="not_applicable", reason="nothing is seen to turn in free flight")
    found = [m for path, (frames_N, angle_N) in flights for m in _of(path, frames_N, angle_N)]
    return tuple(found) or Abstention(status="undecidable", reason="its turning cannot be followed well enough")


def _angles(path: Path, first: int, last: int) -> tuple[Floats, Floats] | None:
    """(frames, angles) of a flight; None where the body does not show its turning for long enough."""
    track = path.track
    frames_N = np.flatnonzero(track.seen_F & np.isfinite(track.angle_F))
    frames_N = frames_N[(frames_N >= first) & (frames_N <= last)]
    if len(frames_N) < _LONG:
        return None
    angle_N = track.angle_F[frames_N]
    turned = abs(float(np.median(np.diff(angle_N) / np.diff(frames_N))))
    return (frames_N.astype(float), angle_N) if turned >= _SLOWEST else None


def _bends(track: Track, frames_N: npt.NDArray[np.int_]) -> bool:
    """Whether its outline changes on the way: then what marks its turning is not what it was (`rigid`)."""
    early, late = (look(track, part) for part in np.array_split(frames_N, 2))
    if early is None or late is None:
        return False
    gap, sigma = form_gap(early, late)
    return gap - 3 * sigma > _BEND


def _is_followed(frames_N: Floats, angle_N: Floats) -> bool:
    """Whether its turning goes on from frame to frame: steps that stand out from those around them are mistakes."""
    from scipy.ndimage import median_filter

    step_N = np.diff(angle_N) / np.diff(frames_N)
    return float((np.abs(step_N - median_filter(step_N, 5, mode="nearest")) > _JUMP).mean()) <= _JUMPS


def _of(path: Path, frames_N: Floats, angle_N: Floats) -> list[Measurement]:
    if not _is_followed(frames_N, angle_N) or _bends(path.track, frames_N.astype(int)):
        return []
    sigma = max(float(np.median(np.abs(np.diff(angle_N, 2)))) / (0.6745 * np.sqrt(6)), _FINEST)
    bounds = split(frames_N, angle_N[:, None], sigma, degree=1)
    fits = [
        (polynomial(frames_N[a:b], angle_N[a:b, None], sigma, 1), int(frames_N[a]), int(frames_N[b - 1]))
        for a, b in bounds
        if b - a >= _FEWEST
    ]
    if len(fits) == 1:
        _, first, last = fits[0]
        middle = (first + last) / 2
        if min((frames_N <= middle).sum(), (frames_N >= middle).sum()) < _FEWEST:
            return []
        halves = [polynomial(frames_N[s], angle_N[s, None], sigma, 1) for s in (frames_N <= middle, frames_N >= middle)]
        fits = [(halves[0], first, int(middle)), (halves[1], int(middle), last)]
    found = []
    for (before, first, _), (after, _, last) in itertools.pairwise(fits):
        measurement = _step(path, before, after, (first, last))
        if measurement is not None:
            found.append(measurement)
    return found


def _step(path: Path, before: Fit, after: Fit, frames: tuple[int, int]) -> Measurement | None:
    one, other = float(before.coef_PA[1, 0]), float(after.coef_PA[1, 0])
    scale = max(abs(one), _SLOWEST)
    sigma = float(np.hypot(before.error(0, 1), after.error(0, 1))) / scale
    if 3 * sigma > 0.5:
        return None
    change = abs(other - one) / scale
    return Measurement(
        strength=max(0.0, change - 3 * sigma),
        frames=frames,
        objects=(path.track.id,),
        quantity="change of the rate of turning in flight, share",
        value=change,
        expected=0.0,
        sigma=sigma,
        text=f"thing {path.track.id} turns at {one:.3f} and then at {other:.3f} radians per frame in one flight",
    )


RULE = Rule(
    name="spin",
    group="mechanics",
    statement="In free flight a body turns at one rate.",
    measure=measure,
)
