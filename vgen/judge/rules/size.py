"""size: a thing in full view keeps its size, but for coming nearer or going away at a steady rate.

Formula: under perspective a thing that comes nearer steadily has 1 / diameter linear in time. At every split of an
unbroken view, a line through 1 / d before it foretells as many frames after it, and the other way round; the median
deviation of log d in the later half of those frames, the lesser of the two directions.
Source: size constancy (IntPhys2, arXiv:2506.09849, condition immutability); pinhole projection.
Strength: natural logarithm of the ratio of diameters, .02 and three standard errors taken off.
Abstains where no thing is wholly seen for ten frames, or where sizes scatter so that a tenth could not be told.
"""

import numpy as np

from vgen.judge.observation import Floats, Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.fits import polynomial
from vgen.judge.rules.lives import successions, unbroken, whole_runs
from vgen.judge.rules.looks import look

__all__ = ["RULE"]

LEAST = 5  # frames on either side of a split
HORIZON = 10  # frames that a line foretells at most
FLOOR = 0.02
CLEAR = 0.1
Change = tuple[float, float, float, int, int]  # strength, value, sigma, last frame before, first frame after


def measure(observation: Observation) -> Measured:
    found, noisy = [], False
    for track in unbroken(observation):
        changes = [
            c for start, end in whole_runs(track, least=2 * LEAST, margin=2) for c in _changes(track, start, end)
        ]
        told = [change for change in changes if 3 * change[2] <= CLEAR]
        noisy |= bool(changes) and not told
        if told:
            found.append(_said(max(told), (track.id,)))
    for old, new in successions(observation):
        if (change := _handed_on(old, new)) is not None:
            found.append(_said(change, (old.id, new.id)))
    if found:
        return tuple(found)
    if noisy:
        return Abstention(status="undecidable", reason="sizes scatter by more than a tenth")
    return Abstention(status="not_applicable", reason="no thing is wholly seen for ten frames")


def _changes(track: Track, start: int, end: int) -> list[Change]:
    inverse_N = np.sqrt(np.pi / (4 * track.area_px_F[start:end]))
    if not np.isfinite(inverse_N).all():
        return []
    # second differences, of six times one frame's variance, do not see steady change
    scatter = max(float(1.48 * np.median(np.abs(np.diff(np.log(inverse_N), 2))) / np.sqrt(6)), 1e-4)
    found = []
    for split in range(LEAST, end - start - LEAST + 1):
        ahead = _foretold(inverse_N[:split], inverse_N[split:], scatter)
        back = _foretold(inverse_N[:split:-1], inverse_N[split::-1], scatter)
        value, sigma = min(ahead, back)
        found.append((max(0.0, value - FLOOR - 3 * sigma), value, sigma, start + split - 1, start + split))
    return found


def _foretold(known_N: Floats, asked_N: Floats, scatter: float) -> tuple[float, float]:
    """Deviation of the log of what follows from what a line through the known says, and its standard error.

    Judged by the later half of as many frames as are known, so that a change may take its time.
    """
    asked_N = asked_N[: min(len(known_N), HORIZON)]
    level = float(np.median(known_N))
    fit = polynomial(np.arange(-len(known_N), 0, dtype=np.float64), known_N[:, None], scatter * level, 1)
    late_N = np.arange(len(asked_N) // 2, len(asked_N))
    foretold_N = np.array([fit.at(float(frame))[0] for frame in late_N])
    off = float(np.median(np.log(np.maximum(foretold_N, 1e-3 * level) / asked_N[late_N])))
    error = fit.error(float(np.median(late_N))) / level
    return abs(off), float(np.hypot(error, scatter / np.sqrt(len(late_N))))


def _handed_on(old: Track, new: Track) -> Change | None:
    before, after = (look(track, np.flatnonzero(track.seen_F)) for track in (old, new))
    if before is None or after is None:
        return None
    value = abs(after.log_size - before.log_size)
    sigma = float(
        np.hypot(before.log_size_scatter / np.sqrt(before.frames), after.log_size_scatter / np.sqrt(after.frames))
    )
    last, first = int(np.flatnonzero(old.seen_F)[-1]), int(np.flatnonzero(new.seen_F)[0])
    return max(0.0, value - FLOOR - 3 * sigma), value, sigma, min(last, first), max(last, first)


def _said(change: Change, objects: tuple[int, ...]) -> Measurement:
    strength, value, sigma, last, first = change
    return Measurement(
        strength=strength,
        frames=(last, first),
        objects=objects,
        quantity="lasting change of size, logarithm of the diameter",
        value=value,
        expected=0.0,
        sigma=sigma,
        text=f"thing {objects[0]} changes its diameter by {100 * np.expm1(value):.0f} % about frame {first}"
        if strength
        else f"thing {objects[0]} keeps its size",
    )


RULE = Rule(
    name="size",
    group="permanence",
    statement="A thing in full view keeps its size, but for coming nearer or going away at a steady rate.",
    measure=measure,
    motion=False,
)
