"""count: as many things come out from behind something as went in.

Formula: a thing that goes in with velocity v and acceleration a should show again after the h frames in which they
bring half of it past the far side, an eighth of the time added; it is overdue by o = m / h, with m the frames
of the shot after that in which it does not show; backwards in time the same for a thing that comes out and never went
in. strength = w o / (o + 1/4), with w its diameter over that of the others that went through, at most 1.
Source: numerical identity of hidden objects (Wynn 1992; IntPhys, arXiv:1803.07616, block O1).
Strength: 0..1; .5 is overdue by a quarter of the time that it takes to pass. A thing that came out changed is
`identity`.
Abstains where nothing passes behind something still, or where it had no time to come out again.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.courses import motion_near
from vgen.judge.rules.lives import Box, Passage, passages

__all__ = ["RULE"]

FRICTION_TIME = 1.125  # how much longer than foretold it may stay hidden
COVERED = 0.8  # of its diameter across its way, that something must cover to hide it
OVERDUE = 0.25  # of the time hidden, that makes a strength of .5


def measure(observation: Observation) -> Measured:
    through = passages(observation)
    found = [m for passage in through if (m := _of(observation, passage, _usual(through))) is not None]
    if found:
        return tuple(found)
    return Abstention(status="not_applicable", reason="nothing passes behind something in the time that shows")


def _usual(through: list[Passage]) -> tuple[float, float] | None:
    """Median diameter (pixels) and time out of sight (frames) of what went in and came out; None where none did."""
    whole = [
        (p.entering.diameter_px, p.first - p.last)
        for p in through
        if p.entering is not None and p.leaving is not None and p.last is not None and p.first is not None
    ]
    if not whole:
        return None
    diameter, frames = np.median(np.array(whole, np.float64), 0)
    return float(diameter), float(frames)


def _of(observation: Observation, passage: Passage, usual: tuple[float, float] | None) -> Measurement | None:
    first, past = observation.shot
    if passage.entering is not None and passage.leaving is not None:
        ids = tuple(sorted({passage.entering.id, passage.leaving.id}))
        assert passage.last is not None and passage.first is not None, "a whole passage has both ends"
        return _said(0.0, (passage.last, passage.first), ids, 0, "what went out of sight came out again")
    if passage.entering is not None and passage.last is not None:
        track, frame, step = passage.entering, passage.last, +1
        left = past - 1 - frame
    else:
        assert passage.leaving is not None and passage.first is not None, "a passage has one end at least"
        track, frame, step = passage.leaving, passage.first, -1
        left = frame - first
    hidden = _frames_hidden(observation, track, frame, step, passage.box)
    if not np.isfinite(hidden) and step < 0 and usual is not None:
        hidden = FRICTION_TIME * usual[1]  # too little shows of it: it took as long as the others
    missing = int(left - hidden) if np.isfinite(hidden) else 0
    if missing <= 0:
        return None
    overdue = missing / max(hidden, 1.0)
    size = min(1.0, track.diameter_px / usual[0]) if usual else 1.0
    strength = size * overdue / (overdue + OVERDUE)
    if step > 0:
        text = f"thing {track.id} goes out of sight at frame {frame} and does not come out by frame {past - 1}"
        return _said(strength, (frame, past - 1), (track.id,), missing, text)
    text = f"thing {track.id} comes out of hiding at frame {frame} and never went in"
    return _said(strength, (first, frame), (track.id,), missing, text)


def _said(strength: float, frames: tuple[int, int], objects: tuple[int, ...], missing: int, text: str) -> Measurement:
    return Measurement(
        strength=strength,
        frames=frames,
        objects=objects,
        quantity="time that it should show and does not, frames",
        value=float(missing),
        expected=0.0,
        sigma=1.0,
        text=text,
    )


def _frames_hidden(observation: Observation, track: Track, frame: int, step: int, box: Box | None) -> float:
    """Frames that it may stay hidden, counted from `frame` on in time (+1) or back (-1); infinite where unknown."""
    motion = motion_near(observation, track, frame, -step, degree=2) if box is not None else None
    if motion is None and step < 0:  # it came out late: what it did before it showed, friction can only have slowed
        motion = motion_near(observation, track, frame, -step)
    if box is None or motion is None:
        return np.inf
    v_2 = step * motion.at(frame, 1)
    if not _hides(box, motion.at(frame), v_2, track.diameter_px):
        return np.inf
    speed = float(np.hypot(*v_2))
    if speed < 4 * motion.error(frame, 1):
        return np.inf
    way = speed * _time_in(box, motion.at(frame), v_2)
    slowing = 0.0
    if len(motion.coef_PA) > 2:
        slowing = max(0.0, 2 * motion.error(frame, 2) - float(motion.at(frame, 2) @ v_2) / speed)
    left = speed**2 - 2 * slowing * way  # of the squared speed at the far side
    return FRICTION_TIME * 2 * way / (speed + float(np.sqrt(left))) if left > 0 else np.inf


def _hides(box: Box, at_2: Floats, v_2: Floats, diameter: float) -> bool:
    """Whether a box is large enough across the way of a thing to hide it; behind a lower one it may show in parts."""
    across = int(abs(v_2[0]) > abs(v_2[1]))
    covered = min(box[2 + across], at_2[across] + diameter / 2) - max(box[across], at_2[across] - diameter / 2)
    return bool(covered > COVERED * diameter)


def _time_in(box: Box, at_2: Floats, v_2: Floats) -> float:
    """Frames until half of a thing at `at_2` shows beyond the box for good; 0 where it is out of it."""
    low, high = np.array(box[:2]), np.array(box[2:])
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.where(v_2 > 0, (high - at_2) / v_2, np.where(v_2 < 0, (low - at_2) / v_2, np.inf))
    return float(max(0.0, ends.min()))


RULE = Rule(
    name="count",
    group="permanence",
    statement="As many things come out from behind something as went in.",
    measure=measure,
    motion=False,
)
