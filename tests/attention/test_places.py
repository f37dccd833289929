"""Ranges of coordinates say of a whole box what places say one by one."""

from collections.abc import Callable
from itertools import product
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vgen.attention.place import Coordinate, Place, Possible, Span, lookup
from vgen.shapes import TokenGrid

RANGES = st.tuples(st.integers(-9, 9), st.integers(0, 6)).map(lambda r: range(r[0], r[0] + r[1] + 1))
SIZES = st.integers(1, 5)
TABLE = torch.tensor([5, -2, 7, 7, 0, 3, -8, 1, 4, 4, 9, -1, 6, 2, -3, 8])


def span(values: range) -> Span:
    return Span(torch.tensor([values[0]]), torch.tensor([values[-1]]))


def hull(values: list[int]) -> tuple[int, int]:
    return min(values), max(values)


def ends(found: Span) -> tuple[int, int]:
    return int(found.low), int(found.high)


@given(RANGES, RANGES)
def test_sums_and_differences_are_exact(a: range, b: range) -> None:
    assert ends(span(a) + span(b)) == hull([x + y for x, y in product(a, b)])
    assert ends(span(a) - span(b)) == hull([x - y for x, y in product(a, b)])
    assert ends(3 - span(a)) == hull([3 - x for x in a])
    assert ends(-span(a) + 2) == hull([2 - x for x in a])


@given(RANGES, SIZES, st.integers(-4, 4))
def test_arithmetic_with_whole_numbers_is_exact(a: range, divisor: int, factor: int) -> None:
    assert ends(span(a) * factor) == ends(factor * span(a)) == hull([x * factor for x in a])
    assert ends(span(a) // divisor) == hull([x // divisor for x in a])
    assert ends(span(a) % divisor) == hull([x % divisor for x in a])
    assert ends(abs(span(a))) == hull([abs(x) for x in a])
    assert ends(span(a).clamp(-2, divisor)) == hull([min(max(x, -2), divisor) for x in a])
    assert ends(span(a).clamp(max=factor)) == hull([min(x, factor) for x in a])


@given(st.integers(0, 15), st.integers(0, 15))
def test_tables_are_looked_up_exactly(one: int, other: int) -> None:
    where = range(min(one, other), max(one, other) + 1)
    found = cast(Span, lookup(TABLE, cast(Coordinate, span(where))))
    assert ends(found) == hull(TABLE[where[0] : where[-1] + 1].tolist())
    assert lookup(TABLE, torch.tensor([one, other])).tolist() == TABLE[[one, other]].tolist()


def test_a_table_is_looked_up_for_many_ranges_at_once() -> None:
    low, high = torch.tensor([[0, 3], [2, 15]]), torch.tensor([[15, 3], [6, 15]])
    found = cast(Span, lookup(TABLE, cast(Coordinate, Span(low, high))))
    assert found.low.tolist() == [[-8, 7], [-8, 8]]
    assert found.high.tolist() == [[9, 7], [7, 8]]


@given(RANGES, RANGES)
def test_comparisons_are_exact(a: range, b: range) -> None:
    comparisons: list[Callable[[object, object], object]] = [
        lambda x, y: x <= y,  # type: ignore[operator]
        lambda x, y: x < y,  # type: ignore[operator]
        lambda x, y: x >= y,  # type: ignore[operator]
        lambda x, y: x > y,  # type: ignore[operator]
        lambda x, y: x == y,
        lambda x, y: x != y,
    ]
    for compare in comparisons:
        answers = [compare(x, y) for x, y in product(a, b)]
        found = cast(Possible, compare(span(a), span(b)))
        assert (bool(found.may), bool(found.must)) == (any(answers), all(answers))


PREDICATES: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda x, y: (abs(x - y) <= 2) & (x % 3 == 1),
    lambda x, y: (x // 2 == y // 2) | ~(x > y),
    lambda x, y: ~((x.clamp(0, 4) - y <= 1) & (abs(y) > 1)) & (2 * x != y),
    lambda x, y: ((x * 0 == 0) & (x - y >= 0)) | (lookup(TABLE, abs(x - y).clamp(max=15)) > 3),
]


@given(RANGES, RANGES, st.sampled_from(PREDICATES))
def test_what_may_be_covers_and_what_must_be_holds(
    a: range, b: range, keeps: Callable[[Tensor, Tensor], Tensor]
) -> None:
    x, y = torch.tensor(list(a))[:, None], torch.tensor(list(b))
    answers = keeps(x, y)
    found = cast(Possible, keeps(cast(Tensor, span(a)), cast(Tensor, span(b))))
    assert bool(found.may) or not answers.any()
    assert answers.all() or not bool(found.must)


def test_the_raster_index_of_a_place() -> None:
    grid = TokenGrid(frames=(0,), height=3, width=5)
    h, w = torch.arange(15) // 5, torch.arange(15) % 5
    assert Place(torch.tensor(0), h, w, grid).p.tolist() == list(range(15))


def test_a_range_has_no_single_truth() -> None:
    with pytest.raises(TypeError, match=r"use & \| ~ in place of and, or, not, if"):
        bool(span(range(3)) <= 1)
    with pytest.raises(TypeError, match="unsupported operand"):
        span(range(3)) * span(range(2))  # type: ignore[operator]
