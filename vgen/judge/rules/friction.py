"""friction: a body on level ground does not speed up by itself.

Formula: the largest rise of speed from an earlier to a later stretch of five frames (fewer in short runs) of one run on
level ground, with no blow between them, over the earlier speed; after a blow less what the spin of a body that rolled
into it can give back (a follow shot).
Source: Newton's first law with Coulomb's friction (1785), which only ever slows; rolling after impact, Coriolis 1835.
Strength: gain as a share of the speed, beyond 3 standard errors. A start from rest is `motion_without_cause`, a sudden
gain `energy`.
Abstains where nothing runs over level ground for six frames, or where half of its speed is less than the noise.
"""

import numpy as np

from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.judge.rules.segments import Path, Segment, paths

__all__ = ["RULE"]

_FEWEST = 6
_BLOW_FRAMES, _NEAR_D = 5, 0.3  # of a run's first frame, and diameters off, within which a body may have been struck
_WINDOW = 5  # frames over which a speed is measured
_SLOPE = 0.05  # way down over way along: steeper ground drives what stands on it


def measure(observation: Observation) -> Measured:
    whole = [p for p in paths(observation) if not p.swings]
    runs = [(path, run) for path in whole for run in _level_runs(path)]
    if not runs:
        return Abstention(status="not_applicable", reason="nothing runs over level ground")
    found = tuple(m for path, run in runs if (m := _of(observation, path, run)) is not None)
    return found or Abstention(status="undecidable", reason="half of the speed would drown in noise")


def _level_runs(path: Path) -> list[list[Segment]]:
    """Runs on level ground, cut where the slope or the speed changes at once."""
    runs: list[list[Segment]] = []
    for whole in path.runs("ground"):
        level: list[Segment] = []
        for segment in whole:
            if _level(segment):
                level.append(segment)
            elif level:
                runs.append(level)
                level = []
        runs.append(level)
    diameter = path.track.diameter_px
    return [
        run
        for run in runs
        if sum(len(segment.frames_N) for segment in run) >= _FEWEST and not all(s.resting(diameter) for s in run)
    ]


def _level(segment: Segment) -> bool:
    way_2 = segment.fit.at(segment.last) - segment.fit.at(segment.first)
    return abs(float(way_2[1])) <= _SLOPE * abs(float(way_2[0])) + 3 * segment.fit.error(segment.first)


def _from_spin(observation: Observation, path: Path, run: list[Segment]) -> float:
    """Speed that a body which rolled into a blow may get back from its spin, which the blow leaves alone; else 0.

    Of a disc, I = m r^2 / 2: once it rolls again, v = (2 v1 + v0) / 3, of the speeds after and before the blow.
    """
    track, first = path.track, run[0].first
    around = slice(max(0, first - _BLOW_FRAMES), first + _BLOW_FRAMES)
    if not any(
        (observation.gap(track.id, other.track.id)[around] < _NEAR_D * track.diameter_px).any()
        for other in paths(observation)
        if other is not path
    ):
        return 0.0
    way_2 = track.xy_F2[run[-1].last] - track.xy_F2[first]
    along_2 = way_2 / max(float(np.linalg.norm(way_2)), 1e-9)
    # What touches shows in part: its raw places do for a speed before the blow.
    step_N = np.diff(track.xy_F2[max(0, first - 2 * _BLOW_FRAMES) : first + 1 : 2] @ along_2) / 2
    came = float(np.nanmax(step_N, initial=0.0))
    return (2 * float(np.linalg.norm(run[0].velocity(first))) + came) / 3


def _unrest_px(path: Path, run: list[Segment]) -> float:
    """Standard error of a place on a run, its outliers counted: a window that begins at one tells a false speed."""
    third_N2 = np.diff(path.track.xy_F2[run[0].first : run[-1].last + 1], 3, axis=0)
    known_N = third_N2[np.isfinite(third_N2).all(1)]
    return float(np.sqrt((known_N**2).sum(1).mean() / 20)) if len(known_N) else 0.0  # of a third difference: 20 times


def _of(observation: Observation, path: Path, run: list[Segment]) -> Measurement | None:
    """From the way it makes in windows of some frames: ends of short fitted pieces say little of a speed."""
    frames_N = np.concatenate([segment.frames_N for segment in run]).astype(int)
    window = min(_WINDOW, (len(frames_N) - 1) // 2)
    known = set(frames_N.tolist())
    starts = [frame for frame in sorted(known) if frame + window in known]
    xy_F2 = path.track.xy_F2
    speeds = [float(np.linalg.norm(xy_F2[frame + window] - xy_F2[frame])) / window for frame in starts]
    if not speeds:
        return None
    error = float(np.sqrt(2)) * max(run[0].sigma_px, _unrest_px(path, run)) / window
    slow = max(3 * error, 0.2 * max(speeds))  # from rest is another law
    spin = _from_spin(observation, path, run)
    blows = [e.frame for e in observation.events if len(e.tracks) > 1 and path.track.id in e.tracks]
    best: tuple[float, float] | None = None
    for late, (end, fast) in enumerate(zip(starts, speeds, strict=True)):
        for start, speed in zip(starts[:late], speeds[:late], strict=True):
            # Windows that share a frame err together, and a blow between two of them is no matter of friction.
            if speed < slow or end <= start + window or any(start <= blow <= end + window for blow in blows):
                continue
            gain = (fast - max(speed, min(spin, fast))) / speed
            sigma = float(np.sqrt(2)) * error / speed
            if best is None or gain - 3 * sigma > best[0] - 3 * best[1]:
                best = (gain, sigma)
    if best is None or 3 * best[1] > 0.5:
        return None
    gain, sigma = best
    return Measurement(
        strength=max(0.0, gain - 3 * sigma),
        frames=(run[0].first, run[-1].last),
        objects=(path.track.id,),
        quantity="gain of speed on level ground, share",
        value=gain,
        expected=min(gain, 0.0),
        sigma=sigma,
        text=f"thing {path.track.id} gains {gain:.0%} of speed on level ground"
        if gain > 3 * sigma
        else f"thing {path.track.id} does not speed up on level ground",
    )


RULE = Rule(
    name="friction",
    group="mechanics",
    statement="A body on level ground does not speed up by itself.",
    measure=measure,
)
