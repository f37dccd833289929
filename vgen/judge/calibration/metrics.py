"""The statistics of a calibration: how well strengths tell broken from kept, with intervals; nothing here knows a clip.

Strengths are numbers of which larger means more broken; ties count one half everywhere. Intervals are of 95 %, by
drawing whole scenes with replacement, since clips of one scene are no independent evidence.
Letters: `P` possible clips, `I` impossible ones, `S` scenes, `R` resamples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vgen.judge.card import Figure
from vgen.playground.score import wilson

__all__ = [
    "RESAMPLES",
    "Curve",
    "auc",
    "auc_figure",
    "mean_figure",
    "psychometric",
    "rising",
    "temporal_iou",
    "wins",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

RESAMPLES = 1000
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A psychometric curve: the share of pairs told rightly, by severity.

    Args:
        severities: ascending.
        shares: one figure per severity.
        point_75: severity from which on 75 % are told rightly; None where the curve never gets there.
    """

    severities: tuple[float, ...]
    shares: tuple[Figure, ...]
    point_75: float | None


def wins(possible_P: Floats, impossible_P: Floats) -> Floats:
    """1 for each pair whose impossible clip is the stronger, 0 where it is the weaker, .5 for a tie."""
    return np.where(impossible_P > possible_P, 1.0, np.where(impossible_P == possible_P, 0.5, 0.0))


def mean_figure(values: Floats, scene: Ints, *, seed: int = 0) -> Figure:
    """The mean of values in 0..1, each of which belongs to a scene.

    Where all values are 0 or all are 1, resampling says nothing; there the interval is Wilson's over the scenes.

    Args:
        values: one per clip or pair.
        scene: the scene of each, any integers.
        seed: of the resamples.
    """
    if not values.size:
        return Figure(value=None, interval=None, count=0)
    names, index = np.unique(scene, return_inverse=True)
    mean = float(values.mean())
    if values.min() == values.max() and mean in (0.0, 1.0):
        interval: tuple[float, float] | None = wilson(round(mean * len(names)), len(names))
    elif len(names) == 1:
        interval = None
    else:
        times_RS = _resamples(len(names), seed)
        total_S, count_S = np.bincount(index, weights=values), np.bincount(index)
        interval = _spread(times_RS @ total_S / (times_RS @ count_S))
    return Figure(value=mean, interval=interval, count=values.size)


def auc(possible_P: Floats, impossible_I: Floats) -> float:
    """Area under the ROC curve: the chance that a random impossible clip is stronger than a random possible one.

    From ranks (Mann and Whitney 1947, Ann. Math. Stat. 18, 50-60).
    """
    assert possible_P.size and impossible_I.size, "an AUC needs clips of both kinds"
    ones = [np.ones((1, strengths.size)) for strengths in (possible_P, impossible_I)]
    return float(_auc_weighted(possible_P, impossible_I, ones[0], ones[1])[0])


def auc_figure(possible_P: Floats, scene_P: Ints, impossible_I: Floats, scene_I: Ints, *, seed: int = 0) -> Figure:
    """`auc` with its interval; scenes are drawn with all their clips of both kinds."""
    count = possible_P.size + impossible_I.size
    names, index = np.unique(np.concatenate([scene_P, scene_I]), return_inverse=True)
    if not (possible_P.size and impossible_I.size):
        return Figure(value=None, interval=None, count=count)
    interval = None
    if len(names) > 1:
        times_RS = _resamples(len(names), seed)
        times_RP, times_RI = times_RS[:, index[: possible_P.size]], times_RS[:, index[possible_P.size :]]
        both = (times_RP.sum(axis=1) > 0) & (times_RI.sum(axis=1) > 0)  # else the resample has no such area
        interval = _spread(_auc_weighted(possible_P, impossible_I, times_RP[both], times_RI[both]))
    return Figure(value=auc(possible_P, impossible_I), interval=interval, count=count)


def psychometric(severity: Floats, won: Floats, scene: Ints, *, seed: int = 0) -> Curve:
    """The curve of `wins` against severity.

    Its 75 % point lies on the straight line between the severities around it, after the least change that makes the
    curve rise throughout; half is where a judge that sees nothing stands, so severity 0 counts as one half.

    Args:
        severity, won, scene: one row per pair.
        seed: of the resamples.
    """
    levels = np.unique(severity)
    shares = tuple(mean_figure(won[severity == level], scene[severity == level], seed=seed) for level in levels)
    counts = np.array([share.count for share in shares], dtype=np.float64)
    smooth = rising(np.array([share.value for share in shares], dtype=np.float64), counts)
    return Curve(
        severities=tuple(map(float, levels)),
        shares=shares,
        point_75=_crossing(np.concatenate([[0.0], levels]), np.concatenate([[0.5], smooth]), 0.75),
    )


def rising(values: Floats, weights: Floats) -> Floats:
    """The nearest sequence, by weighted squares, that never falls (pool adjacent violators: Ayer et al. 1955)."""
    pools: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values, weights, strict=True):
        pools.append((float(value), float(weight), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, u, m), (b, v, n) = pools[-2:]
            pools[-2:] = [((a * u + b * v) / (u + v), u + v, m + n)]
    return np.array([mean for mean, _, length in pools for _ in range(length)])


def temporal_iou(found: tuple[float, float], true: tuple[float, float]) -> float:
    """Shared frames of two spans over the frames of either; first and last frame belong to a span."""
    shared = min(found[1], true[1]) - max(found[0], true[0]) + 1
    either = (found[1] - found[0] + 1) + (true[1] - true[0] + 1) - max(shared, 0.0)
    return max(shared, 0.0) / either


def _crossing(x: Floats, y: Floats, level: float) -> float | None:
    """Where a rising line of points first reaches a level."""
    reached = np.flatnonzero(y >= level)
    if not reached.size:
        return None
    at = int(reached[0])
    if at == 0:
        return float(x[0])
    share = (level - y[at - 1]) / (y[at] - y[at - 1])
    return float(x[at - 1] + share * (x[at] - x[at - 1]))


def _auc_weighted(possible_P: Floats, impossible_I: Floats, times_RP: Floats, times_RI: Floats) -> Floats:
    """The area per resample, where each clip counts so many times."""
    values = np.unique(possible_P)
    group_P = np.searchsorted(values, possible_P)
    below_RV = np.zeros((len(times_RP), len(values) + 1))  # [:, v]: possible clips weaker than value v
    for value in range(len(values)):
        below_RV[:, value + 1] = below_RV[:, value] + times_RP[:, group_P == value].sum(axis=1)
    weaker = below_RV[:, np.searchsorted(values, impossible_I, side="left")]
    not_stronger = below_RV[:, np.searchsorted(values, impossible_I, side="right")]
    told = (times_RI * (weaker + not_stronger) / 2).sum(axis=1)
    return np.asarray(told / (times_RP.sum(axis=1) * times_RI.sum(axis=1)))


def _resamples(scenes: int, seed: int) -> Floats:
    """How many times each scene was drawn, per resample."""
    random = np.random.Generator(np.random.Philox(key=seed))
    return random.multinomial(scenes, np.full(scenes, 1 / scenes), size=RESAMPLES).astype(np.float64)


def _spread(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, _TAILS)
    return float(low), float(high)
