"""Radial Attention (Li et al. 2025, arXiv:2506.19852): the further two frames are apart, the narrower the band between
them, in all O(n log n) pairs.

`Radial` is exact to the token, on any grid. `RadialBlocks` is the coarse rule of the published code, which keeps or
drops whole blocks.

Letter here: `R` kinds of frames, by how far a band reaches.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from typing import Literal

import torch
from torch import Tensor

from vgen.attention.blocks import FULL, NONE, BlockMap, edges_of
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import BlockPattern, Pattern, require
from vgen.attention.place import Place
from vgen.shapes import TokenGrid

__all__ = ["Band", "Radial", "RadialBlocks"]


@dataclass(frozen=True, slots=True)
class Band:
    """Of frames that are `first` to `last` apart, each `every`-th: tokens at most `reach` apart see each other.

    Distances of frames in latent frames, both ends included; of tokens by their raster index within the frame.
    """

    first: int
    last: int
    every: int
    reach: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Radial(Pattern):
    """Bands that halve in width each time the distance in time doubles; the frame itself and a sink are whole.

    Args:
        decay: width of the bands of frames at least two apart, over P / 2^g for a distance of g bits, where P is the
            power of two above the tokens per frame; above 0.
        adjacent: neighbouring frames see each other in full, or within half a frame.
        sink: leading frames that every query sees; at least 0.
        min_reach: half of a band's width is at least this, in tokens; where P / 2^g falls under it, frames are skipped
            instead. At least 1.
    """

    decay: float = 0.2
    adjacent: Literal["full", "half"] = "full"
    sink: int = 1
    min_reach: int = 128

    def __post_init__(self) -> None:
        require(isfinite(self.decay) and self.decay > 0, f"radial: decay={self.decay}", "above 0")
        require(self.adjacent in ("full", "half"), f"radial: adjacent={self.adjacent!r}", "full, half")
        require(self.sink >= 0, f"radial: sink={self.sink}", "0 frames and more")
        require(self.min_reach >= 1, f"radial: min_reach={self.min_reach}", "1 token and more")

    def keeps(self, query: Place, key: Place) -> Tensor:
        apart, beside = abs(query.t - key.t), abs(query.p - key.p)
        kept = key.t < self.sink
        for band in self.bands(key.grid.tokens_per_frame, _farthest(query.grid, key.grid)):
            near = (apart >= band.first) & (apart <= band.last) & (beside <= band.reach)
            kept = kept | (near if band.every == 1 else near & (apart % band.every == 0))
        return kept

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER,)

    def bands(self, tokens_per_frame: int, farthest: int) -> list[Band]:
        """The bands of frames 0 to at least `farthest` apart, neighbours of one kind joined."""
        power = 1 << tokens_per_frame.bit_length()
        beside = tokens_per_frame if self.adjacent == "full" else tokens_per_frame // 2
        found = [Band(0, 0, 1, tokens_per_frame), Band(1, 1, 1, beside)]
        first = 2
        while first <= farthest:
            width = power / 2 ** first.bit_length()
            every = max(1, int(self.min_reach / width))
            reach = min(max(int(self.decay * width), self.min_reach), tokens_per_frame)
            found.append(Band(first, 2 * first - 1, every, reach))
            first *= 2
        return _joined(found)


@dataclass(frozen=True, slots=True)
class RadialBlocks(BlockPattern):
    """Whole blocks of `Radial`: one is kept where more than .6 of the columns that the pattern touches in it are filled
    to more than a third; computed in full then.

    The rule of the published code, and its result where a frame is a whole number of blocks. Elsewhere that code judges
    each pair of frames by itself and leaves the last tokens out; here a block is judged as a whole and the last one may
    be short. Queries that would keep nothing keep every block that the pattern touches. Blocks with text are kept.
    """

    radial: Radial

    def blocks(self, query: TokenGrid, key: TokenGrid, *, block: int, device: torch.device) -> BlockMap:
        return _whole_blocks(self.radial, query, key, block, device)

    def order(self) -> TokenOrder:
        return RASTER


def _farthest(query: TokenGrid, key: TokenGrid) -> int:
    return max(max(query.frames) - min(key.frames), max(key.frames) - min(query.frames))


def _joined(bands: list[Band]) -> list[Band]:
    kept = bands[:1]
    for band in bands[1:]:
        last = kept[-1]
        if (last.every, last.reach) == (band.every, band.reach):
            kept[-1] = Band(last.first, band.last, band.every, band.reach)
        else:
            kept.append(band)
    return kept


@lru_cache(maxsize=64)
def _whole_blocks(radial: Radial, query: TokenGrid, key: TokenGrid, block: int, device: torch.device) -> BlockMap:
    query_edges, key_edges = edges_of(query.tokens, block), edges_of(key.tokens, block)
    reach_TS = _reach(radial, query, key)
    rows = [_row(reach_TS, query, key, start, stop, block) for start, stop in pairwise(query_edges)]
    kept_UV = torch.stack(rows) | _text(query, query_edges)[:, None] | _text(key, key_edges)
    state_UV = torch.where(kept_UV, FULL, NONE).to(torch.uint8)
    return BlockMap(state_BNUV=state_UV[None, None].to(device), query_edges=query_edges, key_edges=key_edges)


def _reach(radial: Radial, query: TokenGrid, key: TokenGrid) -> Tensor:
    """How far tokens of two frames may be apart; -1 for frames that do not see each other."""
    query_T, key_S = (torch.tensor(grid.frames, dtype=torch.int32) for grid in (query, key))
    apart_TS = (query_T[:, None] - key_S).abs()
    reach_TS = torch.full_like(apart_TS, -1)
    for band in radial.bands(key.tokens_per_frame, _farthest(query, key)):
        reach_TS[(apart_TS >= band.first) & (apart_TS <= band.last) & (apart_TS % band.every == 0)] = band.reach
    reach_TS[:, key_S < radial.sink] = key.tokens_per_frame
    return reach_TS


def _row(reach_TS: Tensor, query: TokenGrid, key: TokenGrid, start: int, stop: int, block: int) -> Tensor:
    """kept_V of the queries at positions `start` to `stop`."""
    per_frame, first = query.tokens_per_frame, query.text_before
    start, stop = max(start - first, 0), min(stop - first, query.video_tokens)
    filled = torch.zeros(len(key.frames), key.tokens_per_frame, dtype=torch.int32)
    for frame in range(start // per_frame, -(-stop // per_frame)):
        low, high = max(start - frame * per_frame, 0), min(stop - frame * per_frame, per_frame) - 1
        filled += _filled(reach_TS[frame], low, high, key.tokens_per_frame)
    blocks = -(-key.tokens // block)
    behind = blocks * block - key.text_before - key.video_tokens
    filled_VM = torch.nn.functional.pad(filled.flatten(), (key.text_before, behind)).view(blocks, block)
    touched_V = filled_VM.count_nonzero(1)
    kept_V = 5 * (3 * filled_VM > max(stop - start, 0)).count_nonzero(1) > 3 * touched_V
    return kept_V if bool(kept_V.any()) else touched_V > 0


def _filled(reach_S: Tensor, low: int, high: int, tokens: int) -> Tensor:
    """How many of the tokens `low` to `high` of one frame see each token of the key frames."""
    reach_R, kind_S = reach_S.unique(return_inverse=True)  # few kinds of frames, many frames
    at, reach = torch.arange(tokens, dtype=torch.int32), reach_R[:, None]
    return ((at + reach).clamp(max=high) - (at - reach).clamp(min=low) + 1).clamp(min=0)[kind_S]


def _text(grid: TokenGrid, edges: tuple[int, ...]) -> Tensor:
    """Whether each block holds text."""
    first, last = grid.text_before, grid.text_before + grid.video_tokens
    return torch.tensor([start < first or stop > last for start, stop in pairwise(edges)])
