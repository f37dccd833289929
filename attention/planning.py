"""From a pattern and two grids to a `BlockMap`, without looking at every pair of tokens.

Each block of tokens is a handful of boxes, and a pattern answers for a pair of boxes at once: none, some or all
(`place.py`). What stays open is masked token by token when it is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias, cast

import torch
from torch import Tensor

from vgen.attention.blocks import FULL, NONE, PART, BlockMap, PairMask, edges_of, positions_of
from vgen.attention.order import Box, TokenOrder
from vgen.attention.pattern import AnyPattern, BlockPattern, Pattern
from vgen.attention.place import Coordinate, Place, Possible, Span
from vgen.errors import ConfigError
from vgen.shapes import TokenGrid

__all__ = ["Corners", "ask", "block_map", "order_of", "plan"]

Corners: TypeAlias = tuple[Tensor, Tensor, TokenGrid]

_PAIRS_AT_ONCE = 1 << 20
_POSSIBLE = (
    "possible: + - and comparisons of coordinates, + - * // % with whole numbers, abs, clamp, lookup; "
    "& | ~ of what comparisons give"
)


def block_map(
    pattern: Pattern, query: TokenGrid, key: TokenGrid, *, block: int, order: TokenOrder, device: torch.device
) -> BlockMap:
    """The exact map of a static pattern: it keeps what `pattern.keeps` and text visibility say, pair by pair.

    Plans are remembered, so that layers, steps and both halves of guidance share one.

    Args:
        pattern: what is kept.
        query, key: lattices of the queries and keys.
        block: tokens per block, on both sides; the last may be shorter.
        order: of the tokens on both sides.
        device: where the attention will run.
    """
    return _block_map(pattern, query, key, block, order, device)


def plan(
    pattern: Pattern | BlockPattern, query: TokenGrid, key: TokenGrid, *, block: int, device: torch.device
) -> BlockMap:
    """The map of a pattern that does not look at the data; remembered.

    Raises:
        ConfigError: the pattern looks at the data.
    """
    if isinstance(pattern, Pattern):
        return block_map(
            pattern, query, key, block=block, order=order_of(pattern, query, key, block=block), device=device
        )
    if isinstance(pattern, BlockPattern):
        return pattern.blocks(query, key, block=block, device=device)
    raise ConfigError(
        f"{pattern} chooses by queries and keys, and there are none here; "
        "run it in a model (`vgen generate --attention`, `vgen attention compare`)"
    )


def order_of(pattern: AnyPattern, query: TokenGrid, key: TokenGrid, *, block: int) -> TokenOrder:
    """The order of tokens in which a pattern is computed between two grids."""
    return _best_order(pattern, query, key, block=block) if isinstance(pattern, Pattern) else pattern.order()


@lru_cache(maxsize=64)
def _best_order(pattern: Pattern, query: TokenGrid, key: TokenGrid, *, block: int) -> TokenOrder:
    """Of the orders that a pattern names, the one in which the least is computed between two grids."""
    orders = pattern.orders()
    if len(orders) == 1:
        return orders[0]
    cpu = torch.device("cpu")
    return min(
        orders,
        key=lambda order: block_map(pattern, query, key, block=block, order=order, device=cpu).density(),
    )


@lru_cache(maxsize=64)
def _block_map(
    pattern: Pattern, query: TokenGrid, key: TokenGrid, block: int, order: TokenOrder, device: torch.device
) -> BlockMap:
    query_edges, key_edges = edges_of(query.tokens, block), edges_of(key.tokens, block)
    queries, keys = _Boxes.of(query, order, query_edges), _Boxes.of(key, order, key_edges)
    state_UV = _states(pattern, queries, keys)
    text_UV = queries.text_U[:, None] | keys.text_U[None, :]
    state_UV = torch.where(text_UV & (state_UV == NONE), PART, state_UV).to(torch.uint8)
    only_text_UV = ~queries.video_U[:, None] | ~keys.video_U[None, :]
    state_UV[only_text_UV] = FULL
    mask = None
    if bool((state_UV == PART).any()):
        query_place, query_text = positions_of(query, order.permutation(query), device)
        key_place, key_text = positions_of(key, order.permutation(key), device)
        mask = PairMask(pattern.keeps, query_place, key_place, query_text, key_text)
    return BlockMap(state_BNUV=state_UV[None, None].to(device), query_edges=query_edges, key_edges=key_edges, mask=mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Boxes:
    """Boxes of all blocks of one side; R boxes, U blocks.

    Args:
        low_3R, high_3R: first and last coordinate along (t, h, w), both included, t absolute.
        block_R: which block each box belongs to.
        text_U, video_U: whether a block holds text, and video.
    """

    grid: TokenGrid
    low_3R: Tensor
    high_3R: Tensor
    block_R: Tensor
    text_U: Tensor
    video_U: Tensor

    @classmethod
    def of(cls, grid: TokenGrid, order: TokenOrder, edges: Sequence[int]) -> "_Boxes":
        boxes = [[piece for box in block for piece in _by_frame(grid, box)] for block in order.boxes(grid, edges)]
        flat = [(u, box) for u, block in enumerate(boxes) for box in block]
        frames, first, last = grid.frames, grid.text_before, grid.text_before + grid.video_tokens
        low = [(frames[b.low[0]], b.low[1], b.low[2]) for _, b in flat]
        high = [(frames[b.high[0] - 1], b.high[1] - 1, b.high[2] - 1) for _, b in flat]
        return cls(
            grid=grid,
            low_3R=torch.tensor(low, dtype=torch.int32).view(-1, 3).T.contiguous(),
            high_3R=torch.tensor(high, dtype=torch.int32).view(-1, 3).T.contiguous(),
            block_R=torch.tensor([u for u, _ in flat], dtype=torch.int64),
            text_U=torch.tensor([start < first or stop > last for start, stop in pairwise(edges)]),
            video_U=torch.tensor([bool(block) for block in boxes]),
        )


def _by_frame(grid: TokenGrid, box: Box) -> list[Box]:
    """A box cut where the absolute indices of its frames are not consecutive, so that a range says it all."""
    start, pieces = box.low[0], []
    for position in range(box.low[0] + 1, box.high[0] + 1):
        if position == box.high[0] or grid.frames[position] != grid.frames[position - 1] + 1:
            pieces.append(Box((start, *box.low[1:]), (position, *box.high[1:])))
            start = position
    return pieces


def _states(pattern: Pattern, queries: _Boxes, keys: _Boxes) -> Tensor:
    """state_UV of the video tokens alone."""
    blocks = len(queries.video_U), len(keys.video_U)
    state_UV = torch.full(blocks, FULL, dtype=torch.uint8)
    member_RV = torch.nn.functional.one_hot(keys.block_R, blocks[1]).float()
    rows = max(1, _PAIRS_AT_ONCE // max(1, keys.low_3R.shape[1]))
    starts = torch.searchsorted(queries.block_R, torch.arange(blocks[0] + 1)).tolist()
    first = 0
    while first < blocks[0]:
        last = first + 1
        while last < blocks[0] and starts[last + 1] - starts[first] <= rows:
            last += 1
        chosen = slice(starts[first], starts[last])
        found = ask(
            pattern,
            (queries.low_3R[:, chosen, None], queries.high_3R[:, chosen, None], queries.grid),
            (keys.low_3R[:, None, :], keys.high_3R[:, None, :], keys.grid),
        )
        member_UR = torch.nn.functional.one_hot(queries.block_R[chosen] - first, last - first).float().T
        some = member_UR @ (found.may.float() @ member_RV) > 0
        open_ = member_UR @ ((~found.must).float() @ member_RV) > 0
        state_UV[first:last] = torch.where(some, torch.where(open_, PART, FULL), NONE).to(torch.uint8)
        first = last
    return state_UV


def ask(pattern: Pattern, query: Corners, key: Corners) -> Possible:
    """What a pattern says of pairs of boxes, in the shape that they broadcast to.

    Args:
        pattern: what is asked.
        query, key: first and last coordinate of boxes along (t, h, w), both included, and their lattice.

    Raises:
        TypeError: its `keeps` does what ranges of coordinates cannot do.
    """
    shape = torch.broadcast_shapes(query[0].shape[1:], key[0].shape[1:])
    try:
        found = cast(object, pattern.keeps(_place(query), _place(key)))
    except (TypeError, AttributeError) as error:
        raise TypeError(f"{pattern}: keeps uses what ranges of coordinates cannot do ({error}); {_POSSIBLE}") from error
    if not isinstance(found, Possible):
        raise TypeError(f"{pattern}: keeps gives {type(found).__name__} for ranges of coordinates; {_POSSIBLE}")
    return Possible(found.may.expand(shape), found.must.expand(shape))


def _place(corners: Corners) -> Place:
    low, high, grid = corners
    t, h, w = (cast(Coordinate, Span(low[axis], high[axis])) for axis in range(3))
    return Place(t, h, w, grid)
