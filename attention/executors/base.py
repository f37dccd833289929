"""What every executor is and is asked.

An executor computes a `BlockMap` and knows no pattern. Queries, keys and values reach it in the order of computation,
which is that of the map's positions. It says by `supports` what it cannot do; it never falls back to another.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vgen.attention.blocks import BlockMap

__all__ = ["Executor", "FrameBias", "Task", "check"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameBias:
    """An additive bias of the logits per pair of frames (FAR's temporal decay, dual-scope boosts).

    Args:
        table_TS: fp32; of query frame T and key frame S. A last row and column of zeros stand for text.
        query_frame_L, key_frame_M: row and column of the table for each position, int64.
    """

    table_TS: Tensor
    query_frame_L: Tensor
    key_frame_M: Tensor

    def between(self, query: Tensor, key: Tensor) -> Tensor:
        """The bias of pairs of positions; indices that broadcast."""
        return self.table_TS[self.query_frame_L[query], self.key_frame_M[key]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked of an executor beside the map.

    Args:
        device, dtype, head_width: of queries, keys and values.
        heads: of all items together; tells how long a call takes.
        gradient: whether its result will be differentiated.
        lse: whether `with_lse` will be called.
        bias: whether one will be given.
    """

    device: torch.device
    dtype: torch.dtype
    head_width: int
    heads: int = 1
    gradient: bool = False
    lse: bool = False
    bias: bool = False


class Executor(Protocol):
    """Softmax attention over the pairs that a map keeps."""

    def supports(self, blocks: BlockMap, task: Task) -> str | None:
        """Why it cannot do this; None where it can. Says what it lacks, as `no gradient on a CPU`."""
        ...

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        blocks: BlockMap,
        *,
        scale: float | None = None,
        bias: FrameBias | None = None,
    ) -> Tensor:
        """Attention over what the map keeps.

        Must agree with the float64 oracle of tests/attention, as every entry of EXECUTORS is held to. Inputs are not
        written to. A query that keeps nothing yields zeros.

        Args:
            q_BLNK, k_BMNK, v_BMNK: one dtype and device, in the order of computation.
            blocks: the map; ragged ends allowed.
            scale: of the logits; 1/sqrt(K) where None.
            bias: added to the scaled logits.

        Returns:
            out_BLNK, in the dtype of q.
        """
        ...

    def with_lse(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        blocks: BlockMap,
        *,
        scale: float | None = None,
        bias: FrameBias | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As a call, and the natural-log-sum-exp of each query's logits, lse_BNL fp32; -inf where nothing is kept.

        Partial results over disjoint keys merge by it, see `merged` in `lse.py`.
        """
        ...


def check(q_BLNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor, blocks: BlockMap) -> None:
    """Asserts that queries, keys and values fit each other and the map."""
    batch, queries, heads, width = q_BLNK.shape
    assert k_BMNK.shape == v_BMNK.shape == (batch, blocks.keys, heads, width), (
        f"keys and values of {(batch, blocks.keys, heads, width)}, got {tuple(k_BMNK.shape)}, {tuple(v_BMNK.shape)}"
    )
    assert queries == blocks.queries, f"{blocks.queries} queries in the map, got {queries}"
    items, sides = blocks.state_BNUV.shape[:2]
    assert items in (1, batch) and sides in (1, heads), (
        f"a map of {items} items and {sides} heads for {batch} and {heads}"
    )
    assert q_BLNK.dtype == k_BMNK.dtype == v_BMNK.dtype, "queries, keys and values in one dtype"
    assert q_BLNK.device == k_BMNK.device == v_BMNK.device == blocks.state_BNUV.device, "tensors and map on one device"
