"""What attention has to give: a dense softmax in float64 over what `keeps` and text visibility say, never from a map.

Queries, keys and values stand in raster order, text in front and behind, as a `TokenGrid` counts them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vgen.attention.pattern import Pattern
from vgen.attention.place import Place
from vgen.shapes import TokenGrid

__all__ = ["draw_qkv", "oracle", "softmax_over", "visible_LM"]


def oracle(
    pattern: Pattern,
    query: TokenGrid,
    key: TokenGrid,
    q_BLNK: Tensor,
    k_BMNK: Tensor,
    v_BMNK: Tensor,
    *,
    scale: float | None = None,
    bias_TS: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention by the definition of the pattern.

    Args:
        bias_TS: added to the logits, by the index of the frames in the two grids; text has none.

    Returns:
        out_BLNK and lse_BNL (natural logarithm) in float64; zeros and -inf for a query that keeps nothing.
    """
    logits_LM = None if bias_TS is None else _bias_LM(bias_TS, query, key)
    return softmax_over(q_BLNK, k_BMNK, v_BMNK, visible_LM(pattern, query, key), scale=scale, bias_LM=logits_LM)


def softmax_over(
    q_BLNK: Tensor,
    k_BMNK: Tensor,
    v_BMNK: Tensor,
    kept: Tensor,
    *,
    scale: float | None = None,
    bias_LM: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `oracle`, over the pairs of `kept`, [L, M] or anything that broadcasts to [B, N, L, M]. Differentiable."""
    q, k, v = (x.double().transpose(1, 2) for x in (q_BLNK, k_BMNK, v_BMNK))
    logits_BNLM = (q @ k.mT) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias_LM is not None:
        logits_BNLM = logits_BNLM + bias_LM.double()
    kept_BNLM = kept.expand_as(logits_BNLM)
    some_BNL1 = kept_BNLM.any(-1, keepdim=True)
    # a query that keeps nothing is computed over everything and then put out, so that gradients stay finite
    logits_BNLM = logits_BNLM.masked_fill(~kept_BNLM & some_BNL1, -torch.inf)
    out_BNLK = (logits_BNLM.softmax(-1) @ v).masked_fill(~some_BNL1, 0)
    lse_BNL = logits_BNLM.logsumexp(-1).masked_fill(~some_BNL1[..., 0], -torch.inf)
    return out_BNLK.transpose(1, 2), lse_BNL


def visible_LM(pattern: Pattern, query: TokenGrid, key: TokenGrid) -> Tensor:
    """Which key each query sees: what the pattern keeps, and text always."""
    kept_LM = torch.ones(query.tokens, key.tokens, dtype=torch.bool)
    between = pattern.keeps(_places(query, (-1, 1)), _places(key, (1, -1)))
    kept_LM[_video(query), _video(key)] = between.expand(query.video_tokens, key.video_tokens)
    return kept_LM


def draw_qkv(
    query: TokenGrid | int,
    key: TokenGrid | int,
    *,
    batch: int = 1,
    heads: int = 2,
    width: int = 16,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Normal q_BLNK, k_BMNK, v_BMNK; each is cut from a larger piece of memory that is NaN before and behind."""
    generator = torch.Generator().manual_seed(seed)
    tokens = [side if isinstance(side, int) else side.tokens for side in (query, key, key)]
    drawn = []
    for count in tokens:
        around = torch.full((batch, count + 64, heads, width), torch.nan, dtype=dtype)
        inside = around[:, 32 : 32 + count]
        inside.copy_(torch.randn(inside.shape, generator=generator))
        drawn.append(inside)
    return drawn[0], drawn[1], drawn[2]


def _places(grid: TokenGrid, shape: Sequence[int]) -> Place:
    axes = torch.tensor(grid.frames), torch.arange(grid.height), torch.arange(grid.width)
    t, h, w = (axis.int().reshape(*shape) for axis in torch.meshgrid(*axes, indexing="ij"))
    return Place(t, h, w, grid)


def _video(grid: TokenGrid) -> slice:
    return slice(grid.text_before, grid.text_before + grid.video_tokens)


def _bias_LM(bias_TS: Tensor, query: TokenGrid, key: TokenGrid) -> Tensor:
    bias_LM = torch.zeros(query.tokens, key.tokens, dtype=torch.float64)
    by_token = bias_TS.double().repeat_interleave(query.tokens_per_frame, 0)
    bias_LM[_video(query), _video(key)] = by_token.repeat_interleave(key.tokens_per_frame, 1)
    return bias_LM
