"""Counts of kept pairs, without looking at all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attention.examples import GRIDS, PATTERNS
from tests.attention.oracle import visible_LM
from vgen.attention import counting
from vgen.attention.counting import kept_pairs
from vgen.attention.radial import Radial
from vgen.attention.windows import InwardWindow
from vgen.shapes import TokenGrid


@pytest.mark.parametrize("grids", GRIDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_counts_are_exact(pattern: str, grids: str) -> None:
    query, key = GRIDS[grids]
    assert kept_pairs(PATTERNS[pattern], query, key) == int(visible_LM(PATTERNS[pattern], query, key).sum())


@given(
    st.sampled_from(sorted(PATTERNS)),
    st.lists(st.integers(0, 12), min_size=1, max_size=6, unique=True),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3)),
)
def test_counts_are_exact_on_any_grid(pattern: str, frames: list[int], sizes: tuple[int, int, int, int]) -> None:
    height, width, before, after = sizes
    key = TokenGrid(frames=tuple(frames), height=height, width=width, text_before=before, text_after=after)
    query = TokenGrid(frames=key.frames[-2:], height=height, width=width, text_before=after)
    assert kept_pairs(PATTERNS[pattern], query, key) == int(visible_LM(PATTERNS[pattern], query, key).sum())


@pytest.mark.parametrize(("pattern", "most"), [(Radial(), 20), (InwardWindow(rows=2, columns=2), 1)])
def test_frame_pairs_of_one_kind_are_counted_once(
    pattern: Radial | InwardWindow, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, between = [], counting._between
    monkeypatch.setattr(counting, "_between", lambda *args: calls.append(args) or between(*args))  # type: ignore[func-returns-value]
    grid = TokenGrid(frames=tuple(range(40)), height=5, width=6)
    kept_pairs(pattern, grid, grid)
    assert 1 <= len(calls) <= most
