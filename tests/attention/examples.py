"""Patterns and grids that many tests go through."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.attention.bands import TokenBand
from vgen.attention.dual_scope import dual_scope
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Full, Pattern
from vgen.attention.place import Place, lookup
from vgen.attention.radial import Radial
from vgen.attention.temporal import CausalWindow, Sink, UniformFrames
from vgen.attention.windows import InwardWindow, SlidingTiles, Window
from vgen.shapes import TokenGrid

__all__ = ["GRIDS", "ORDERS", "PATTERNS"]


@dataclass(frozen=True, slots=True)
class ByTable(Pattern):
    """How far a query sees in rows is looked up by its column."""

    def keeps(self, query: Place, key: Place) -> Tensor:
        reach = lookup(torch.tensor([0, 3, 1, 0, 2, 5, 1]), query.w % 7)
        return abs(query.h - key.h) <= reach

    def orders(self) -> tuple[TokenOrder, ...]:
        return (TokenOrder(None, 4, 1),)


PATTERNS: dict[str, Pattern] = {
    "full": Full(),
    "radial": Radial(min_reach=4),
    "radial half, no sink": Radial(decay=0.6, adjacent="half", sink=0, min_reach=16),
    "time": Window(frames=2),
    "space": Window(rows=2, columns=1),
    "cuboid": Window(frames=1, rows=2, columns=3),
    "inward": InwardWindow(rows=2, columns=3),
    "tiles": SlidingTiles(tile=TokenOrder(2, 3, 4)),
    "tiles, all time": SlidingTiles(frames=None, rows=0, columns=1, tile=TokenOrder(2, 2, 3)),
    "causal": CausalWindow(),
    "causal chunks": CausalWindow(chunk=3, window=4, sink=1, lead=1),
    "sink": Sink(2),
    "uniform": UniformFrames(3),
    "dual scope": dual_scope(reach=1, count=2),
    "dual scope of clips": dual_scope(reach=1, count=2, clips=3),
    "spatial band": TokenBand(along="space", density=0.3),
    "temporal band": TokenBand(along="time", density=0.3),
    "by a table": ByTable(),
    "joined": Window(frames=0, rows=9, columns=9) | Radial(min_reach=2) & CausalWindow(chunk=2),
}

ORDERS = (
    RASTER,
    TokenOrder(1, 4, 4),
    TokenOrder(2, 3, 5, lead=1),
    TokenOrder(None, 1, 1),
    TokenOrder(None, 4, 4, lead=2),
)


def _grid(frames: tuple[int, ...], height: int = 7, width: int = 9, before: int = 0, after: int = 0) -> TokenGrid:
    return TokenGrid(frames=frames, height=height, width=width, text_before=before, text_after=after)


GRIDS: dict[str, tuple[TokenGrid, TokenGrid]] = {
    "a clip": (_grid((0, 1, 2, 3, 4, 5)), _grid((0, 1, 2, 3, 4, 5))),
    "one frame": (_grid((3,)), _grid((3,))),
    "text": (_grid((0, 1, 2), before=3, after=20), _grid((0, 1, 2), before=2, after=33)),
    "cached context": (_grid((9, 10)), _grid((0, 1, 5, 6, 7, 8, 9, 10))),
    "slots of a ring": (_grid((8, 9), 3, 5, after=1), _grid((0, 6, 7, 4, 5, 8, 9), 3, 5, after=1)),
}
