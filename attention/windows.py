"""Sliding windows over time, rows and columns.

Near a border a `Window` is cut off; an `InwardWindow` and `SlidingTiles` are pushed inward, so that every query sees
equally many keys. They are computed in tiles, because a block of 128 tokens in raster order is a long thin row, and
touches far more of what lies around it than a compact one. Tiles follow the window: where it spans all frames, a tile
of 4x4 positions over all frames is smaller in space than any within one frame. FreeSwim's window on 21 frames of 68x120
tokens, .201 of all pairs, costs .253 of dense then, against .481 in raster order and .383 in tiles of 16x8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import log
from operator import and_

from torch import Tensor

from vgen.attention.order import COMMON, RASTER, TokenOrder
from vgen.attention.pattern import Full, Pattern, require
from vgen.attention.place import Coordinate, Place

__all__ = ["InwardWindow", "SlidingTiles", "Window", "entropy_scale"]

STA_TILE = TokenOrder(6, 8, 8)  # the paper's: three blocks of 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Pattern):
    """A token sees the tokens around it, as far as each axis allows.

    Args:
        frames, rows, columns: how far to each side; at least 0; the whole axis where None, which not all may be.
        tiles: order of computation; the best of some where None.
    """

    frames: int | None = None
    rows: int | None = None
    columns: int | None = None
    tiles: TokenOrder | None = None

    def __post_init__(self) -> None:
        reaches = _named(self.frames, self.rows, self.columns)
        for name, reach in reaches.items():
            require(reach >= 0, f"window: {name}={reach}", "0 and more, or all")
        require(bool(reaches), "window: without frames, rows and columns", "at least one of them, such as frames=4")

    def keeps(self, query: Place, key: Place) -> Tensor:
        axes = (self.frames, query.t, key.t), (self.rows, query.h, key.h), (self.columns, query.w, key.w)
        return _all([abs(q - k) <= reach for reach, q, k in axes if reach is not None], query, key)

    def orders(self) -> tuple[TokenOrder, ...]:
        if self.tiles is not None:
            return (self.tiles,)
        return (RASTER,) if self.rows is None and self.columns is None else COMMON


@dataclass(frozen=True, slots=True, kw_only=True)
class InwardWindow(Pattern):
    """A window in space over all frames, pushed inward at borders, so that every query sees equally many keys.

    FreeSwim (Wu et al. 2025, arXiv:2511.14712) takes a model's native size for the window and runs it on larger
    pictures, untrained.

    Args:
        rows, columns: how far to each side; at least 0; 15 and 26 for a model of 30x52 tokens per frame (480x832).
        tiles: order of computation; the best of some where None.
    """

    rows: int
    columns: int
    tiles: TokenOrder | None = None

    def __post_init__(self) -> None:
        for name, reach in (("rows", self.rows), ("columns", self.columns)):
            require(reach >= 0, f"inward: {name}={reach}", "0 and more")

    def keeps(self, query: Place, key: Place) -> Tensor:
        near = [
            *_inward(query.h, key.h, self.rows, 0, key.grid.height - 1),
            *_inward(query.w, key.w, self.columns, 0, key.grid.width - 1),
        ]
        return _all(near, query, key)

    def orders(self) -> tuple[TokenOrder, ...]:
        return COMMON if self.tiles is None else (self.tiles,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidingTiles(Pattern):
    """A window of whole tiles around the query's own, pushed inward: Sliding Tile Attention (Zhang et al. 2025,
    arXiv:2502.04507). All its blocks are whole where tiles are.

    Args:
        frames, rows, columns: how many tiles to each side; at least 0; the whole axis where None. The paper's window
            (3, 3, 5) is 1, 1, 2.
        tile: what a tile is.
    """

    frames: int | None = 1
    rows: int | None = 1
    columns: int | None = 1
    tile: TokenOrder = STA_TILE

    def __post_init__(self) -> None:
        for name, reach in _named(self.frames, self.rows, self.columns).items():
            require(reach >= 0, f"tiles: {name}={reach}", "0 tiles and more, or all")

    def keeps(self, query: Place, key: Place) -> Tensor:
        first, last = min(key.grid.frames), max(key.grid.frames)
        axes = (
            (query.t, key.t, self.tile.frames, self.frames, first, last),
            (query.h, key.h, self.tile.rows, self.rows, 0, key.grid.height - 1),
            (query.w, key.w, self.tile.columns, self.columns, 0, key.grid.width - 1),
        )
        near: list[Tensor] = []
        for q, k, size, reach, low, high in axes:
            if size is not None and reach is not None:
                near += _inward(q // size, k // size, reach, low // size, high // size)
        return _all(near, query, key)

    def orders(self) -> tuple[TokenOrder, ...]:
        return (self.tile,)


def entropy_scale(head_width: int, *, native_keys: int, keys: int | None = None) -> float:
    """Scale of the logits for more keys than a model was trained with: sqrt(log(keys) / log(native_keys) / head_width).

    It keeps the entropy of attention (Jin et al. 2023, arXiv:2306.08645). FreeSwim takes native_keys for the
    tokens of one frame, and keys for twice as many, which is the default.
    """
    assert native_keys >= 2, f"attention over at least two keys, got {native_keys}"
    return (log(keys or 2 * native_keys) / log(native_keys) / head_width) ** 0.5


def _named(frames: int | None, rows: int | None, columns: int | None) -> dict[str, int]:
    reaches = {"frames": frames, "rows": rows, "columns": columns}
    return {name: reach for name, reach in reaches.items() if reach is not None}


def _inward(query: Coordinate, key: Coordinate, reach: int, low: int, high: int) -> list[Tensor]:
    """That a key lies in the query's window on an axis from `low` to `high`; nothing to ask where that is all of it."""
    if 2 * reach >= high - low:
        return []
    return [abs(query.clamp(low + reach, high - reach) - key) <= reach]


def _all(near: Sequence[Tensor], query: Place, key: Place) -> Tensor:
    return reduce(and_, near) if near else Full().keeps(query, key)
