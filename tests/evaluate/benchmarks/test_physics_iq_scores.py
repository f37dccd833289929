"""How Physics-IQ adds up: both published formulas in plain Python, and the traps between them."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen.errors import InputError
from vgen.evaluate.benchmark import Item, Measures, Score
from vgen.evaluate.benchmarks.physics_iq import PHYSICS_IQ, PHYSICS_IQ_VERIFIED
from vgen.evaluate.jury import Jury

NAMES = ("st_iou", "spatial_iou", "weighted_iou", "mse")
values = st.floats(0.01, 1)
lines = st.lists(st.tuples(*[values] * 8), min_size=1, max_size=6)


def rows_of(table: Sequence[tuple[float, ...]], *, fps: int = 30) -> tuple[list[Item], dict[str, Measures]]:
    """One clip per line: the four metrics of the model, then those between takes; two clips a scenario."""
    keys = [*NAMES, *(f"takes_{name}" for name in NAMES)]
    items = [
        Item(
            id=f"{n:04}",
            prompt="",
            file=f"{n:04}_x.mp4",
            stratum="Optics" if n < 2 else "Magnetism",
            data={"scenario": f"scene {n // 2}", "view": "perspective-left"},
        )
        for n in range(len(table))
    ]
    return items, {
        item.id: {**dict(zip(keys, line, strict=True)), "fps": fps} for item, line in zip(items, table, strict=True)
    }


def found(scores: list[Score]) -> dict[tuple[str, str], Score]:
    return {(score.group, score.name): score for score in scores}


def published_original(table: Sequence[tuple[float, ...]]) -> float:
    st_iou, spatial, weighted, mse, *takes = (mean(column) for column in zip(*table, strict=True))
    var_st, var_s, var_w, var_mse = round(takes[0], 4), round(takes[1], 5), round(takes[2], 4), round(takes[3], 4)
    raw = (st_iou / var_st + spatial / var_s + weighted / var_w) / 3 - (mse - var_mse)
    return round(max(min(100 * raw, 100.0), 0.0), 2)


def published_verified(table: Sequence[tuple[float, ...]]) -> float:
    clips = []
    for line in table:
        parts = [model / (take + 1e-8) for model, take in zip(line[:4], line[4:], strict=True)]
        parts[3] = math.inf if parts[3] == 0 else parts[3] ** -1
        clips.append(mean(min(max(part, 0), 1) for part in parts))
    return 100 * mean(clips)


@given(lines)
def test_both_scores_are_the_published_ones(table: Sequence[tuple[float, ...]]) -> None:
    items, measured = rows_of(table)
    for benchmark, other in ((PHYSICS_IQ, PHYSICS_IQ_VERIFIED), (PHYSICS_IQ_VERIFIED, PHYSICS_IQ)):
        headline, second = benchmark.aggregate(items, measured, Jury())[:2]
        assert second.name == other.aggregate(items, measured, Jury())[0].name
        wanted = {"physics_iq": published_original(table), "physics_iq_verified": published_verified(table)}
        for score in (headline, second):
            assert score.figure.value == pytest.approx(wanted[score.name], abs=0.011)
            assert score.figure.count == len(table)


def test_by_hand() -> None:
    """Original: (.2/.4 + .3/.5 + .3/.3) / 3 - (.02 - .01) = .69. Verified: (.5 + .6 + 1 + .5) / 4 = .65."""
    items, measured = rows_of([(0.2, 0.3, 0.3, 0.02, 0.4, 0.5, 0.3, 0.01)])
    assert PHYSICS_IQ.aggregate(items, measured, Jury())[0].figure.value == 69.0
    assert PHYSICS_IQ_VERIFIED.aggregate(items, measured, Jury())[0].figure.value == pytest.approx(65, abs=1e-4)


def test_only_the_original_cuts_at_the_end_and_divides_means() -> None:
    """An overlap above that of two takes makes up for another in the original alone; so does one clip for another."""
    items, measured = rows_of([(0.8, 0.2, 0.4, 0.0, 0.4, 0.4, 0.4, 0.0), (0.0, 0.0, 0.0, 0.0, 0.4, 0.4, 0.4, 0.0)])
    assert PHYSICS_IQ.aggregate(items, measured, Jury())[0].figure.value == pytest.approx(58.33)  # (1 + .25 + .5) / 3
    verified = PHYSICS_IQ_VERIFIED.aggregate(items, measured, Jury())[0].figure.value
    assert verified == pytest.approx(100 * ((1 + 0.5 + 1 + 1) / 4 + (0 + 0 + 0 + 1) / 4) / 2, abs=1e-4)


def test_the_original_takes_the_error_off_and_verified_divides_by_it() -> None:
    items, measured = rows_of([(0.4, 0.4, 0.4, 0.04, 0.4, 0.4, 0.4, 0.01)])
    assert PHYSICS_IQ.aggregate(items, measured, Jury())[0].figure.value == pytest.approx(97)
    assert PHYSICS_IQ_VERIFIED.aggregate(items, measured, Jury())[0].figure.value == pytest.approx(81.25, abs=1e-3)


def test_parts_and_categories_stand_beside_the_real_takes() -> None:
    table = [(0.1 * n, 0.3, 0.3, 0.02, 0.4, 0.5, 0.3, 0.01) for n in (1, 2, 3, 4)]
    items, measured = rows_of(table)
    scores = found(list(PHYSICS_IQ.aggregate(items, measured, Jury())))
    assert scores["", "st_iou"].figure.value == pytest.approx(0.25)
    assert scores["", "st_iou"].beside == {"two real takes": pytest.approx(0.4)}
    assert [key for key, score in scores.items() if score.better == "lower"] == [("", "mse")]
    assert scores["Verified, by metric", "mse"].figure.value == pytest.approx(50, abs=1e-4)
    assert scores["Optics", "physics_iq"].figure.value == pytest.approx(published_original(table[:2]))
    assert scores["Magnetism", "physics_iq"].figure.value == pytest.approx(published_original(table[2:]))


def test_intervals_go_over_scenarios() -> None:
    """Two clips of one scenario are one draw: without a second scenario there is no interval."""
    one, other = (0.1, 0.3, 0.3, 0.02, 0.4, 0.5, 0.3, 0.01), (0.4, 0.5, 0.3, 0.01, 0.4, 0.5, 0.3, 0.01)
    for benchmark in (PHYSICS_IQ, PHYSICS_IQ_VERIFIED):
        single = benchmark.aggregate(*rows_of([one, other]), Jury())[0].figure
        assert single.interval is None
        figure = benchmark.aggregate(*rows_of([one, one, other, other]), Jury())[0].figure
        alone = [benchmark.aggregate(*rows_of([line]), Jury())[0].figure.value for line in (one, other)]
        assert figure.interval == pytest.approx((min(alone), max(alone)), abs=0.02)  # type: ignore[type-var]
        assert figure == benchmark.aggregate(*rows_of([one, one, other, other]), Jury())[0].figure


def test_a_score_of_nothing_at_all_stays_on_its_scale() -> None:
    items, measured = rows_of([(0.0, 0.0, 0.0, 1.0, 0.4, 0.5, 0.3, 0.0)] * 4)
    figure = PHYSICS_IQ_VERIFIED.aggregate(items, measured, Jury())[0].figure
    assert figure.value == pytest.approx(0, abs=1e-6)
    assert figure.interval is not None and 0 <= figure.interval[0] <= figure.interval[1] <= 100


def test_missing_clips_count_for_nothing() -> None:
    items, measured = rows_of([(0.2, 0.3, 0.3, 0.02, 0.4, 0.5, 0.3, 0.01)] * 4)
    del measured["0003"]
    headline = PHYSICS_IQ.aggregate(items, measured, Jury())[0]
    assert (headline.figure.value, headline.figure.count) == (69.0, 3)
    assert PHYSICS_IQ.aggregate(items, {}, Jury())[0].figure.value is None


def test_two_rates_are_refused() -> None:
    items, measured = rows_of([(0.2, 0.3, 0.3, 0.02, 0.4, 0.5, 0.3, 0.01)] * 3)
    measured["0001"] = {**measured["0001"], "fps": 16}
    with pytest.raises(InputError, match=r"one rate; these have 2 at 30, 1 at 16 frames per second"):
        PHYSICS_IQ.aggregate(items, measured, Jury())


def test_what_it_needs_is_said() -> None:
    assert PHYSICS_IQ.kind == PHYSICS_IQ_VERIFIED.kind == "generator"
    assert not PHYSICS_IQ.needs and "not validity" in PHYSICS_IQ.note
    assert PHYSICS_IQ.layout is not None
    assert [one.state for one in PHYSICS_IQ.layout(Path("/nowhere"))] == ["missing"]
