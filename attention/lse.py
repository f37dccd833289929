"""Results over disjoint keys put together by log-sum-exp (Milakov and Gimelshein 2018, arXiv:1805.02867)."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["merged"]


def merged(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Attention over the union of disjoint sets of keys. Differentiable.

    Args:
        parts: at least one pair of out_BLNK, in any dtype, and lse_BNL, the natural log-sum-exp of the logits in fp32;
            -inf where a query keeps no key of that part.

    Returns:
        out_BLNK in the dtype of the first part, lse_BNL; zeros and -inf where no part keeps anything.
    """
    assert parts, "at least one part to merge"
    lse_BNLP = torch.stack([lse for _, lse in parts], dim=-1)
    some_BNL = lse_BNLP.detach().amax(-1) > -torch.inf
    # finite where nothing is kept, so that no infinity reaches a gradient
    safe_BNLP = lse_BNLP.masked_fill(~some_BNL[..., None], 0)
    total_BNL = safe_BNLP.logsumexp(-1)
    share_BNLP = (safe_BNLP - total_BNL[..., None]).exp() * some_BNL[..., None]
    share_BLNP = share_BNLP.transpose(1, 2)
    out_BLNK = sum(out.to(share_BLNP.dtype) * share_BLNP[..., i, None] for i, (out, _) in enumerate(parts))
    assert isinstance(out_BLNK, Tensor)
    return out_BLNK.to(parts[0][0].dtype), total_BNL.masked_fill(~some_BNL, -torch.inf)
