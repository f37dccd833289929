"""`BlockMap`: which blocks of keys each block of queries reads, and which pairs inside them.

Letters here: `U` query blocks, `V` key blocks, `S` sides of a table that are 1 where all heads or items share it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.attention.place import Place
from vgen.shapes import TokenGrid

__all__ = ["FULL", "NONE", "PART", "BlockMap", "PairMask", "edges_of", "positions_of"]

NONE, PART, FULL = 0, 1, 2  # no pair of the block is kept, some may be, all are


@dataclass(frozen=True, slots=True, eq=False)
class PairMask:
    """The predicate of partial blocks, over positions in the order of computation.

    Holds coordinates of every position on the device of use, so that a kernel can call it with indices.

    Args:
        keeps: of the pattern.
        query, key: coordinates of each position; of text they mean nothing.
        query_text, key_text: whether a position is text.
    """

    keeps: Callable[[Place, Place], Tensor]
    query: Place
    key: Place
    query_text: Tensor
    key_text: Tensor

    def __call__(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether the query at each position sees the key at each position; indices that broadcast."""
        kept = self.keeps(_at(self.query, query), _at(self.key, key))
        return kept | self.query_text[query] | self.key_text[key]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockMap:
    """What is computed, in blocks of consecutive positions.

    Args:
        state_BNUV: uint8, NONE, PART or FULL; B and N are 1 where items or heads share it. On the device of use.
        query_edges, key_edges: where blocks begin, and the end of the last.
        mask: says which pairs of PART blocks are kept; None where there are none.
    """

    state_BNUV: Tensor
    query_edges: tuple[int, ...]
    key_edges: tuple[int, ...]
    mask: PairMask | None = None

    def __post_init__(self) -> None:
        blocks = (len(self.query_edges) - 1, len(self.key_edges) - 1)
        assert self.state_BNUV.ndim == 4 and self.state_BNUV.shape[2:] == blocks, (
            f"a map of {blocks} blocks, got a table of {tuple(self.state_BNUV.shape)}"
        )
        assert self.state_BNUV.dtype == torch.uint8, f"a table of uint8, got {self.state_BNUV.dtype}"

    @property
    def queries(self) -> int:
        return self.query_edges[-1]

    @property
    def keys(self) -> int:
        return self.key_edges[-1]

    @property
    def block(self) -> int | None:
        """The size of all blocks but the last ones; None where sizes differ or the two sides do."""
        size = max(self.query_edges[1], self.key_edges[1])
        even = self.query_edges == edges_of(self.queries, size) and self.key_edges == edges_of(self.keys, size)
        return size if even else None

    @property
    def kept_blocks(self) -> int:
        """Blocks that are read, summed over items and heads that differ."""
        return int(self.state_BNUV.count_nonzero())

    def density(self) -> float:
        """Share of all pairs of tokens that lie in blocks that are read: what a kernel computes over dense."""
        sides = self.state_BNUV.flatten(0, 1)
        kept = torch.zeros(sides.shape[1:], dtype=torch.float64, device=sides.device)
        for side_UV in sides:  # one by one: maps of single queries are large
            kept += side_UV != NONE
        kept /= len(sides)
        rows, columns = (
            torch.tensor(edges, dtype=torch.float64).diff().to(kept.device)
            for edges in (self.query_edges, self.key_edges)
        )
        return float(rows @ kept @ columns) / (self.queries * self.keys)

    def dense(self) -> Tensor:
        """kept_BNLM for tests and small sequences, on the device of the table."""
        state = self.state_BNUV
        for axis, edges in ((2, self.query_edges), (3, self.key_edges)):
            state = state.repeat_interleave(torch.tensor(edges).diff().to(state.device), dim=axis)
        if self.mask is None:
            return state != NONE
        positions = (torch.arange(count, device=state.device) for count in (self.queries, self.keys))
        query, key = next(positions)[:, None], next(positions)[None, :]
        return (state == FULL) | ((state == PART) & self.mask(query, key))


def edges_of(tokens: int, block: int) -> tuple[int, ...]:
    """Edges of blocks of one size over a sequence; the last may be shorter."""
    assert tokens >= 1 and block >= 1, f"blocks of at least one token, got {tokens} tokens in blocks of {block}"
    return (*range(0, tokens, block), tokens)


def positions_of(grid: TokenGrid, permutation: Tensor, device: torch.device) -> tuple[Place, Tensor]:
    """Coordinates of the token at each position, and whether it is text."""
    video = (permutation - grid.text_before).clamp(0, grid.video_tokens - 1)
    text = (permutation < grid.text_before) | (permutation >= grid.text_before + grid.video_tokens)
    frames = torch.tensor(grid.frames)[video // grid.tokens_per_frame]
    inside = video % grid.tokens_per_frame
    t, h, w = (x.int().to(device) for x in (frames, inside // grid.width, inside % grid.width))
    return Place(t, h, w, grid), text.to(device)


def _at(place: Place, index: Tensor) -> Place:
    return Place(place.t[index], place.h[index], place.w[index], place.grid)
