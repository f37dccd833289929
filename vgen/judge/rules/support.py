"""support: a body that nothing holds falls.

Formula: frames that a body spends in the air while its acceleration along gravity stays clearly below a third of the
clip's (or none shows at all, where nothing else in the clip falls). A body that hangs from the start, before it has
moved or stood anywhere, is taken to be held, and so is one that swings, or that neither stands nor falls anywhere.
Source: Galilei, Discorsi (1638); Newton's second law under gravity.
Strength: frames beyond the few in which a beginning fall cannot be told from none.
Abstains where nothing is ever in the air after it stood or moved.
"""

import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Observation, Track
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.flights import falls_freely, weightless
from vgen.judge.rules.lives import bodies, level_px
from vgen.judge.rules.segments import Path, Segment, gravity, paths

__all__ = ["RULE"]

_FALL_D = 0.1  # a fall shows once it has gone this many diameters
_SHORTEST = 1.0  # frames
_LEVEL_D = 0.1  # diameters up or down within which it goes level
_LEFT_D = 0.5  # diameters; what has come less far from where it stood still stands there


def measure(observation: Observation) -> Measured:
    found = [m for path in paths(observation) if not path.swings for m in _of(observation, path)]
    return tuple(found) or Abstention(status="not_applicable", reason="nothing leaves its support")


def _of(observation: Observation, path: Path) -> list[Measurement]:
    track = path.track
    if not _has_weight(observation, path):
        return []
    loose = [segment for segment in path.good if not _held(observation, path, segment)]
    unsure = _unsure_frames(observation, path)
    found = []
    for segment in loose:
        frames_N = segment.frames_N.astype(int)
        aloft_N = (track.surface_px_F[frames_N] > level_px(track)) & _away(track, frames_N)
        count = int(aloft_N.sum())
        if not count:
            continue
        floats = _floats(observation, path, segment)
        frames = frames_N[aloft_N]
        found.append(
            Measurement(
                strength=max(0.0, count - unsure - _SHORTEST) if floats else 0.0,
                frames=(int(frames[0]), int(frames[-1])),
                objects=(track.id,),
                quantity="time in the air without falling, frames",
                value=float(count) if floats else 0.0,
                expected=0.0,
                sigma=unsure / 2,
                text=f"thing {track.id} stays up for {count} frames with nothing below it"
                if floats
                else f"thing {track.id} falls while nothing holds it",
            )
        )
    return found


def _has_weight(observation: Observation, path: Path) -> bool:
    """Whether it stands or falls anywhere in the clip; what does neither may fly, or be an image in a mirror."""
    return any(
        segment.ground == "ground" or (segment.ground == "air" and falls_freely(observation, segment))
        for segment in path.good
    )


def _held(observation: Observation, path: Path, segment: Segment) -> bool:
    """Whether it hangs or goes level from the very start, and never stood on anything, not even half hidden.

    What goes level and falls later stood on something that perception does not see as a surface. What was one with
    another thing until that left it stood on that.
    """
    track = path.track
    if any(event.kind == "split" and track.id in event.tracks for event in observation.events):
        return False
    y_N = segment.xy_N2[:, 1]
    level = float(np.ptp(y_N)) < max(_LEVEL_D * track.diameter_px, 6 * segment.sigma_px)
    if segment is not path.good[0] or not (level or segment.resting(track.diameter_px)):
        return False
    free_F = track.surface_px_F.copy()
    for other in bodies(observation):
        free_F = np.fmin(free_F, observation.gap(track.id, other.id))
    return not np.any(free_F[: segment.last + 1] <= level_px(track))


def _away(track: Track, frames_N: npt.NDArray[np.int_]) -> npt.NDArray[np.bool_]:
    """Which of these frames show it away from every place where it stood before."""
    stood = np.flatnonzero(track.seen_F & (track.surface_px_F <= level_px(track)))
    stood = stood[stood < frames_N[0]]
    if not stood.size:
        return np.ones(len(frames_N), bool)
    far_NM = np.linalg.norm(track.xy_F2[frames_N][:, None] - track.xy_F2[stood][None], axis=-1)
    return np.asarray(far_NM.min(1) > _LEFT_D * track.diameter_px)


def _floats(observation: Observation, path: Path, segment: Segment) -> bool:
    if weightless(observation, segment):
        return True
    pull_2, pull_sigma = gravity(observation)
    if float(np.linalg.norm(pull_2)) > 5 * pull_sigma:
        return False
    # Nothing in the clip shows what gravity is: only a body that had support and goes on without it tells.
    stood = any(s.ground == "ground" and s.last < segment.last for s in path.good)
    own, error = float(segment.fit.at(segment.middle, 2)[1]), segment.fit.error(segment.middle, 2)
    span = segment.last - segment.first
    return stood and (own + 2 * error) * span**2 / 2 < 0.5 * path.track.diameter_px


def _unsure_frames(observation: Observation, path: Path) -> float:
    """Frames that a fall from rest takes until it shows."""
    pull = float(np.linalg.norm(gravity(observation)[0]))
    return float(np.sqrt(2 * _FALL_D * path.track.diameter_px / pull)) if pull > 0 else 3.0


RULE = Rule(
    name="support",
    group="mechanics",
    statement="A body that nothing holds falls.",
    measure=measure,
)
