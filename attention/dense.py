"""Dense softmax attention, and block-causal attention by slices of the prefix.

Leaves out: which kernel computes it (kernels.py), and patterns that drop pairs of tokens inside a frame.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from vgen.attention.kernels import AUTO, dense_kernel, traced_attention
from vgen.shapes import TokenGrid

__all__ = ["Dense", "VideoAttention", "block_causal"]


class VideoAttention(Protocol):
    """What a video transformer calls in each self-attention layer."""

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        """Softmax attention with scale 1/sqrt(K).

        Args:
            q_BLNK, k_BMNK, v_BMNK: one dtype and device; rotary embedding already applied.
            query: the lattice of the L query tokens.
            key: the lattice of the M keys: cached context first, then the frames of the query.
            layer: index of the calling layer.
            sigma: highest noise level among the frames of the query; None where the caller does not know it.

        Returns:
            out_BLNK, in the dtype of q.
        """
        ...


@dataclass(frozen=True, slots=True)
class Dense:
    """Every query sees every key (torch's scaled-dot-product attention).

    Args:
        kernel: a name from `KERNELS`, or `auto`.
        ran: calls so far, by the kernel that computed them; none within `torch.compile`, where torch chooses later.
    """

    kernel: str = AUTO
    ran: Counter[str] = field(default_factory=Counter, compare=False)

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        q_BNLK, k_BNMK, v_BNMK = (x.transpose(1, 2) for x in (q_BLNK, k_BMNK, v_BMNK))
        if self.kernel == AUTO and torch.compiler.is_compiling():  # counting would cut a graph of the whole model
            return traced_attention(q_BNLK, k_BNMK, v_BNMK).transpose(1, 2)
        out_BNLK, ran = dense_kernel(q_BNLK, k_BNMK, v_BNMK, self.kernel)
        self.ran[ran] += 1
        return out_BNLK.transpose(1, 2)


def block_causal(
    attend: VideoAttention,
    q_BLNK: Tensor,
    k_BMNK: Tensor,
    v_BMNK: Tensor,
    *,
    query: TokenGrid,
    key: TokenGrid,
    layer: int,
    block: int,
    sigma: float | None = None,
) -> Tensor:
    """`attend`, so that each block of frames sees itself, earlier blocks, and all context before them.

    Works on slices of the prefix instead of a boolean mask: exact, and on a CPU 3.4 times faster in the backward pass,
    where a mask leaves the fused kernel. The keys in front of the query's own frames are context and always visible.
    A frame belongs to block `frame // block`, whichever frames are shown, so gaps and cut blocks are as they should be.

    Args:
        attend: what each block is attended to by.
        q_BLNK, k_BMNK, v_BMNK, query, key, layer, sigma: as `VideoAttention`; no text; the query's blocks rise.
        block: frames per block; at least 1.
    """
    frames = query.frames
    blocks = [frame // block for frame in frames]
    assert blocks == sorted(blocks), f"blocks of {block} frames rise, got frames {frames}"
    per_frame, context = query.tokens_per_frame, len(key.frames) - len(frames)
    starts = [i for i in range(len(frames)) if i == 0 or blocks[i] != blocks[i - 1]]
    outs = []
    for start, stop in zip(starts, [*starts[1:], len(frames)], strict=True):
        rows, columns = slice(start * per_frame, stop * per_frame), slice(0, (context + stop) * per_frame)
        outs.append(
            attend(
                q_BLNK[:, rows],
                k_BMNK[:, columns],
                v_BMNK[:, columns],
                query=replace(query, frames=frames[start:stop]),
                key=replace(key, frames=key.frames[: context + stop]),
                layer=layer,
                sigma=sigma,
            )
        )
    return torch.cat(outs, dim=1)
