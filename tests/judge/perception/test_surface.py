"""Still surfaces: a floor is one even in the dark; texture, and the courses of a wall that things pass, are none."""

import numpy as np
import pytest

from vgen.judge.observation import Floats
from vgen.judge.perception.background import Background, find_background
from vgen.judge.perception.surface import Edges, find_edges, without_passed
from vgen.judge.perception.view import to_lab

HEIGHT, WIDTH, DIAMETER = 120, 80, 12.0
COURSES, FLOOR = (20, 40, 60), 100  # rows
SIDE, DARK_FLOOR = 128, 100


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


def room(floor: float) -> Background:
    """A dark rough wall, with a floor that is a little lighter."""
    rough = np.random.default_rng(0).normal(0, 2.5, (SIDE, SIDE, 1))
    grey = np.where(np.arange(SIDE)[:, None, None] >= DARK_FLOOR, floor, 24.0)
    rgb_FYX3 = np.repeat((grey + rough).round().clip(0, 255).astype(np.uint8)[None], 4, 0).repeat(3, -1)
    return find_background(rgb_FYX3, to_lab(rgb_FYX3), None)


def test_floor_in_the_dark() -> None:
    rows_YX = find_edges(room(33.0)).rows_YX
    level_X = np.where(np.isfinite(rows_YX), rows_YX, np.inf).min(0)
    assert (np.abs(level_X - DARK_FLOOR) < 2).mean() > 0.6
    assert np.isfinite(rows_YX[: DARK_FLOOR - 4]).mean() < 0.01


def test_texture_alone_is_no_surface() -> None:
    assert not np.isfinite(find_edges(room(24.0)).rows_YX).any()
