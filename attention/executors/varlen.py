"""`varlen`: each chunk of keys attends to by the queries that chose it, packed; partial results merge by log-sum-exp.

For maps in which single queries choose (MoBA, VMoBA): no query computes more than it kept, however unlike its
neighbours it chooses. On a GPU one call of torch's attention over sequences of different lengths, one per chunk, item
and head; on a CPU one call of flash attention each.

Letters here: `X` items and heads, `U` query blocks, `V` chunks of keys, `P` pairs of a query and a chunk.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from vgen.attention.blocks import FULL, PART, BlockMap
from vgen.attention.executors.base import FrameBias, Task, check

__all__ = ["Varlen"]

_DTYPES = {"cpu": (torch.float32, torch.bfloat16, torch.float16), "cuda": (torch.bfloat16, torch.float16)}
_PAIRS_AT_ONCE = 1 << 20  # 512 MiB of partial results at head width 128, in fp32


@dataclass(frozen=True, slots=True)
class Varlen:
    """Exact for whole blocks, of any sizes."""

    def supports(self, blocks: BlockMap, task: Task) -> str | None:
        kind = task.device.type
        if kind not in _DTYPES:
            return "it runs on CPUs and CUDA devices alone"
        if task.dtype not in _DTYPES[kind]:
            return f"no kernel for {str(task.dtype).removeprefix('torch.')}"
        if task.gradient or task.bias:
            return f"no {'gradient' if task.gradient else 'bias'}"
        if kind == "cuda" and torch.cuda.get_device_capability(task.device) < (8, 0):
            return "it needs compute capability 8.0"
        if kind == "cuda" and (task.head_width > 256 or task.head_width % 8):
            return f"heads of width {task.head_width}; possible: multiples of 8 up to 256"
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
        assert bias is None, "no bias"
        batch, _, heads, _ = q_BLNK.shape
        q_XLK, k_XMK, v_XMK = (x.transpose(1, 2).flatten(0, 1).contiguous() for x in (q_BLNK, k_BMNK, v_BMNK))
        state_XUV = blocks.state_BNUV.expand(batch, heads, -1, -1).flatten(0, 1)
        kept = int((state_XUV == FULL).sum()) * blocks.queries // state_XUV.shape[1]
        step = max(1, len(q_XLK) * _PAIRS_AT_ONCE // max(1, kept))
        parts = []
        for at in range(0, len(q_XLK), step):
            some = slice(at, at + step)
            parts.append(_attend(q_XLK[some], k_XMK[some], v_XMK[some], state_XUV[some], blocks, scale))
        outs, lses = zip(*parts, strict=True)
        out_BNLK = torch.cat(outs).unflatten(0, (batch, heads))
        return out_BNLK.transpose(1, 2).to(q_BLNK.dtype), torch.cat(lses).unflatten(0, (batch, heads))


def _attend(
    q_XLK: Tensor, k_XMK: Tensor, v_XMK: Tensor, state_XUV: Tensor, blocks: BlockMap, scale: float | None
) -> tuple[Tensor, Tensor]:
    """out_XLK and lse_XL in fp32."""
    sizes_U = torch.tensor(blocks.query_edges).diff().to(state_XUV.device)
    chosen_XVL = (state_XUV == FULL).repeat_interleave(sizes_U, dim=1).transpose(1, 2)
    owner_P, chunk_P, query_P = chosen_XVL.nonzero(as_tuple=True)
    row_P = owner_P * blocks.queries + query_P
    counts_XV = chosen_XVL.sum(-1)
    q_PK = q_XLK.flatten(0, 1)[row_P]
    compute = _packed if q_XLK.is_cuda else _one_by_one
    out_PK, lse_P = compute(q_PK, k_XMK, v_XMK, counts_XV, blocks.key_edges, scale)
    out_RK, lse_R = _merged(out_PK, lse_P, row_P, chunk_P, counts_XV.sum(0).tolist(), q_XLK.shape[:2].numel())
    return out_RK.view_as(q_XLK), lse_R.view(q_XLK.shape[:2])


def _packed(
    q_PK: Tensor, k_XMK: Tensor, v_XMK: Tensor, counts_XV: Tensor, edges: tuple[int, ...], scale: float | None
) -> tuple[Tensor, Tensor]:
    """All chunks in one call, each a sequence with the queries that chose it; for a GPU."""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    sizes_V = torch.tensor(edges, device=q_PK.device).diff()
    starts_q, starts_k = (
        pad(x.flatten().cumsum(0), (1, 0)).to(torch.int32) for x in (counts_XV, sizes_V.repeat(len(counts_XV)))
    )
    largest = int(counts_XV.max()), int(sizes_V.max())
    q_P1K, k_11K, v_11K = (x.view(-1, 1, x.shape[-1]) for x in (q_PK, k_XMK, v_XMK))
    asked = AuxRequest(lse=True)
    found = varlen_attn(q_P1K, k_11K, v_11K, starts_q, starts_k, *largest, return_aux=asked, scale=scale)
    assert isinstance(found, tuple), "output and log-sum-exp"
    return found[0][:, 0], found[1].flatten()


def _one_by_one(
    q_PK: Tensor, k_XMK: Tensor, v_XMK: Tensor, counts_XV: Tensor, edges: tuple[int, ...], scale: float | None
) -> tuple[Tensor, Tensor]:
    """Chunk after chunk; for a CPU."""
    out_PK = torch.empty_like(q_PK)
    lse_P = torch.empty(len(q_PK))
    first = 0
    for x, row in enumerate(counts_XV.tolist()):
        for v, count in enumerate(row):
            if count == 0:  # the kernel would divide by it
                continue
            queries, keys = slice(first, first + count), slice(edges[v], edges[v + 1])
            out_11PK, lse_11P = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q_PK[None, None, queries], k_XMK[None, None, x, keys], v_XMK[None, None, x, keys], scale=scale
            )
            out_PK[queries], lse_P[queries] = out_11PK[0, 0], lse_11P[0, 0]
            first += count
    return out_PK, lse_P


def _merged(
    out_PK: Tensor, lse_P: Tensor, row_P: Tensor, chunk_P: Tensor, counts_V: list[int], rows: int
) -> tuple[Tensor, Tensor]:
    """What each row has over all its chunks; zeros and -inf where it has none.

    Chunk after chunk: no row occurs twice in one, so that sums are made in the same order in every run.
    """
    top_R = lse_P.new_full((rows,), -torch.inf).scatter_reduce(0, row_P, lse_P, "amax")
    total_R = lse_P.new_zeros(rows)
    sum_RK = lse_P.new_zeros(rows, out_PK.shape[-1])
    weight_P = (lse_P - top_R[row_P]).exp()
    for pairs in chunk_P.argsort(stable=True).split(counts_V):
        into = row_P[pairs]
        total_R[into] += weight_P[pairs]
        sum_RK[into] += weight_P[pairs, None] * out_PK[pairs]
    some_R = total_R > 0
    return sum_RK / total_R.where(some_R, 1)[:, None], (top_R + total_R.log()).where(some_R, -torch.inf)
