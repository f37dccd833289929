"""`reference`: masked softmax written out, in fp32, a few rows of queries at a time. Slow, differentiable, anywhere."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vgen.attention.blocks import FULL, PART, BlockMap
from vgen.attention.executors.base import FrameBias, Task, check

__all__ = ["Reference"]

_LOGITS_AT_ONCE = 1 << 22  # over all items and heads: 16 MiB


@dataclass(frozen=True, slots=True)
class Reference:
    """The definition as a computation; the others are compared with it where float64 would be too slow."""

    def supports(self, blocks: BlockMap, task: Task) -> str | None:
        return None

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
        return self.with_lse(q_BLNK, k_BMNK, v_BMNK, blocks, scale=scale, bias=bias)[0]

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
        check(q_BLNK, k_BMNK, v_BMNK, blocks)
        batch, queries, heads, width = q_BLNK.shape
        scale = width**-0.5 if scale is None else scale
        k_BNMK, v_BNMK = k_BMNK.transpose(1, 2).float(), v_BMNK.transpose(1, 2).float()
        rows = max(1, _LOGITS_AT_ONCE // (batch * heads * blocks.keys))
        row_block_L, column_block_M = (
            _block_of(edges, q_BLNK.device) for edges in (blocks.query_edges, blocks.key_edges)
        )
        outs, lses = [], []
        for start in range(0, queries, rows):
            query_L = torch.arange(start, min(start + rows, queries), device=q_BLNK.device)
            state = blocks.state_BNUV[:, :, row_block_L[query_L]][..., column_block_M]
            kept = state == FULL
            if blocks.mask is not None:
                kept |= (state == PART) & blocks.mask(query_L[:, None], torch.arange(blocks.keys, device=q_BLNK.device))
            q_BNLK = q_BLNK[:, start : start + rows].transpose(1, 2).float()
            table = (
                None
                if bias is None
                else bias.between(query_L[:, None], torch.arange(blocks.keys, device=q_BLNK.device))
            )
            # logits are made anew in the backward pass rather than kept for all rows at once
            out, lse = checkpoint(_attend, q_BNLK, k_BNMK, v_BNMK, kept, table, scale, use_reentrant=False)
            outs.append(out)
            lses.append(lse)
        return torch.cat(outs, dim=2).transpose(1, 2).to(q_BLNK.dtype), torch.cat(lses, dim=2)


def _attend(
    q_BNLK: Tensor, k_BNMK: Tensor, v_BNMK: Tensor, kept: Tensor, bias_LM: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp; zeros and -inf where a row of `kept` is empty, with finite gradients."""
    logits_BNLM = (q_BNLK @ k_BNMK.mT) * scale
    if bias_LM is not None:
        logits_BNLM = logits_BNLM + bias_LM
    none_BNL1 = ~kept.any(-1, keepdim=True)
    logits_BNLM = logits_BNLM.masked_fill(~(kept | none_BNL1), -torch.inf)
    out_BNLK = (logits_BNLM.softmax(-1) @ v_BNMK).masked_fill(none_BNL1, 0)
    return out_BNLK, logits_BNLM.logsumexp(-1).masked_fill(none_BNL1[..., 0], -torch.inf)


def _block_of(edges: tuple[int, ...], device: torch.device) -> Tensor:
    """Index of the block that each position lies in."""
    sizes = torch.tensor(edges).diff()
    return torch.arange(len(sizes)).repeat_interleave(sizes).to(device)
