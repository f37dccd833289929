"""consequence_persists: what an event did to a body's looks stays done.

Formula: with L0, L1, L2 the body's mean colours (CIE L*a*b*) before a lasting change, after it, and at the end:
(L2 - L1) . (L0 - L1) / |L0 - L1|, the way back in Delta-E (CIE 1976).
Source: persistence of effects (consequences do not undo themselves; RULER-Bench, arXiv:2512.02622, rule coherence).
Strength: Delta-E beyond 3 standard errors. The change itself, where nothing explains it, is `colour`.
Abstains where no body changes its colour for long.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.fits import split
from vgen.judge.rules.lives import bodies

__all__ = ["RULE"]

_CLEAR = 8.0  # Delta-E of a change that counts
_FINEST = 0.7  # Delta-E: no colour is measured better
_FEWEST = 3  # frames of a colour


def measure(observation: Observation) -> Measured:
    found = [m for track in bodies(observation) if (m := _of(observation, track)) is not None]
    return tuple(found) or Abstention(status="not_applicable", reason="no body changes its colour for long")


def _of(observation: Observation, track: Track) -> Measurement | None:
    first, end = observation.shot
    frames_N = np.flatnonzero(track.seen_F & np.isfinite(track.lab_F3).all(1))
    frames_N = frames_N[(frames_N >= first) & (frames_N < end)]
    if len(frames_N) < 2 * _FEWEST:
        return None
    lab_N3 = track.lab_F3[frames_N]
    noise = float(np.median(np.abs(np.diff(lab_N3, axis=0)))) / (0.6745 * np.sqrt(2))
    sigma = max(noise, _FINEST)
    spans = [(a, b) for a, b in split(frames_N.astype(float), lab_N3, sigma, degree=0) if b - a >= _FEWEST]
    colours = [np.median(lab_N3[a:b], axis=0) for a, b in spans]
    changed = next((i for i, c in enumerate(colours) if np.linalg.norm(c - colours[0]) > _CLEAR), None)
    if changed is None:
        return None
    # The full change, where it came in steps.
    full = max(range(changed, len(colours)), key=lambda i: float(np.linalg.norm(colours[i] - colours[0])))
    way, error = _way_back(colours[0], colours[full], colours[-1]), sigma * 1.5 / np.sqrt(_FEWEST)
    return Measurement(
        strength=max(0.0, way - 3 * error),
        frames=(int(frames_N[spans[full][0]]), int(frames_N[-1])),
        objects=(track.id,),
        quantity="way back to the colour before, Delta-E (CIE 1976)",
        value=way,
        expected=0.0,
        sigma=float(error),
        text=f"thing {track.id} goes {way:.0f} Delta-E back to the colour that it had before"
        if way > 3 * error
        else f"thing {track.id} keeps the colour that it took on",
    )


def _way_back(before_3: Floats, changed_3: Floats, last_3: Floats) -> float:
    home_3 = before_3 - changed_3
    return float((last_3 - changed_3) @ home_3 / np.linalg.norm(home_3))


RULE = Rule(
    name="consequence_persists",
    group="causal",
    statement="What an event did to a body's looks stays done.",
    measure=measure,
)
