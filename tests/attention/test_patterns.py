"""What windows, causal windows, uniform frames and bands keep, by their papers."""

from dataclasses import replace
from math import ceil, log, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.attention.oracle import visible_LM
from vgen.attention.bands import TokenBand
from vgen.attention.blocks import NONE
from vgen.attention.counting import kept_pairs
from vgen.attention.cycles import PerHead, PerLayer
from vgen.attention.dual_scope import ClipWindow, dual_scope
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Full, Pattern
from vgen.attention.planning import block_map, order_of
from vgen.attention.temporal import CausalWindow, Sink, UniformFrames
from vgen.attention.windows import InwardWindow, SlidingTiles, Window, entropy_scale
from vgen.errors import ConfigError
from vgen.shapes import TokenGrid

CPU = torch.device("cpu")


def grid_of(frames: int, height: int = 1, width: int = 1) -> TokenGrid:
    return TokenGrid(frames=tuple(range(frames)), height=height, width=width)


def kept(pattern: Pattern, grid: TokenGrid) -> Tensor:
    return visible_LM(pattern, grid, grid)


def density(pattern: Pattern, grid: TokenGrid) -> float:
    return kept_pairs(pattern, grid, grid) / grid.tokens**2


def test_a_window_is_cut_off_at_borders() -> None:
    grid = grid_of(3, 4, 5)
    seen = kept(Window(frames=1, rows=1, columns=2), grid).view(3, 4, 5, 3, 4, 5)
    assert seen[0, 0, 0].nonzero().tolist() == [[t, h, w] for t in (0, 1) for h in (0, 1) for w in (0, 1, 2)]
    assert seen[1, 2, 2].sum() == 3 * 3 * 5


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 6), st.integers(0, 6))
def test_an_inward_window_has_one_size_and_holds_its_query(height: int, width: int, rows: int, columns: int) -> None:
    grid = grid_of(2, height, width)
    seen = kept(InwardWindow(rows=rows, columns=columns), grid)
    size = 2 * min(2 * rows + 1, height) * min(2 * columns + 1, width)
    assert (seen.sum(1) == size).all()
    assert seen.diagonal().all()


def test_an_inward_window_by_freeswims_own_rule() -> None:
    """y' from y - d - max(0, d + y - h + 1) to y + d + max(0, d - y), as far as there are rows."""
    height, d = 11, 3
    seen = kept(InwardWindow(rows=d, columns=0), grid_of(1, height, 1))
    for y in range(height):
        low, high = y - d - max(0, d + y - height + 1), y + d + max(0, d - y)
        assert seen[y].nonzero().flatten().tolist() == list(range(max(low, 0), min(high + 1, height)))


def test_freeswims_window_keeps_what_is_published() -> None:
    assert density(InwardWindow(rows=15, columns=26), grid_of(1, 68, 120)) == 31 * 53 / (68 * 120)


def test_freeswims_scale() -> None:
    assert entropy_scale(128, native_keys=1560) == pytest.approx(sqrt(log(2 * 1560, 1560) / 128))
    assert entropy_scale(128, native_keys=1560) * sqrt(128) == pytest.approx(1.046, abs=5e-4)
    assert entropy_scale(64, native_keys=100, keys=100) == 64**-0.5


@pytest.mark.parametrize(
    ("reach", "share"), [((1, 1, 1), 0.09), ((1, 1, 2), 0.15), ((2, 1, 1), 0.15), ((1, 0, None), 0.1)]
)
def test_sliding_tiles_keep_what_is_published(reach: tuple[int, int, int | None], share: float) -> None:
    """30x48x80 tokens in 5x6x10 tiles: windows (3,3,3), (3,3,5), (5,3,3), (3,1,10)."""
    grid, pattern = grid_of(30, 48, 80), SlidingTiles(frames=reach[0], rows=reach[1], columns=reach[2])
    blocks = block_map(pattern, grid, grid, block=128, order=pattern.orders()[0], device=CPU)
    assert blocks.density() == pytest.approx(share)
    assert blocks.mask is None, "whole tiles make whole blocks"


def test_sliding_tiles_by_the_papers_rule() -> None:
    """A tile is kept where |clamp(q, k // 2, T - 1 - k // 2) - tile| <= k // 2 on each axis, T tiles long."""
    grid, pattern = grid_of(5, 6, 9), SlidingTiles(frames=1, rows=0, columns=1, tile=TokenOrder(1, 2, 2))
    seen = kept(pattern, grid).view(5, 6, 9, 5, 6, 9)

    def near(query: int, key: int, window: int, tiles: int) -> bool:
        return abs(min(max(query, window // 2), tiles - 1 - window // 2) - key) <= window // 2

    for t, h, w, s, y, x in torch.cartesian_prod(*[torch.arange(n) for n in (5, 6, 9, 5, 6, 9)])[::7].tolist():
        wanted = near(t, s, 3, 5) and near(h // 2, y // 2, 1, 3) and near(w // 2, x // 2, 3, 5)
        assert bool(seen[t, h, w, s, y, x]) == wanted


@pytest.mark.parametrize(("window", "share"), [(None, 0.571), (12, 0.449)])
def test_chunks_keep_what_is_published(window: int | None, share: float) -> None:
    assert density(CausalWindow(chunk=3, window=window), grid_of(21)) == pytest.approx(share, abs=5e-4)


@given(st.integers(1, 4), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 5)), st.integers(0, 3))
def test_a_causal_window_by_its_words(chunk: int, lead: int, more: int | None, sink: int) -> None:
    lead, window = min(lead, chunk), None if more is None else chunk + more
    seen = kept(CausalWindow(chunk=chunk, window=window, sink=sink, lead=lead), grid_of(14))
    chunks = [range(0, lead)] * (lead > 0) + [range(start, start + chunk) for start in range(lead, 14, chunk)]
    for query in range(14):
        end = next(own for own in chunks if query in own).stop
        for key in range(14):
            recent = window is None or key >= end - window
            assert bool(seen[query, key]) == (key < end and (recent or key < sink))
    assert seen.diagonal().all()


def test_a_causal_map_reads_no_block_of_the_future() -> None:
    grid = grid_of(12, 4, 4)
    blocks = block_map(CausalWindow(chunk=3, sink=1), grid, grid, block=16, order=RASTER, device=CPU)
    chunk = torch.arange(12) // 3
    assert (blocks.state_BNUV[0, 0][chunk[:, None] < chunk] == NONE).all()


def test_a_sink_is_seen_from_everywhere() -> None:
    seen = kept(CausalWindow(chunk=1, window=2) | Sink(2), grid_of(6))
    assert seen.int().tolist()[4] == [1, 1, 0, 1, 1, 0]


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 9))
def test_uniform_frames_are_at_even_distances(count: int, extent: int, first: int) -> None:
    frames = tuple(range(first, first + extent))
    grid = TokenGrid(frames=frames, height=1, width=1)
    seen = visible_LM(UniformFrames(count), grid, grid)
    wanted = {first + i * extent // count for i in range(count)}
    assert {frames[i] for i in seen[0].nonzero().flatten().tolist()} == wanted
    assert len(wanted) == min(count, extent)
    assert (seen == seen[0]).all()


def test_dual_scope_sees_near_and_from_everywhere() -> None:
    seen = kept(dual_scope(reach=1, count=3), grid_of(12))
    assert seen[6].nonzero().flatten().tolist() == [0, 4, 5, 6, 7, 8]


def test_dual_scope_of_clips_sees_its_clip_a_few_frames_around_it_and_from_everywhere() -> None:
    seen = kept(dual_scope(reach=1, count=2, clips=3), grid_of(10))  # clips of 4, 3 and 3 frames
    rows = [row.nonzero().flatten().tolist() for row in seen]
    assert rows[:4] == [[0, 1, 2, 3, 4, 5]] * 4
    assert rows[4:7] == [[0, 3, 4, 5, 6, 7]] * 3
    assert rows[7:] == [[0, 5, 6, 7, 8, 9]] * 3


@given(st.integers(1, 24), st.integers(1, 9), st.integers(0, 5), st.integers(0, 9))
def test_clips_hold_each_frame_once_and_see_as_far_as_they_reach(
    extent: int, clips: int, reach: int, first: int
) -> None:
    grid = TokenGrid(frames=tuple(range(first, first + extent)), height=1, width=1)
    own = kept(ClipWindow(clips=clips, reach=0), grid)
    assert (own == own.T).all() and own.diagonal().all()  # parts: each frame is in one
    assert ((own.float() @ own.float() > 0) == own).all()
    sizes = own.sum(1)
    assert sizes.max() - sizes.min() <= 1
    assert len(own.unique(dim=0)) == min(clips, extent)
    step = torch.arange(extent)
    around = (step[:, None] - step).abs() <= reach
    assert (kept(ClipWindow(clips=clips, reach=reach), grid) == (own.float() @ around.float() > 0)).all()


@given(st.integers(1, 12), st.integers(0, 5))
def test_one_clip_sees_all_and_a_clip_per_frame_is_a_window(extent: int, reach: int) -> None:
    grid = grid_of(extent)
    assert kept(ClipWindow(clips=1, reach=reach), grid).all()
    assert (kept(ClipWindow(clips=extent, reach=reach), grid) == kept(Window(frames=reach), grid)).all()


@pytest.mark.parametrize("along", ["space", "time"])
@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_a_band_keeps_its_share(along: str, share: float) -> None:
    grid = grid_of(8, 5, 6)
    assert density(TokenBand(along=along, density=share), grid) == pytest.approx(share, abs=0.01)  # type: ignore[arg-type]


def test_bands_are_bands_of_their_own_order() -> None:
    grid = grid_of(6, 3, 4)
    width = ceil(grid.tokens * (1 - sqrt(0.7)))
    for along in ("space", "time"):
        pattern = TokenBand(along=along, density=0.3)
        there = pattern.orders()[0].permutation(grid)
        position = torch.arange(grid.tokens)
        wanted = (position[:, None] - position).abs() <= width
        assert kept(pattern, grid)[there][:, there].equal(wanted)


def test_joined_patterns_try_the_orders_of_both_and_set_the_sink_apart() -> None:
    tiles, sink = TokenOrder(None, 4, 4), Sink(2)
    joined = (InwardWindow(rows=1, columns=1, tiles=tiles) | sink).orders()
    assert set(joined) == {tiles, replace(tiles, lead=2), RASTER, TokenOrder(lead=2)}
    pattern, grid = InwardWindow(rows=4, columns=4, tiles=tiles) | sink, grid_of(10, 30, 52)
    best = order_of(pattern, grid, grid, block=128)
    density = {
        order: block_map(pattern, grid, grid, block=128, order=order, device=CPU).density()
        for order in pattern.orders()
    }
    assert best.lead == 2 and density[best] == min(density.values()) < 0.7 * density[tiles]


def test_cycles() -> None:
    window, sink = Window(frames=1), Sink(1)
    heads = PerHead((window, sink, Window(frames=1)))
    assert heads.groups(5) == {window: [0, 2, 3], sink: [1, 4]}
    layers = PerLayer((heads, Full()))
    assert [layers.of(layer) for layer in range(3)] == [heads, Full(), heads]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Window(), "at least one of them"),
        (lambda: Window(frames=-1), "window: frames=-1 .* 0 and more"),
        (lambda: InwardWindow(rows=-1, columns=2), "inward: rows=-1"),
        (lambda: SlidingTiles(columns=-2), "tiles: columns=-2"),
        (lambda: CausalWindow(chunk=0), "causal: chunk=0 .* 1 frame and more"),
        (lambda: CausalWindow(chunk=3, window=2), "causal: window=2 .* 3 frames"),
        (lambda: CausalWindow(sink=-1), "causal: sink=-1"),
        (lambda: CausalWindow(chunk=2, lead=3), "causal: lead=3 .* 0 to 2 frames"),
        (lambda: Sink(0), "sink: frames=0"),
        (lambda: UniformFrames(0), "uniform: count=0"),
        (lambda: TokenBand(along="up"), "band: along='up' .* space, time"),  # type: ignore[arg-type]
        (lambda: TokenBand(density=1.5), "band: density=1.5 .* above 0, at most 1"),
        (lambda: PerHead(()), "per_head: of no pattern"),
        (lambda: PerLayer(()), "per_layer: of no pattern"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(make: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()  # type: ignore[operator]
