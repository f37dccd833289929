"""rigid_deform: a blow leaves a solid thing in its form.

Formula: distance between the outlines' harmonics 2..7, as shares of the mean radius, of up to eight wholly seen frames
before a contact or bounce and as many after it; less .02 and three standard errors. Harmonics know neither place nor
size nor angle; where the long axis becomes q times the short one the second changes by about (q - 1) / (q + 1).
Source: shape constancy (IntPhys, arXiv:1803.07616, block O2); Fourier descriptors (Zahn and Roskies 1972).
Strength: share of the mean radius. A form that changes with nothing near is `rigid`; growing is `size`.
Abstains where nothing is struck, or where three frames before and after do not show it wholly.
"""

import numpy as np

from vgen.judge.observation import Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.lives import unbroken
from vgen.judge.rules.looks import form_gap, look
from vgen.judge.rules.segments import paths

__all__ = ["RULE"]

FRAMES = 8  # on either side of a blow
LEAST = 3
FLOOR = 0.02
CLEAR = 0.1  # the change of a long axis that becomes 1.25 times the short one


def measure(observation: Observation) -> Measured:
    blows = [(track, frame) for track in unbroken(observation) for frame in _blows(observation, track)]
    if not blows:
        return Abstention(status="not_applicable", reason="nothing is struck")
    measured = [m for track, frame in blows if (m := _of(track, frame)) is not None]
    found = tuple(m for m in measured if 3 * m.sigma <= CLEAR)
    return found or Abstention(
        status="undecidable", reason="outlines before and after a blow cannot be told well enough"
    )


def _blows(observation: Observation, track: Track) -> list[float]:
    """Frames at which it was struck or struck something: told events, and kicks that a surface or a body explains."""
    told = [e.frame for e in observation.events if e.kind in ("contact", "bounce") and track.id in e.tracks]
    felt = [
        joint.frame
        for path in paths(observation)
        if path.track.id == track.id
        for joint in path.joints
        if joint.passage in ("kick", "unclear") and joint.causes & {"contact", "surface", "body"}
    ]
    return told + [frame for frame in felt if all(abs(frame - other) > 2 for other in told)]


def _of(track: Track, frame: float) -> Measurement | None:
    before = look(track, np.arange(max(0, int(np.ceil(frame)) - 1 - FRAMES), max(0, int(np.ceil(frame)) - 1)))
    start = int(np.floor(frame)) + 2
    after = look(track, np.arange(min(start, len(track.sight_F)), min(start + FRAMES, len(track.sight_F))))
    if before is None or after is None or min(before.frames, after.frames) < LEAST:
        return None
    value, sigma = form_gap(before, after)
    strength = max(0.0, value - FLOOR - 3 * sigma)
    return Measurement(
        strength=strength,
        frames=(max(0, int(frame) - 1), start),
        objects=(track.id,),
        quantity="lasting change of form by a blow, shares of the radius",
        value=value,
        expected=0.0,
        sigma=sigma,
        text=f"thing {track.id} has another form after the blow at frame {frame:.0f}: its outline is off by "
        f"{100 * value:.0f} % of its radius"
        if strength
        else f"thing {track.id} keeps its form through the blow at frame {frame:.0f}",
    )


RULE = Rule(
    name="rigid_deform",
    group="materials",
    statement="A blow leaves a solid thing in its form.",
    measure=measure,
)
