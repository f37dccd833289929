"""Maps made from boxes say exactly what the definition of a pattern says of each pair of tokens."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.attention.examples import GRIDS, ORDERS, PATTERNS
from tests.attention.oracle import visible_LM
from vgen.attention.blocks import FULL, NONE, BlockMap
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Full, Pattern
from vgen.attention.place import Place
from vgen.attention.planning import block_map
from vgen.attention.radial import Radial
from vgen.attention.windows import InwardWindow, Window
from vgen.shapes import TokenGrid

CPU = torch.device("cpu")


def expected(pattern: Pattern, order: TokenOrder, query: TokenGrid, key: TokenGrid) -> Tensor:
    return visible_LM(pattern, query, key)[order.permutation(query)][:, order.permutation(key)]


def check(pattern: Pattern, query: TokenGrid, key: TokenGrid, block: int, order: TokenOrder) -> None:
    blocks = block_map(pattern, query, key, block=block, order=order, device=CPU)
    wanted = expected(pattern, order, query, key)
    assert blocks.dense()[0, 0].equal(wanted)
    some, every = by_block(wanted, blocks)
    state = blocks.state_BNUV[0, 0]
    assert not (some & (state == NONE)).any()
    assert not (~every & (state == FULL)).any()


def by_block(kept: Tensor, blocks: BlockMap) -> tuple[Tensor, Tensor]:
    """Whether some and whether all pairs of each block are kept."""
    pieces = [rows.split(_sizes(blocks.key_edges), 1) for rows in kept.split(_sizes(blocks.query_edges))]
    some = torch.tensor([[bool(piece.any()) for piece in row] for row in pieces])
    return some, torch.tensor([[bool(piece.all()) for piece in row] for row in pieces])


def _sizes(edges: tuple[int, ...]) -> list[int]:
    return torch.tensor(edges).diff().tolist()


@pytest.mark.parametrize("grids", GRIDS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_maps_are_exact(pattern: str, grids: str) -> None:
    query, key = GRIDS[grids]
    for order in (PATTERNS[pattern].orders()[0], *ORDERS):
        check(PATTERNS[pattern], query, key, 16, order)


@given(
    st.sampled_from(sorted(PATTERNS)),
    st.lists(st.integers(0, 12), min_size=1, max_size=5, unique=True),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 9), st.integers(0, 9)),
    st.integers(1, 40),
    st.sampled_from(ORDERS),
)
def test_maps_are_exact_on_any_grid(
    pattern: str, frames: list[int], sizes: tuple[int, int, int, int], block: int, order: TokenOrder
) -> None:
    height, width, before, after = sizes
    key = TokenGrid(frames=tuple(frames), height=height, width=width, text_before=before, text_after=after)
    query = TokenGrid(frames=key.frames[-2:], height=height, width=width, text_before=after)
    check(PATTERNS[pattern], query, key, block, order)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_block_is_read_in_vain(pattern: str) -> None:
    """In their own order, where a frame is some whole blocks, no pattern leaves open what is certain."""
    grid = TokenGrid(frames=tuple(range(6)), height=8, width=8)
    order = PATTERNS[pattern].orders()[0]
    blocks = block_map(PATTERNS[pattern], grid, grid, block=16, order=order, device=CPU)
    some, every = by_block(expected(PATTERNS[pattern], order, grid, grid), blocks)
    state = blocks.state_BNUV[0, 0]
    assert some.equal(state != NONE)
    assert every.equal(state == FULL)


def test_full_is_full_everywhere() -> None:
    grid = TokenGrid(frames=(0, 1, 2, 7), height=5, width=7, text_before=3, text_after=9)
    blocks = block_map(Full(), grid, grid, block=16, order=TokenOrder(2, 2, 2), device=CPU)
    assert (blocks.state_BNUV == FULL).all()
    assert blocks.dense().all() and blocks.density() == 1


def test_plans_are_remembered() -> None:
    grid = TokenGrid(frames=(0, 1), height=4, width=4)

    def ask(pattern: Pattern) -> BlockMap:
        return block_map(pattern, grid, grid, block=8, order=RASTER, device=CPU)

    assert ask(Radial()) is ask(Radial())
    assert ask(Radial(sink=0)) is not ask(Radial())


@pytest.mark.parametrize("frames", [3, 8])
def test_tiles_spare_work_of_windows(frames: int) -> None:
    """FreeSwim's window of 480x832 at 1088x1920, on short clips; 21 frames are a slow test."""
    grid = TokenGrid(frames=tuple(range(frames)), height=68, width=120)
    pattern = InwardWindow(rows=15, columns=26)
    raster, tiles = (
        block_map(pattern, grid, grid, block=128, order=order, device=CPU).density()
        for order in (RASTER, pattern.orders()[0])
    )
    assert raster == pytest.approx(0.481, abs=1.5e-3)
    assert raster / tiles >= 1.4


@pytest.mark.slow
def test_tiles_spare_work_of_windows_on_a_whole_clip() -> None:
    """research/attention.md has .481 for raster order, .384 for tiles of 8x16 and .328 for 16x8, of one frame."""
    grid = TokenGrid(frames=tuple(range(21)), height=68, width=120)
    pattern = InwardWindow(rows=15, columns=26)
    blocks = block_map(pattern, grid, grid, block=128, order=pattern.orders()[0], device=CPU)
    assert blocks.density() == pytest.approx(0.2533, abs=1e-4)


@pytest.mark.parametrize("tiles", [TokenOrder(1, 8, 16), TokenOrder(1, 16, 8)])
def test_tiles_of_one_frame_as_published(tiles: TokenOrder) -> None:
    grid = TokenGrid(frames=(0,), height=68, width=120)
    density = block_map(InwardWindow(rows=15, columns=26), grid, grid, block=128, order=tiles, device=CPU).density()
    assert density == pytest.approx({8: 0.384, 16: 0.328}[tiles.rows or 0], abs=2.5e-3)


@dataclass(frozen=True)
class Odd(Pattern):
    """Uses what tensors can do and ranges cannot."""

    how: str

    def keeps(self, query: Place, key: Place) -> Tensor:
        if self.how == "float":
            return (query.t.float() - key.t).square() < 4
        if self.how == "and":
            return (query.t <= key.t) and (query.h == key.h)
        if self.how == "product":
            return query.t * key.t > 3
        return torch.ones(1, dtype=torch.bool)

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER,)


@pytest.mark.parametrize(
    ("how", "why"),
    [("float", "no attribute 'float'"), ("and", "no single truth"), ("product", "unsupported"), ("none", "Tensor")],
)
def test_a_predicate_beyond_ranges_is_refused_with_what_is_possible(how: str, why: str) -> None:
    grid = TokenGrid(frames=(0, 1), height=4, width=4)
    with pytest.raises(TypeError, match=rf"how='{how}'.*{why}.*possible: \+ - and comparisons"):
        block_map(Odd(how), grid, grid, block=8, order=RASTER, device=CPU)


@given(st.sampled_from(sorted(PATTERNS)), st.sampled_from(sorted(PATTERNS)), st.sampled_from(sorted(GRIDS)))
def test_algebra(one: str, other: str, grids: str) -> None:
    first, second = PATTERNS[one], PATTERNS[other]
    query, key = GRIDS[grids]

    def kept(pattern: Pattern) -> Tensor:
        return block_map(pattern, query, key, block=16, order=RASTER, device=CPU).dense()

    both, either = kept(first & second), kept(first | second)
    assert both.equal(kept(first) & kept(second))
    assert either.equal(kept(first) | kept(second))
    assert both.equal(kept(second & first)) and either.equal(kept(second | first))
    assert kept(first & first).equal(kept(first)) and kept(first | first).equal(kept(first))
    assert kept(first & Full()).equal(kept(first)) and kept(first | Full()).equal(kept(Full()))
    assert kept(first & (first | second)).equal(kept(first))


def test_a_window_as_wide_as_the_grid_is_full() -> None:
    grid = TokenGrid(frames=(0, 1, 2), height=3, width=4)
    blocks = block_map(Window(frames=2, rows=2, columns=3), grid, grid, block=8, order=RASTER, device=CPU)
    assert blocks.dense().all() and blocks.density() == 1
