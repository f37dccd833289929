"""Orders of tokens are permutations, and the boxes of a block are its tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vgen.attention.blocks import edges_of
from vgen.attention.order import TokenOrder
from vgen.shapes import TokenGrid

SIDES = st.one_of(st.none(), st.integers(1, 6))
ORDERS = st.builds(TokenOrder, SIDES, SIDES, SIDES, st.integers(0, 3))
GRIDS = st.builds(
    lambda frames, height, width, before, after: TokenGrid(
        frames=tuple(range(frames)), height=height, width=width, text_before=before, text_after=after
    ),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(0, 4),
)


@given(ORDERS, GRIDS)
def test_the_inverse_leads_back(order: TokenOrder, grid: TokenGrid) -> None:
    there, back = order.permutation(grid), order.inverse(grid)
    assert there[back].equal(torch.arange(grid.tokens))
    assert back[there].equal(torch.arange(grid.tokens))


@given(ORDERS, GRIDS)
def test_text_keeps_its_place(order: TokenOrder, grid: TokenGrid) -> None:
    there, tokens = order.permutation(grid), torch.arange(grid.tokens)
    text = torch.ones(grid.tokens, dtype=torch.bool)
    text[grid.text_before : grid.text_before + grid.video_tokens] = False
    assert there[text].equal(tokens[text])


@given(ORDERS, GRIDS)
def test_raster_is_known_as_such(order: TokenOrder, grid: TokenGrid) -> None:
    assert order.is_raster(grid) == order.permutation(grid).equal(torch.arange(grid.tokens))


@given(ORDERS, GRIDS, st.integers(1, 20))
def test_boxes_hold_each_token_of_their_block_once(order: TokenOrder, grid: TokenGrid, block: int) -> None:
    edges = edges_of(grid.tokens, block)
    index = torch.arange(grid.video_tokens).view(len(grid.frames), grid.height, grid.width) + grid.text_before
    there = order.permutation(grid)
    for number, boxes in enumerate(order.boxes(grid, edges)):
        held = [index[tuple(map(slice, box.low, box.high))].flatten() for box in boxes]
        tokens = torch.cat([*held, torch.empty(0, dtype=torch.int64)])
        expected = there[edges[number] : edges[number + 1]]
        video = (expected >= grid.text_before) & (expected < grid.text_before + grid.video_tokens)
        assert tokens.sort().values.equal(expected[video].sort().values)


def test_a_tile_is_a_run_of_positions() -> None:
    grid = TokenGrid(frames=(0, 1), height=4, width=6, text_before=1)
    first = TokenOrder(1, 2, 3).permutation(grid)[:7]
    assert first.tolist() == [0, 1, 2, 3, 7, 8, 9]


def test_all_frames_of_a_position_stand_together() -> None:
    grid = TokenGrid(frames=(4, 5, 6), height=2, width=2)
    assert TokenOrder(None, 1, 1).permutation(grid).tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_a_tile_has_tokens() -> None:
    with pytest.raises(AssertionError, match="at least one token"):
        TokenOrder(1, 0, 2)
