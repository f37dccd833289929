"""Linear attention: LinVideo (Huang et al. 2025, arXiv:2510.08318), SLA (Zhang et al. 2025, arXiv:2509.24006).

It is no sparse form of softmax attention but another function: weights that were not tuned for it give nonsense.

Letters here: `U` query blocks, `V` key blocks, `S` tokens of a block, `J` the width of a head once more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import elu, pad, relu

from vgen.attention.blocks import NONE, BlockMap
from vgen.attention.executors.base import Executor
from vgen.attention.lse import merged
from vgen.attention.pattern import AdaptivePattern, AnyPattern, require
from vgen.attention.planning import order_of, plan
from vgen.shapes import TokenGrid

__all__ = ["FEATURES", "LinearAttention"]

FEATURES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x_BLNK: x_BLNK.softmax(-1),
    "elu": lambda x_BLNK: elu(x_BLNK) + 1,
    "relu": relu,
}
EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention:
    """A `VideoAttention`: phi(q) (phi(K)^T V) / (phi(q) . sum phi(K) + eps), linear in the number of tokens.

    With a sparse branch, softmax attention computes what a pattern keeps, and the linear part the blocks that it does
    not touch; the two merge by their log-sum-exp, that of the linear part being the logarithm of its denominator.

    Args:
        feature: phi, over the width of a head: `softmax`, `elu` (elu + 1) or `relu`.
        sparse: pattern of the softmax branch; none where None.
        executor: computes it, with its log-sum-exp; given where `sparse` is.
        block: tokens per block of its map, or the whole sequence where that is shorter.
    """

    feature: Literal["softmax", "elu", "relu"] = "softmax"
    sparse: AnyPattern | None = None
    executor: Executor | None = None
    block: int = 128

    changes_function: ClassVar[bool] = True  # needs tuned weights

    def __post_init__(self) -> None:
        require(self.feature in FEATURES, f"linear: feature={self.feature!r}", ", ".join(FEATURES))
        require(self.block >= 1, f"linear: block={self.block}", "1 token and more")
        assert (self.sparse is None) == (self.executor is None), "a sparse branch is a pattern and an executor"

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
        """As `VideoAttention`, but for the function. Features and sums are fp32. Differentiable if the executor is."""
        phi = FEATURES[self.feature]
        if self.sparse is None or self.executor is None:
            out_BLNK, norm_BNL = _over_all(phi(q_BLNK.float()), phi(k_BMNK.float()), v_BMNK.float())
            return (out_BLNK / _column(norm_BNL + EPSILON)).to(q_BLNK.dtype)
        block, device = min(self.block, key.tokens), q_BLNK.device
        order = order_of(self.sparse, query, key, block=block)
        rows, columns = (order.permutation(grid).to(device) for grid in (query, key))
        q_BLNK, k_BMNK, v_BMNK = q_BLNK[:, rows], k_BMNK[:, columns], v_BMNK[:, columns]
        if isinstance(self.sparse, AdaptivePattern):
            blocks = self.sparse.select(q_BLNK, k_BMNK, query=query, key=key, block=block)
        else:
            blocks = plan(self.sparse, query, key, block=block, device=device)
        sparse = self.executor.with_lse(q_BLNK, k_BMNK, v_BMNK, blocks)
        out_BLNK, norm_BNL = _over_rest(phi(q_BLNK.float()), phi(k_BMNK.float()), v_BMNK.float(), blocks)
        some_BNL = norm_BNL > 0
        norm_BNL = torch.where(some_BNL, norm_BNL + EPSILON, 1)  # so that no infinity reaches a gradient
        rest = out_BLNK / _column(norm_BNL), norm_BNL.log().masked_fill(~some_BNL, -torch.inf)
        return merged([sparse, rest])[0][:, order.inverse(query).to(device)]


def _over_all(q_BLNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor) -> tuple[Tensor, Tensor]:
    """Numerator out_BLNK and denominator norm_BNL over all keys, of features."""
    state_BNKJ = torch.einsum("bmnk,bmnj->bnkj", k_BMNK, v_BMNK)
    return torch.einsum("blnk,bnkj->blnj", q_BLNK, state_BNKJ), torch.einsum("blnk,bnk->bnl", q_BLNK, k_BMNK.sum(1))


def _over_rest(q_BLNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor, blocks: BlockMap) -> tuple[Tensor, Tensor]:
    """As `_over_all`, over the keys of the blocks that a map leaves out; head by head, which bounds the memory."""
    size = blocks.block
    assert size is not None, "linear attention beside a sparse branch takes blocks of one size"
    open_BNUV = (blocks.state_BNUV == NONE).to(q_BLNK.dtype)
    outs, norms = [], []
    for head in range(q_BLNK.shape[2]):
        q_BUSK, k_BVSK, v_BVSK = (_blocked(x[:, :, head], size) for x in (q_BLNK, k_BMNK, v_BMNK))
        open_BUV = open_BNUV[:, head % open_BNUV.shape[1]].expand(len(q_BUSK), -1, -1)
        state_BVKJ = torch.einsum("bvsk,bvsj->bvkj", k_BVSK, v_BVSK)
        outs.append(torch.einsum("busk,bukj->busj", q_BUSK, torch.einsum("buv,bvkj->bukj", open_BUV, state_BVKJ)))
        norms.append(torch.einsum("busk,buk->bus", q_BUSK, open_BUV @ k_BVSK.sum(2)))
    length = blocks.queries
    out_BLNK = torch.stack([out_BUSK.flatten(1, 2)[:, :length] for out_BUSK in outs], dim=2)
    return out_BLNK, torch.stack([norm_BUS.flatten(1)[:, :length] for norm_BUS in norms], dim=1)


def _blocked(x_BLK: Tensor, size: int) -> Tensor:
    """Cut into blocks, the last one filled up with zeros."""
    return pad(x_BLK, (0, 0, 0, -x_BLK.shape[1] % size)).unflatten(1, (-1, size))


def _column(x_BNL: Tensor) -> Tensor:
    return x_BNL.transpose(1, 2)[..., None]
