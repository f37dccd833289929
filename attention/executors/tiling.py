"""From a block map to tiles: neighbouring blocks of queries, and the keys that they read together.

Wide tiles run nearer to the rate of dense attention than narrow ones, and copy less. So keys that many neighbouring
query blocks read in full go into wide tiles, and what is left into narrow ones, whose results are merged with those of
the wide. How many blocks make a tile is chosen for the map as a whole, by what the tiles would cost.

Letters here: `X` maps (items and heads that do not share one), `U` query blocks, `V` key blocks, `T` tiles of a map,
`G` tiles of one shape, `R` rows of a tile, `C` keys that it reads, `S` blocks of them.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from vgen.attention.blocks import FULL, NONE, PART, BlockMap

__all__ = ["Tiles", "tiles_of"]

# Costs in pairs of a query and a key, fitted to flash attention on two cores of an EPYC 9005 in fp32, head width 128:
# time of a row over that in dense attention, in tiles of so many rows and more
_PACES = {768: 1.0, 192: 1.09, 96: 1.24, 0: 1.33}
_ROWS_OF_A_KEY = 4  # reading a key takes as long as so many rows
_ROWS_OF_A_COPY = 5  # and copying it, with its value, to where its tile is put together
_SHARE_OF_A_MASK = 0.055  # of the work under it
_SHARE_OF_MAKING_IT = 0.03  # of the work of one head, whatever their number
_PAIRS_OF_A_TILE = 8000  # one more call of the kernel
_PAIRS_OF_A_MERGED_ROW = 60

_ROWS_AT_MOST = 1024  # more bring nothing
_PAIRS_AT_MOST = 1 << 24  # in one tile: 64 MiB of mask
_WIDE_ROWS = 384  # fewer are not worth a second tile
_WIDE_KEYS = 512
_MASKS_KEPT = 1 << 26  # bytes, of each map


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiles:
    """Tiles of one shape.

    Args:
        owner_G: which map each belongs to.
        start_G: its first query.
        rows, keys: how many queries it has and keys it reads.
        blocks_GS: the key blocks that it reads, rising.
        run: first key, where one tile reads a run of keys that need not be copied.
        masked: whether pairs inside are dropped.
        merged: whether other tiles have the same rows, and come before.
        masks: masks of the tiles that are remembered, kept_RC.
        evens: of tiles whose blocks are of one size and none kept in part, which of them are kept, even_US.
    """

    owner_G: list[int]
    start_G: list[int]
    rows: int
    keys: int
    blocks_GS: list[Tensor]
    run: int | None
    masked: bool
    merged: bool
    masks: dict[int, Tensor] = field(default_factory=dict)
    evens: dict[int, Tensor] = field(default_factory=dict)

    def positions(self, tile: int, blocks: BlockMap, unit: int = 1) -> Tensor:
        """The keys that a tile reads, counted in units that all edges of key blocks are multiples of."""
        edges = _tensor(blocks.key_edges) // unit
        chosen_S = self.blocks_GS[tile]
        size_S = edges.diff()[chosen_S]
        shift_S = edges[chosen_S] - (size_S.cumsum(0) - size_S)
        count = self.keys // unit
        return torch.arange(count) + shift_S.repeat_interleave(size_S, output_size=count)

    def even_US(self, tile: int, blocks: BlockMap) -> Tensor | None:
        """Which blocks of a tile are kept; None where one is kept in part, or they are not of one size."""
        first = bisect_left(blocks.query_edges, self.start_G[tile])
        stop = bisect_left(blocks.query_edges, self.start_G[tile] + self.rows)
        state_US = blocks.state_BNUV.flatten(0, 1)[self.owner_G[tile], first:stop][:, self.blocks_GS[tile]]
        rows, keys = _tensor(blocks.query_edges).diff()[first:stop], _tensor(blocks.key_edges).diff()
        uneven = rows.unique().numel() > 1 or keys[self.blocks_GS[tile]].unique().numel() > 1
        return None if uneven or bool((state_US == PART).any()) else state_US == FULL

    def kept_RC(self, tile: int, blocks: BlockMap) -> Tensor:
        """Which pairs of a tile are kept."""
        if tile in self.masks:
            return self.masks[tile]
        positions_C, start = self.positions(tile, blocks), self.start_G[tile]
        row_R = torch.arange(start, start + self.rows)
        block_R = torch.bucketize(row_R, _tensor(blocks.query_edges)[1:], right=True)
        size_S = _tensor(blocks.key_edges).diff()[self.blocks_GS[tile]]
        state_UV = blocks.state_BNUV.flatten(0, 1)[self.owner_G[tile], block_R[0] : block_R[-1] + 1]
        state_UC = state_UV[:, self.blocks_GS[tile]].repeat_interleave(size_S, dim=1)
        kept_RC = (state_UC == FULL)[block_R - block_R[0]]
        open_C = (state_UC == PART).any(0)
        if bool(open_C.any()):
            assert blocks.mask is not None, "partial blocks without a mask"
            where = open_C.nonzero()[:, 0]
            pairs = blocks.mask(row_R[:, None], positions_C[where][None, :])
            kept_RC[:, where] |= pairs & (state_UC == PART)[:, where][block_R - block_R[0]]
        return kept_RC


@lru_cache(maxsize=8)
def tiles_of(blocks: BlockMap, sharing: int) -> tuple[Tiles, ...]:
    """The tiles that cost least.

    Args:
        blocks: remembered by identity.
        sharing: how many items and heads share each map.
    """
    chosen = min(_candidates(blocks), key=lambda layers: _cost(layers, sharing))
    tiles = tuple(same for layer in chosen for same in layer.tiles(blocks))
    spent = 0
    for same in tiles:
        for tile in range(len(same.owner_G) if same.masked else 0):
            even_US = same.even_US(tile, blocks)
            if even_US is not None:
                same.evens[tile] = even_US
                continue
            spent += same.rows * same.keys
            if spent <= _MASKS_KEPT:
                same.masks[tile] = same.kept_RC(tile, blocks)
    return tiles


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layer:
    """Tiles of equally many query blocks: how many rows they have, what they read, and whether pairs are dropped."""

    rows_T: Tensor
    start_T: Tensor
    size_V: Tensor
    some_XTV: Tensor
    masked_XT: Tensor
    merged: bool = False

    @classmethod
    def of(cls, blocks: BlockMap, group: int, some_XTV: Tensor, full_XTV: Tensor, *, merged: bool) -> "_Layer":
        starts = torch.tensor([*blocks.query_edges[:-1:group], blocks.queries])
        return cls(
            rows_T=starts.diff(),
            start_T=starts[:-1],
            size_V=_tensor(blocks.key_edges).diff(),
            some_XTV=some_XTV,
            masked_XT=(some_XTV & ~full_XTV).any(-1),
            merged=merged,
        )

    def keys_XT(self) -> Tensor:
        return (self.some_XTV * self.size_V).sum(-1)

    def runs_XT(self) -> Tensor:
        """Whether a tile reads neighbouring key blocks alone."""
        begins = self.some_XTV.int().diff(dim=-1, prepend=torch.zeros_like(self.some_XTV[..., :1], dtype=torch.int32))
        return (begins == 1).sum(-1) == 1

    def cost(self, sharing: int) -> float:
        keys_XT = self.keys_XT().double()
        pace_T = torch.tensor([next(pace for rows, pace in _PACES.items() if row >= rows) for row in self.rows_T])
        rows_XT = self.rows_T * (pace_T + (_SHARE_OF_A_MASK + _SHARE_OF_MAKING_IT / sharing) * self.masked_XT)
        rows_XT = rows_XT + _ROWS_OF_A_KEY + _ROWS_OF_A_COPY * ~self.runs_XT()
        merging = _PAIRS_OF_A_MERGED_ROW * float((self.rows_T * (keys_XT > 0)).sum()) if self.merged else 0.0
        return (float((keys_XT * rows_XT).sum()) + merging) * sharing + _PAIRS_OF_A_TILE * int(keys_XT.count_nonzero())

    def tiles(self, blocks: BlockMap) -> Iterator[Tiles]:
        keys_XT, runs_XT = self.keys_XT().tolist(), self.runs_XT().tolist()
        masked_XT, rows_T, start_T = self.masked_XT.tolist(), self.rows_T.tolist(), self.start_T.tolist()
        found: dict[tuple[int, ...], Tiles] = {}
        for x, row in enumerate(keys_XT):
            for t, keys in enumerate(row):
                if keys == 0:
                    continue
                chosen_S = self.some_XTV[x, t].nonzero()[:, 0]
                run = blocks.key_edges[int(chosen_S[0])] if runs_XT[x][t] else None
                rows, masked = rows_T[t], masked_XT[x][t]
                # a run stands alone, as its keys are not copied together with those of others
                name = (rows, keys, masked) + (() if run is None else (x, t))
                if name not in found:
                    found[name] = Tiles(
                        owner_G=[],
                        start_G=[],
                        rows=rows,
                        keys=keys,
                        blocks_GS=[],
                        run=run,
                        masked=masked,
                        merged=self.merged,
                    )
                found[name].owner_G.append(x)
                found[name].start_G.append(start_T[t])
                found[name].blocks_GS.append(chosen_S)
        yield from found.values()


def _cost(layers: list[_Layer], sharing: int) -> float:
    return sum(layer.cost(sharing) for layer in layers)


def _candidates(blocks: BlockMap) -> Iterator[list[_Layer]]:
    """Tiles of each width alone, and under wide tiles of what all of their query blocks read in full."""
    state_XUV = blocks.state_BNUV.flatten(0, 1)
    some_XUV, full_XUV = state_XUV != NONE, state_XUV == FULL
    size, count = blocks.queries / state_XUV.shape[1], state_XUV.shape[1]
    most = max(1, min(_ROWS_AT_MOST, _PAIRS_AT_MOST // blocks.keys) / size)
    groups = [1]
    while groups[-1] < count and 2 * groups[-1] <= most:
        groups.append(2 * groups[-1])
    yield from ([layer] for _, layer in _narrow(blocks, some_XUV, full_XUV, groups, merged=False))
    for group in (group for group in groups if group > 1 and group * size >= _WIDE_ROWS):
        wide_XTV = _grouped(full_XUV, group, True).all(2)
        wide_XTV &= ((wide_XTV * _tensor(blocks.key_edges).diff()).sum(-1) >= _WIDE_KEYS)[..., None]
        wide = _Layer.of(blocks, group, wide_XTV, wide_XTV, merged=False)
        rest_XUV = some_XUV & ~wide_XTV.repeat_interleave(group, dim=1)[:, :count]
        for narrower, layer in _narrow(blocks, rest_XUV, full_XUV, groups, merged=True):
            if narrower <= group:
                yield [wide, layer]


def _narrow(
    blocks: BlockMap, some_XUV: Tensor, full_XUV: Tensor, groups: list[int], *, merged: bool
) -> Iterator[tuple[int, _Layer]]:
    """Layers of so many query blocks each, all that any of them reads; each group is twice the one before."""
    for group in groups:
        if group > 1:
            some_XUV, full_XUV = _grouped(some_XUV, 2, False).any(2), _grouped(full_XUV, 2, True).all(2)
        yield group, _Layer.of(blocks, group, some_XUV, full_XUV, merged=merged)


@lru_cache(maxsize=16)
def _tensor(edges: tuple[int, ...]) -> Tensor:
    return torch.tensor(edges)


def _grouped(table_XUV: Tensor, group: int, missing: bool) -> Tensor:
    """table_XTGV: rows of the table in groups; `missing` stands for those that the last group lacks."""
    return pad(table_XUV, (0, 0, 0, -table_XUV.shape[1] % group), value=missing).unflatten(1, (-1, group))
