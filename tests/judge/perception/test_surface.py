"""Still surfaces: levels that something passes in a row are a wall's courses, what it lands on is a surface."""

import numpy as np
import pytest

from vgen.judge.observation import Floats
from vgen.judge.perception.surface import Edges, without_passed

HEIGHT, WIDTH, DIAMETER = 120, 80, 12.0
COURSES, FLOOR = (20, 40, 60), 100  # rows


def wall_and_floor(rows: tuple[int, ...] = (*COURSES, FLOOR)) -> Edges:
    rows_YX = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    for row in rows:
        rows_YX[row] = row
    return Edges(rows_YX, np.zeros((HEIGHT, WIDTH), np.uint8))


def falling(first: float, last: float, x: float = 40.0) -> Floats:
    """Ways of the lowest point of a thing, [N, 2]."""
    return np.stack([np.full(12, x), np.linspace(first, last, 12)], 1)


def levels(edges: Edges) -> set[int]:
    return set(np.flatnonzero(np.isfinite(edges.rows_YX).any(1)).tolist())


def test_what_falls_past_every_course_leaves_the_floor_alone() -> None:
    kept = without_passed(wall_and_floor(), [(falling(5, FLOOR), DIAMETER)])
    assert levels(kept) == {FLOOR}
    assert kept.below_YX[10, 40] == pytest.approx(FLOOR)


def test_way_up_counts_as_way_down() -> None:
    assert levels(without_passed(wall_and_floor(), [(falling(FLOOR, 5), DIAMETER)])) == {FLOOR}


@pytest.mark.parametrize("rows", [(), (40,), (40, 60)])
def test_a_shelf_or_two_that_something_falls_past_stay(rows: tuple[int, ...]) -> None:
    edges = wall_and_floor((*rows, FLOOR))
    assert without_passed(edges, [(falling(5, FLOOR), DIAMETER)]) is edges


def test_what_only_two_things_passed_together_stays() -> None:
    ways = [(falling(5, 52), DIAMETER), (falling(48, FLOOR), DIAMETER)]  # two levels and one
    assert levels(without_passed(wall_and_floor(), ways)) == {*COURSES, FLOOR}


def test_a_level_beside_the_way_is_not_passed() -> None:
    edges = wall_and_floor()
    edges.rows_YX[:FLOOR, 20:] = np.inf
    beside = Edges(edges.rows_YX, edges.upright_YX)
    assert without_passed(beside, [(falling(5, FLOOR), DIAMETER)]) is beside


def test_what_was_seen_once_passed_nothing() -> None:
    edges = wall_and_floor()
    assert without_passed(edges, [(falling(5, FLOOR)[:1], DIAMETER)]) is edges
