"""In which order the video tokens stand while attention is computed, and what boxes of tokens a block of them covers.

Blocks of neighbouring tokens in raster order are long thin rows; in tiles they are compact, and fewer of them touch a
window. Every order here is one of tiles: raster, frames, patches over all time (VMoBA's 2-D partition), cuboids (3-D),
or all frames of one position together (Sparse VideoGen's temporal heads). Ragged tiles at the ends are packed without
padding. Text keeps its place in front and behind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product
from math import prod

import torch
from torch import Tensor

from vgen.shapes import TokenGrid

__all__ = ["COMMON", "RASTER", "Box", "TokenOrder"]


@dataclass(frozen=True, slots=True)
class Box:
    """A box of video tokens: positions in the grid from `low` up to `high`, excluded, along (frame, row, column)."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """Tiles of frames x rows x columns, in raster order and in themselves in raster order.

    Args:
        frames, rows, columns: size of a tile; the whole axis where None.
        lead: so many leading frames are cut into tiles of their own, so that a sink does not stand in every tile.
    """

    frames: int | None = None
    rows: int | None = None
    columns: int | None = None
    lead: int = 0

    def __post_init__(self) -> None:
        sizes = (self.frames, self.rows, self.columns)
        assert all(size is None or size >= 1 for size in sizes), f"a tile has at least one token, got {sizes}"
        assert self.lead >= 0, f"a number of frames is at least 0, got {self.lead}"

    def is_raster(self, grid: TokenGrid) -> bool:
        """Whether tokens keep their places."""
        return _is_raster(self, grid)

    def permutation(self, grid: TokenGrid) -> Tensor:
        """Index of the token, counted over the whole sequence, that stands at each position; int64 [L], on the CPU."""
        return _permutation(self, grid)

    def inverse(self, grid: TokenGrid) -> Tensor:
        """Position of each token; int64 [L], on the CPU."""
        return torch.argsort(self.permutation(grid))

    def edges(self, grid: TokenGrid) -> tuple[int, ...]:
        """Positions at which tiles begin, and the end of the last; text in front and behind is a tile of its own."""
        sizes = [grid.text_before, *map(_size, self.tiles(grid)), grid.text_after]
        return (0, *accumulate(size for size in sizes if size))

    def boxes(self, grid: TokenGrid, edges: Sequence[int]) -> list[list[Box]]:
        """The boxes that the video tokens of each block fill, without overlap.

        Args:
            grid: the lattice.
            edges: positions at which blocks begin, and the end of the last; over the whole sequence, text included.
        """
        found: list[list[Box]] = [[] for _ in edges[1:]]
        block, start = 0, grid.text_before
        for tile in self.tiles(grid):
            stop = start + _size(tile)
            while edges[block + 1] <= start:
                block += 1
            covered = block
            while covered < len(found) and edges[covered] < stop:
                within = max(edges[covered], start) - start, min(edges[covered + 1], stop) - start
                for piece in _slice(tile, *within):
                    _append(found[covered], piece)
                covered += 1
            start = stop
        return found

    def tiles(self, grid: TokenGrid) -> Iterator[Box]:
        """The tiles, in their order."""
        last = len(grid.frames)
        for first, end in ((0, min(self.lead, last)), (self.lead, last)):
            starts = (
                range(low, high, size or max(high, 1))
                for low, high, size in (
                    (first, end, self.frames),
                    (0, grid.height, self.rows),
                    (0, grid.width, self.columns),
                )
            )
            for t, h, w in product(*starts):
                yield Box(
                    (t, h, w),
                    (
                        min(t + (self.frames or end), end),
                        min(h + (self.rows or grid.height), grid.height),
                        min(w + (self.columns or grid.width), grid.width),
                    ),
                )


RASTER = TokenOrder()
# worth trying for what is local in space: patches over all frames, and cuboids, of 128 tokens where frames are as many
COMMON = (
    TokenOrder(None, 4, 4),
    TokenOrder(2, 8, 8),
    TokenOrder(4, 4, 8),
    TokenOrder(1, 8, 16),
    TokenOrder(1, 16, 8),
    RASTER,
)


@lru_cache(maxsize=32)
def _permutation(order: TokenOrder, grid: TokenGrid) -> Tensor:
    index_THW = torch.arange(grid.video_tokens).view(len(grid.frames), grid.height, grid.width)
    pieces = [index_THW[tuple(map(slice, box.low, box.high))].flatten() for box in order.tiles(grid)]
    video = torch.cat(pieces) + grid.text_before
    before, after = torch.arange(grid.text_before), torch.arange(grid.tokens - grid.text_after, grid.tokens)
    return torch.cat((before, video, after))


@lru_cache(maxsize=32)
def _is_raster(order: TokenOrder, grid: TokenGrid) -> bool:
    return torch.equal(_permutation(order, grid), torch.arange(grid.tokens))


def _size(box: Box) -> int:
    return prod(high - low for low, high in zip(box.low, box.high, strict=True))


def _slice(box: Box, start: int, stop: int) -> Iterator[Box]:
    """The tokens start..stop-1 of a box in raster order, as at most five boxes."""
    if start >= stop:
        return
    (t0, h0, w0), (_, h1, w1) = box.low, box.high
    width, area = w1 - w0, (h1 - h0) * (w1 - w0)
    while start < stop:
        t, inside = divmod(start, area)
        h, w = divmod(inside, width)
        if inside == 0 and stop - start >= area:  # whole frames
            count = (stop - start) // area
            yield Box((t0 + t, h0, w0), (t0 + t + count, h1, w1))
            start += count * area
        elif w == 0 and stop - start >= width:  # whole rows of one frame
            count = min((stop - start) // width, h1 - h0 - h)
            yield Box((t0 + t, h0 + h, w0), (t0 + t + 1, h0 + h + count, w1))
            start += count * width
        else:  # a part of a row
            count = min(stop - start, width - w)
            yield Box((t0 + t, h0 + h, w0 + w), (t0 + t + 1, h0 + h + 1, w0 + w + count))
            start += count


def _append(boxes: list[Box], box: Box) -> None:
    """Adds a box, or widens the last one where the two are neighbours in a row of boxes of one height and depth."""
    if boxes:
        last = boxes[-1]
        joined = last.low[:2] == box.low[:2] and last.high[:2] == box.high[:2] and last.high[2] == box.low[2]
        if joined:
            boxes[-1] = Box(last.low, box.high)
            return
    boxes.append(box)
