"""How rows add up to the original and the Verified score, both of 0 to 100, with intervals over scenarios.

Original (arXiv:2501.09038): a ratio of means over the whole set, cut to 0..100 at the end. Verified (arXiv:2606.18943):
four ratios for each clip, each cut to 0..1, then the mean. What two real takes of one scene differ by is the measure of
both. Three views of a scenario are no independent draws, so scenarios are resampled whole.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import mean as plain_mean

import numpy as np
import numpy.typing as npt

from vgen.errors import InputError
from vgen.evaluate.benchmark import Direction, Item, Measures, Score
from vgen.evaluate.benchmarks.physics_iq.metrics import METRICS
from vgen.evaluate.jury import Jury
from vgen.evaluate.resampling import drawn, middle_95, places_of
from vgen.evaluate.statistics import mean, mean_share, percent
from vgen.judge.card import Figure

__all__ = ["ORIGINAL", "VERIFIED", "scores"]

ORIGINAL, VERIFIED = "physics_iq", "physics_iq_verified"
PERCENT = 100.0
ERROR = "mse"  # of METRICS, the one that is no overlap
TINY = 1e-8  # keeps a ratio of Verified finite
DECIMALS = (4, 5, 4, 4)  # to which the published tool rounds the means between takes, in the order of METRICS

Floats = npt.NDArray[np.float64]
Rows = Sequence[tuple[Item, Measures]]


def scores(items: Sequence[Item], measured: Mapping[str, Measures], jury: Jury, headline: str) -> list[Score]:
    """The headline, the other score, their parts, and the headline of each category.

    Raises:
        InputError: clips of different rates, which the benchmark does not compare.
    """
    rows = [(item, measured[item.id]) for item in items if item.id in measured]
    _check_rates(rows)
    first, second = (headline, ORIGINAL if headline == VERIFIED else VERIFIED)
    found = [Score(name=name, figure=FORMULAS[name](rows)) for name in (first, second)]
    found += [_raw(metric, rows) for metric in METRICS]
    found += [Score(name=metric, figure=_part(metric, rows), group="Verified, by metric") for metric in METRICS]
    categories = dict.fromkeys(item.stratum for item, _ in rows)
    for category in categories:
        of_it = [row for row in rows if row[0].stratum == category]
        found.append(Score(name=first, figure=FORMULAS[first](of_it), group=category))
    return found


def _original(rows: Rows) -> Figure:
    if not rows:
        return Figure(value=None)
    values_N8 = np.array([[*_of(row), *_of(row, "takes_")] for _, row in rows])
    value = _ratio_of_means(values_N8.mean(0))
    if not np.isfinite(value):
        return Figure(value=None)
    return Figure(value=round(float(value), 2), interval=_interval(values_N8, _scenarios(rows)), count=len(rows))


def _interval(values_N8: Floats, scenarios: Sequence[str]) -> tuple[float, float] | None:
    """None for a single scenario."""
    unit_N = places_of(scenarios, len(values_N8))
    count_S = np.bincount(unit_N)
    if len(count_S) < 2:
        return None
    total_S8 = np.zeros((len(count_S), 8))
    np.add.at(total_S8, unit_N, values_N8)
    drawn_RS = drawn(len(count_S))
    return middle_95(_ratio_of_means(total_S8[drawn_RS].sum(1) / count_S[drawn_RS].sum(1)[:, None]))


def _ratio_of_means(means_X8: Floats) -> Floats:
    """The original score; NaN or 100 where two real takes never overlap."""
    model_X4, takes_X4 = means_X8[..., :4], means_X8[..., 4:].copy()
    for place, decimals in enumerate(DECIMALS):
        takes_X4[..., place] = np.round(takes_X4[..., place], decimals)
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap_X = (model_X4[..., :3] / takes_X4[..., :3]).mean(-1)
    return np.asarray(np.clip(PERCENT * (overlap_X - (model_X4[..., 3] - takes_X4[..., 3])), 0, PERCENT))


def _verified(rows: Rows) -> Figure:
    return percent(mean_share([plain_mean(_ratios(row)) for _, row in rows], _scenarios(rows)))


def _part(metric: str, rows: Rows) -> Figure:
    return percent(mean_share([_ratios(row)[METRICS.index(metric)] for _, row in rows], _scenarios(rows)))


def _ratios(row: Measures) -> list[float]:
    """Each of the four in 0..1; the squared error counts upside down, and a perfect copy has 1."""
    *overlaps, mse = _of(row)
    *takes_overlaps, takes_mse = _of(row, "takes_")
    found = [min(a / (b + TINY), 1.0) for a, b in zip(overlaps, takes_overlaps, strict=True)]
    return [*found, min((takes_mse + TINY) / mse, 1.0) if mse else 1.0]


def _scenarios(rows: Rows) -> list[str]:
    return [str(item.data["scenario"]) for item, _ in rows]


def _raw(metric: str, rows: Rows) -> Score:
    mean_of = mean if metric == ERROR else mean_share
    ours, takes = (
        mean_of([float(row[name]) for _, row in rows], _scenarios(rows)) for name in (metric, f"takes_{metric}")
    )
    better: Direction = "lower" if metric == ERROR else "higher"
    return Score(name=metric, figure=ours, better=better, beside={"two real takes": takes.value})


def _of(row: Measures, prefix: str = "") -> list[float]:
    return [float(row[prefix + metric]) for metric in METRICS]


def _check_rates(rows: Rows) -> None:
    rates = Counter(int(row["fps"]) for _, row in rows)
    if len(rates) > 1:
        listed = ", ".join(f"{count} at {fps}" for fps, count in rates.most_common())
        raise InputError(f"Physics-IQ compares clips of one rate; these have {listed} frames per second")


FORMULAS: dict[str, Callable[[Rows], Figure]] = {ORIGINAL: _original, VERIFIED: _verified}
