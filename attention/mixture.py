"""Mixture of block attention: keys are cut into chunks, and each query sees the chunks whose mean key it likes best.

MoBA (Lu et al. 2025, arXiv:2502.13189) cuts a sequence into runs of tokens. VMoBA (Wu et al. 2025, arXiv:2506.23858)
cuts video into frames, patches over all frames and cuboids, in turn over the layers, and lets all pairs of query and
chunk of a head compete with each other. Both were made to be trained with; untrained, expect a loss.

Letters here: `U` query blocks, `V` key blocks, `R` rows that compete each by itself, `E` entries of a row.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from vgen.attention.blocks import FULL, NONE, PART, BlockMap, PairMask, edges_of, positions_of
from vgen.attention.cycles import PerLayer
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import AdaptivePattern, require
from vgen.attention.place import Place
from vgen.shapes import TokenGrid

__all__ = ["SCOPES", "MixtureOfBlocks", "moba", "vmoba"]

SCOPES = ("query_head", "head_global", "overall", "block")
PATCH, CUBOID = TokenOrder(None, 3, 4), TokenOrder(4, 6, 4)
_ENTRIES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureOfBlocks(AdaptivePattern):
    """Each query and head chooses chunks of keys by `gate = q . mean(keys of the chunk)`, in fp32 and unscaled.

    The chunk that holds the query itself is always visible, and counts. Text is always visible and sees everything.
    Items of a batch choose apart. A query whose own place is not among the keys has no chunk of its own.

    Args:
        partition: the chunks are the tiles of this order, or runs of so many video tokens; ragged ones allowed.
        topk: so many chunks per query on average over those that compete; or
        threshold: chunks by falling gate until they hold this share of all gates, which are scaled from 0 (the least)
            to 1 (the greatest) first. The one that crosses it is kept, so at least one beside the own chunk is.
        scope: what competes: the chunks for one query and head (`query_head`, MoBA), all pairs of query and chunk of a
            head (`head_global`, VMoBA), of all heads (`overall`), or all queries and heads for one chunk (`block`, with
            a threshold only).
        fidelity: `exact` chooses for each query; `block` for blocks of consecutive queries by their mean, among blocks
            of keys (of the size that the caller computes with, not the tiles), and is what every executor can run.
        causal: no token sees a later one, in raster order, nor do later ones change what it sees; for the form of
            MoBA alone: runs of tokens or of whole frames, topk, query_head, exact.
    """

    partition: TokenOrder | int
    topk: int | None = None
    threshold: float | None = None
    scope: str = "query_head"
    fidelity: Literal["exact", "block"] = "exact"
    causal: bool = False

    def __post_init__(self) -> None:
        _require((self.topk is None) != (self.threshold is None), self.topk, "topk", "topk or threshold, one of them")
        _require(self.topk is None or self.topk >= 1, self.topk, "topk", "1 chunk and more")
        _require(self.threshold is None or 0 < self.threshold <= 1, self.threshold, "threshold", "above 0, up to 1")
        _require(self.scope in SCOPES, self.scope, "scope", ", ".join(SCOPES))
        _require(self.scope != "block" or self.topk is None, self.topk, "topk", "with scope=block, a threshold instead")
        _require(self.fidelity in ("exact", "block"), self.fidelity, "fidelity", "exact, block")
        if isinstance(self.partition, int):
            _require(self.partition >= 1, self.partition, "chunk", "1 token and more")
            _require(self.fidelity == "exact", self.partition, "chunk", "none with fidelity=block, which has its own")
        if self.causal:  # a threshold, other queries and their means would tell of later tokens
            plain = self.topk is not None and self.scope == "query_head" and self.fidelity == "exact"
            _require(plain, True, "causal", "with topk, scope=query_head and fidelity=exact")
            runs = isinstance(self.partition, int) or self.partition == TokenOrder(frames=self.partition.frames)
            _require(runs, True, "causal", "with chunks of tokens or of whole frames")

    def order(self) -> TokenOrder:
        return RASTER if isinstance(self.partition, int) else self.partition

    @torch.no_grad()
    def select(self, q_BLNK: Tensor, k_BMNK: Tensor, *, query: TokenGrid, key: TokenGrid, block: int) -> BlockMap:
        """What is kept: a row for each query where exact, of blocks of `block` tokens on both sides where coarse.

        Args:
            q_BLNK, k_BMNK: in the order of computation, text included; rotary embedding applied.
            query, key: lattices of the tokens, of one height and width.
            block: tokens per block where coarse.
        """
        layout = _layout(self.partition, query, key, None if self.fidelity == "exact" else block, q_BLNK.device)
        queries, keys, (batch, _, heads, _) = layout.queries, layout.keys, q_BLNK.shape
        text_UV = queries.text_U[:, None] | keys.text_U
        own_UV = torch.zeros_like(text_UV)
        own_UV[layout.own_2R[0], layout.own_2R[1]] = True
        own_UV &= ~text_UV
        open_UV, whole_UV = ~(own_UV | text_UV), torch.full_like(text_UV, FULL, dtype=torch.uint8)
        if self.causal:
            open_UV &= keys.last_U <= queries.first_U[:, None]
            whole_UV[keys.last_U > queries.first_U[:, None]] = PART
        state_BNUV = torch.empty(batch, heads, *text_UV.shape, dtype=torch.uint8, device=q_BLNK.device)
        together = heads if self.scope in ("overall", "block") else 1
        for start in range(0, heads, together):
            some = slice(start, start + together)
            gate_BNUV = _gate(q_BLNK[:, :, some], k_BMNK[:, :, some], layout)
            chosen_BNUV = self._chosen(gate_BNUV, own_UV, open_UV, queries.video_blocks)
            state_BNUV[:, some] = torch.where(chosen_BNUV | own_UV | text_UV, whole_UV, NONE)
        mask = PairMask(_not_later, queries.place, keys.place, queries.text_L, keys.text_L) if self.causal else None
        return BlockMap(state_BNUV=state_BNUV, query_edges=queries.edges, key_edges=keys.edges, mask=mask)

    def _chosen(self, gate_BNUV: Tensor, own_UV: Tensor, open_UV: Tensor, queries: int) -> Tensor:
        """Which of the open pairs are kept beside the own ones; `queries` compete, text left out."""
        gate_RE = _rows(gate_BNUV, self.scope)
        own_RE, open_RE = (_rows(x_UV.expand_as(gate_BNUV), self.scope) for x_UV in (own_UV, open_UV))
        number = {"query_head": 1, "head_global": queries}.get(self.scope, queries * gate_BNUV.shape[1])
        at_once = max(1, _ENTRIES_AT_ONCE // gate_RE.shape[1])
        parts = zip(gate_RE.split(at_once), own_RE.split(at_once), open_RE.split(at_once), strict=True)
        picked = [self._pick(gate, own, open_, number) for gate, own, open_ in parts]
        return _from_rows(torch.cat(picked), gate_BNUV.shape, self.scope)

    def _pick(self, gate_RE: Tensor, own_RE: Tensor, open_RE: Tensor, queries: int) -> Tensor:
        open_gate_RE = gate_RE.masked_fill(~open_RE, -torch.inf)
        if self.threshold is None:
            assert self.topk is not None, "either topk or a threshold"
            most = self.topk * queries
            value_RE, index_RE = open_gate_RE.topk(min(most, gate_RE.shape[1]))
            left_R1 = most - own_RE.sum(1, keepdim=True)
            taken_RE = torch.arange(index_RE.shape[1], device=gate_RE.device) < left_R1
        else:
            value_RE, index_RE = open_gate_RE.sort(descending=True, stable=True)
            share_RE = _shares(gate_RE, own_RE | open_RE)
            left_R1 = self.threshold - (share_RE * own_RE).sum(1, keepdim=True, dtype=torch.float64)
            share_RE = share_RE.gather(1, index_RE)
            taken_RE = share_RE.cumsum(1, dtype=torch.float64) - share_RE < left_R1
            taken_RE[:, 0] = True
        return torch.zeros_like(own_RE).scatter_(1, index_RE, taken_RE & (value_RE > -torch.inf))


def moba(*, chunk: int, topk: int, causal: bool = False) -> MixtureOfBlocks:
    """MoBA: runs of `chunk` tokens in raster order, of which each query and head keeps `topk`, its own included.

    The paper's figures for language: chunks of 512 tokens of which 3 are kept, causal.
    """
    return MixtureOfBlocks(partition=chunk, topk=topk, causal=causal)


def vmoba(
    *,
    frames: int = 2,
    patch: TokenOrder = PATCH,
    cuboid: TokenOrder = CUBOID,
    topk: int | tuple[int, int, int] | None = None,
    threshold: float | None = None,
    scope: str = "query_head",
    fidelity: Literal["exact", "block"] = "exact",
) -> PerLayer:
    """VMoBA: layers take chunks of frames, patches over all frames, and cuboids in turn.

    Published settings are FastVideo's for 77 frames of Wan2.1-1.3B (configs/attention): the defaults at 480x832, and
    patches of 4x13, cuboids of 4x4x13, topk (2, 6, 18) at 448x832. The paper's own selection is scope `head_global`.

    Args:
        frames: latent frames per chunk; at least 1.
        patch, cuboid: chunks of the layers after that.
        topk: chunks kept, one number or one for each of the three.
        threshold: the share kept instead; 0.25 where neither is said.
        scope, fidelity: as `MixtureOfBlocks` takes them.

    Raises:
        ConfigError: a number that is not possible.
    """
    _require(frames >= 1, frames, "frames", "1 and more")
    tops = topk if isinstance(topk, tuple) else (topk,) * 3
    share = 0.25 if topk is None and threshold is None else threshold
    return PerLayer(
        tuple(
            MixtureOfBlocks(partition=partition, topk=top, threshold=share, scope=scope, fidelity=fidelity)
            for partition, top in zip((TokenOrder(frames=frames), patch, cuboid), tops, strict=True)
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """Blocks of queries or of keys, `U`; on the device of use.

    Args:
        edges: where blocks begin, and the end of the last.
        place, text_L: coordinates of each position, and whether it is text.
        text_U: whether a block holds text.
        video_blocks: how many hold none.
        first_U, last_U: raster index over all frames of the earliest and latest video token of a block.
    """

    edges: tuple[int, ...]
    place: Place
    text_L: Tensor
    text_U: Tensor
    video_blocks: int
    first_U: Tensor
    last_U: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layout:
    """How the blocks of both sides lie; `own_2R` are the pairs of which the key block holds a place of the query's."""

    queries: _Side
    keys: _Side
    own_2R: Tensor


@lru_cache(maxsize=16)
def _layout(
    partition: TokenOrder | int, query: TokenGrid, key: TokenGrid, block: int | None, device: torch.device
) -> _Layout:
    assert (query.height, query.width) == (key.height, key.width), f"frames of one size, got {query} and {key}"
    order = RASTER if isinstance(partition, int) else partition
    if block is None:
        edges = tuple(range(query.tokens + 1)), _chunks(partition, key)
    else:
        edges = edges_of(query.tokens, block), edges_of(key.tokens, block)
    when_L, when_M = _when(query, order), _when(key, order)
    block_L, block_M = (_block_of(side) for side in edges)
    return _Layout(
        queries=_side(query, order, edges[0], when_L, block_L, device),
        keys=_side(key, order, edges[1], when_M, block_M, device),
        own_2R=_own(when_L, block_L, when_M, block_M).to(device),
    )


def _chunks(partition: TokenOrder | int, grid: TokenGrid) -> tuple[int, ...]:
    if not isinstance(partition, int):
        return partition.edges(grid)
    first, last = grid.text_before, grid.text_before + grid.video_tokens
    return tuple(sorted({0, *range(first, last, partition), last, grid.tokens}))


def _when(grid: TokenGrid, order: TokenOrder) -> Tensor:
    """Raster index over all frames, absolute ones, of the token at each position; -1 of text."""
    place, text_L = positions_of(grid, order.permutation(grid), torch.device("cpu"))
    return (place.t.long() * grid.tokens_per_frame + place.p).masked_fill(text_L, -1)


def _block_of(edges: tuple[int, ...]) -> Tensor:
    sizes = torch.tensor(edges).diff()
    return torch.arange(len(sizes)).repeat_interleave(sizes)


def _side(
    grid: TokenGrid, order: TokenOrder, edges: tuple[int, ...], when_L: Tensor, block_L: Tensor, device: torch.device
) -> _Side:
    blocks, video_L, last = len(edges) - 1, when_L >= 0, torch.iinfo(torch.int64).max
    place, text_L = positions_of(grid, order.permutation(grid), device)
    when, at = when_L[video_L], block_L[video_L]
    text_U = torch.zeros(blocks, dtype=torch.bool).index_fill(0, block_L[~video_L], True)
    return _Side(
        edges=edges,
        place=place,
        text_L=text_L,
        text_U=text_U.to(device),
        video_blocks=blocks - int(text_U.sum()),
        first_U=torch.full((blocks,), last).scatter_reduce(0, at, when, "amin").to(device),
        last_U=torch.full((blocks,), -1).scatter_reduce(0, at, when, "amax").to(device),
    )


def _own(when_L: Tensor, block_L: Tensor, when_M: Tensor, block_M: Tensor) -> Tensor:
    """own_2R: query block and key block; of a frame that is among the keys twice the later one counts."""
    known_M, index_M = when_M.sort(stable=True)
    at_L = torch.searchsorted(known_M, when_L, right=True) - 1
    found_L = (when_L >= 0) & (known_M[at_L.clamp(min=0)] == when_L)
    return torch.stack((block_L[found_L], block_M[index_M[at_L[found_L]]])).unique(dim=1)


def _gate(q_BLNK: Tensor, k_BMNK: Tensor, layout: _Layout) -> Tensor:
    with torch.autocast(q_BLNK.device.type, enabled=False):
        return _means(q_BLNK, layout.queries.edges) @ _means(k_BMNK, layout.keys.edges).mT


def _means(x_BLNK: Tensor, edges: tuple[int, ...]) -> Tensor:
    """mean_BNUK of each block, in fp32."""
    x_LBNK = x_BLNK.float().transpose(0, 1)
    if len(edges) <= x_LBNK.shape[0]:
        sizes_U = torch.tensor(edges).diff().to(x_LBNK.device)
        x_LBNK = torch.segment_reduce(x_LBNK.contiguous(), "mean", lengths=sizes_U, axis=0, unsafe=True)
    return x_LBNK.permute(1, 2, 0, 3)


def _rows(x_BNUV: Tensor, scope: str) -> Tensor:
    """x_RE: what competes in a row of its own."""
    if scope == "query_head":
        return x_BNUV.flatten(0, 2)
    if scope == "head_global":
        return x_BNUV.flatten(2).flatten(0, 1)
    return x_BNUV.flatten(1) if scope == "overall" else x_BNUV.movedim(3, 1).flatten(2).flatten(0, 1)


def _from_rows(x_RE: Tensor, shape: torch.Size, scope: str) -> Tensor:
    batch, heads, queries, keys = shape
    return x_RE.view(batch, keys, heads, queries).movedim(1, 3) if scope == "block" else x_RE.view(shape)


def _shares(gate_RE: Tensor, pool_RE: Tensor) -> Tensor:
    """Gates scaled from 0 to 1 over the pool, and divided by their sum. Equal ones share alike."""
    low_R1 = gate_RE.masked_fill(~pool_RE, torch.inf).amin(1, keepdim=True)
    high_R1 = gate_RE.masked_fill(~pool_RE, -torch.inf).amax(1, keepdim=True)
    scaled_RE = ((gate_RE - low_R1) / (high_R1 - low_R1)).where(high_R1 > low_R1, 1.0).masked_fill_(~pool_RE, 0.0)
    total_R1 = scaled_RE.sum(1, keepdim=True, dtype=torch.float64).clamp(min=1e-300)
    return scaled_RE.div_(total_R1)


def _not_later(query: Place, key: Place) -> Tensor:
    return (key.t < query.t) | ((key.t == query.t) & (key.p <= query.p))


def _require(holds: bool, value: object, knob: str, possible: str) -> None:
    require(holds, f"mixture of blocks: {knob}={value}", possible)
