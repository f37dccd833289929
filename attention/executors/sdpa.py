"""`dense`: torch's scaled-dot-product attention, for maps that keep every pair."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vgen.attention.blocks import FULL, BlockMap
from vgen.attention.executors.base import FrameBias, Task, check

__all__ = ["Sdpa"]


@dataclass(frozen=True, slots=True)
class Sdpa:
    """No map can make it skip anything, so it takes none that asks for it."""

    def supports(self, blocks: BlockMap, task: Task) -> str | None:
        if task.lse or task.bias:
            return "no log-sum-exp" if task.lse else "no bias"
        return None if bool((blocks.state_BNUV == FULL).all()) else "the map drops pairs"

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
        check(q_BLNK, k_BMNK, v_BMNK, blocks)
        assert bias is None, "no bias"
        q_BNLK, k_BNMK, v_BNMK = (x.transpose(1, 2) for x in (q_BLNK, k_BMNK, v_BMNK))
        return scaled_dot_product_attention(q_BNLK, k_BNMK, v_BNMK, scale=scale).transpose(1, 2)

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
