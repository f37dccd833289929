"""`xformers`: keys gathered per block of queries, and xformers' attention over sequences of different lengths.

An extra, `vgen[xformers]`, for CUDA alone. Wheels of xformers are built for one version of torch; where their kernels
do not load beside this one, that is the reason that `supports` gives.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from vgen.attention.blocks import FULL, PART, BlockMap
from vgen.attention.executors.base import FrameBias, Task, check

__all__ = ["Xformers"]

_DTYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Xformers:
    """Exact for whole blocks, of any sizes."""

    def supports(self, blocks: BlockMap, task: Task) -> str | None:
        problem = _problem()
        if problem is not None:
            return problem
        if task.device.type != "cuda":
            return "it runs on CUDA devices alone"
        if task.dtype not in _DTYPES:
            return f"no kernel for {str(task.dtype).removeprefix('torch.')}"
        if task.gradient or task.lse or task.bias:
            return f"no {'gradient' if task.gradient else 'log-sum-exp' if task.lse else 'bias'}"
        return "the map masks pairs inside blocks" if bool((blocks.state_BNUV == PART).any()) else None

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
        from xformers.ops import memory_efficient_attention
        from xformers.ops.fmha.attn_bias import BlockDiagonalMask

        check(q_BLNK, k_BMNK, v_BMNK, blocks)
        assert bias is None, "no bias"
        batch, queries, heads, width = q_BLNK.shape
        out_XLK = q_BLNK.new_zeros(batch * heads, queries, width)
        q_XLK, k_XMK, v_XMK = (x.transpose(1, 2).flatten(0, 1) for x in (q_BLNK, k_BMNK, v_BMNK))
        state_XUV = blocks.state_BNUV.expand(batch, heads, -1, -1).flatten(0, 1)
        sizes_U, sizes_V = (torch.tensor(edges).diff() for edges in (blocks.query_edges, blocks.key_edges))
        for x, state_UV in enumerate(state_XUV == FULL):  # one head at a time bounds what is gathered
            kept_UV = state_UV.cpu()
            some_U = kept_UV.any(1)
            if not bool(some_U.any()):
                continue
            kept_UM = kept_UV[some_U].repeat_interleave(sizes_V, dim=1)
            rows = some_U.repeat_interleave(sizes_U).nonzero()[:, 0].to(q_BLNK.device)
            columns = kept_UM.nonzero()[:, 1].to(q_BLNK.device)
            lengths = BlockDiagonalMask.from_seqlens(sizes_U[some_U].tolist(), kept_UM.sum(1).tolist())
            packed = (part[None, :, None] for part in (q_XLK[x, rows], k_XMK[x, columns], v_XMK[x, columns]))
            out_XLK[x, rows] = memory_efficient_attention(*packed, attn_bias=lengths, scale=scale)[0, :, 0]
        return out_XLK.unflatten(0, (batch, heads)).transpose(1, 2)

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
        raise NotImplementedError("no log-sum-exp; `supports` says so")


@cache
def _problem() -> str | None:
    """Why xformers cannot be used here."""
    if find_spec("xformers") is None:
        return "xformers is not installed; pip install 'vgen[xformers]'"
    try:
        from xformers import _cpp_lib
    except (ImportError, OSError, RuntimeError) as error:
        return f"xformers cannot be imported: {str(error).splitlines()[0]}"
    if getattr(_cpp_lib, "_cpp_library_load_exception", None) is not None:
        return f"the kernels of the installed xformers do not load beside torch {torch.__version__}; vgen[xformers]"
    return None
