"""rigid: a rigid body keeps its outline while nothing touches it.

Formula: with S the strengths of the outline's harmonics 2 to 7 as shares of its mean radius (blind to place, size and
turning), the step of S at the moment that splits the frames best: twice its length, which for a stretched disc is
the logarithm of long over short axis.
Source: rigid motion keeps distances; Fourier descriptors of outlines (Zahn and Roskies 1972).
Strength: share, beyond 3 standard errors. A change at an impact is `rigid_deform`; one of size alone `size`.
Abstains where no body is seen whole for eight frames with nothing touching it.
"""

import itertools

import numpy as np

from vgen.judge.observation import Floats, Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.fits import split
from vgen.judge.rules.looks import harmonics
from vgen.judge.rules.segments import Path, paths, usable

__all__ = ["RULE"]

_LONG = 8
_FEWEST = 3
_TOUCH_FRAMES = 3.0
_OUTLINE_SIGMAS = 0.5  # error of one harmonic in pixels, over that of the centre
_FINEST = 0.005  # share of the radius: no outline is measured better


def measure(observation: Observation) -> Measured:
    found = [m for path in paths(observation) for stretch in _untouched(observation, path) if (m := _of(path, stretch))]
    return tuple(found) or Abstention(
        status="not_applicable", reason="no body is seen whole for long with nothing touching it"
    )


def _untouched(observation: Observation, path: Path) -> list[Floats]:
    """Frames of the body between the joints that something explains."""
    good_F = usable(observation, path.track) & np.isfinite(path.track.outline_px_FA).all(1)
    frames_N = np.flatnonzero(good_F).astype(float)
    touched = [joint.frame for joint in path.joints if joint.causes and joint.passage != "bend"]
    touched += [
        event.frame
        for event in observation.events
        if path.track.id in event.tracks and event.kind in ("contact", "bounce", "merge", "split", "separation")
    ]
    bounds = [-np.inf, *sorted(touched), np.inf]
    stretches = [
        frames_N[(frames_N > low + _TOUCH_FRAMES) & (frames_N < high - _TOUCH_FRAMES)]
        for low, high in itertools.pairwise(bounds)
    ]
    return [stretch for stretch in stretches if len(stretch) >= _LONG]


def _of(path: Path, frames_N: Floats) -> Measurement | None:
    form_NS = harmonics(path.track.outline_px_FA[frames_N.astype(int)])
    scatter = float(np.median(np.abs(np.diff(form_NS, axis=0)))) / (0.6745 * np.sqrt(2))
    sigma = max(scatter, _FINEST, _OUTLINE_SIGMAS * path.track.sigma_px / (path.track.diameter_px / 2))
    spans = [(a, b) for a, b in split(frames_N.astype(float), form_NS, sigma, degree=0) if b - a >= _FEWEST]
    if not spans:
        return None
    forms = [np.median(form_NS[a:b], axis=0) for a, b in spans]
    size = 2 * max(float(np.linalg.norm(form - forms[0])) for form in forms)
    error = 2 * sigma * np.sqrt(2 * form_NS.shape[1] / _FEWEST)
    return Measurement(
        strength=max(0.0, size - 3 * float(error)),
        frames=(int(frames_N[0]), int(frames_N[-1])),
        objects=(path.track.id,),
        quantity="change of outline, logarithm of long over short axis",
        value=size,
        expected=0.0,
        sigma=float(error),
        text=f"thing {path.track.id} changes its outline by {size:.0%} with nothing touching it"
        if size > 3 * error
        else f"thing {path.track.id} keeps its outline",
    )


RULE = Rule(
    name="rigid",
    group="mechanics",
    statement="A rigid body keeps its outline while nothing touches it.",
    measure=measure,
)
