"""In which order the video tokens stand while attention is computed, and what boxes of tokens a block of them covers.

Blocks of neighbouring tokens in raster order are long thin rows; in tiles they are compact, and fewer of them touch a
window. Every order here is one of tiles: raster, frames, patches over all time (VMoBA's 2-D partition), cuboids (3-D),
or all frames of one position together (Sparse VideoGen's temporal heads). Ragged tiles at the ends are packed without
padding. Text keeps its place in front and behind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import torch
from torch import Tensor

from vgen.shapes import TokenGrid

__all__ = ["RASTER", "Box", "TokenOrder"]


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
    """

    frames: int | None = None
    rows: int | None = None
    columns: int | None = None

    def __post_init__(self) -> None:
        sizes = (self.frames, self.rows, self.columns)
        assert all(size is None or size >= 1 for size in sizes), f"a tile has at least one token, got {sizes}"

    def is_raster(self, grid: TokenGrid) -> bool:
        """Whether tokens keep their places: no tile is narrower than an axis in front of which another is cut."""
        frames, rows, columns = self._tile(grid)
        one_frame, one_row = frames == 1 or len(grid.frames) == 1, rows == 1 or grid.height == 1
        if columns < grid.width:
            return one_frame and one_row
        return rows == grid.height or one_frame

    def permutation(self, grid: TokenGrid) -> Tensor:
        """Index of the token, counted over the whole sequence, that stands at each position; int64 [L], on the CPU."""
        return _permutation(self._tile(grid), grid)

    def inverse(self, grid: TokenGrid) -> Tensor:
        """Position of each token; int64 [L], on the CPU."""
        return torch.argsort(self.permutation(grid))

    def boxes(self, grid: TokenGrid, edges: Sequence[int]) -> list[list[Box]]:
        """The boxes that the video tokens of each block fill, without overlap.

        Args:
            grid: the lattice.
            edges: positions at which blocks begin, and the end of the last; over the whole sequence, text included.
        """
        found: list[list[Box]] = [[] for _ in edges[1:]]
        block, start = 0, grid.text_before
        for tile in _tiles(grid, self._tile(grid)):
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

    def _tile(self, grid: TokenGrid) -> tuple[int, int, int]:
        axes = (len(grid.frames), grid.height, grid.width)
        asked = (self.frames, self.rows, self.columns)
        return tuple(min(size or axis, axis) for size, axis in zip(asked, axes, strict=True))  # type: ignore[return-value]


RASTER = TokenOrder()


@lru_cache(maxsize=32)
def _permutation(tile: tuple[int, int, int], grid: TokenGrid) -> Tensor:
    index_THW = torch.arange(grid.video_tokens).view(len(grid.frames), grid.height, grid.width)
    pieces = [index_THW[tuple(map(slice, box.low, box.high))].flatten() for box in _tiles(grid, tile)]
    video = torch.cat(pieces) + grid.text_before
    before, after = torch.arange(grid.text_before), torch.arange(grid.tokens - grid.text_after, grid.tokens)
    return torch.cat((before, video, after))


def _tiles(grid: TokenGrid, tile: tuple[int, int, int]) -> Iterator[Box]:
    axes = (len(grid.frames), grid.height, grid.width)
    for low in product(*(range(0, axis, size) for axis, size in zip(axes, tile, strict=True))):
        high = tuple(min(at + size, axis) for at, size, axis in zip(low, tile, axes, strict=True))
        yield Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))


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
