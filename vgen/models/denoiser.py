"""`WanDenoiser`: a `VideoDiT` as the samplers want it, predicting the clean latent."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vgen.attention import Dense, VideoAttention
from vgen.models.cache import KVCache
from vgen.models.dit import PreparedText, VideoDiT

__all__ = ["WanDenoiser"]


@dataclass(frozen=True, slots=True)
class WanDenoiser:
    """Turns the velocity v = eps - x0 into x0 = x - sigma v; latents stay fp32 outside the model.

    Args:
        dit: the model.
        attention: of its self-attention layers.
    """

    dit: VideoDiT
    attention: VideoAttention = field(default_factory=Dense)

    @torch.no_grad()
    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames_T: Tensor,
        text: PreparedText,
        context: KVCache | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        told = sigma_BT if label_BT is None else label_BT
        velocity = self.dit(
            x_BCTHW.to(self.dit.dtype),
            told,
            text,
            frames_T=frames_T,
            context=context,
            attention=self.attention,
            sigma=float(sigma_BT.max()),
        )
        return x_BCTHW - sigma_BT.to(x_BCTHW)[:, None, :, None, None] * velocity.to(x_BCTHW)

    @torch.no_grad()
    def commit(self, x0_BCTHW: Tensor, *, frames_T: Tensor, text: PreparedText, context: KVCache) -> None:
        clean_BT = torch.zeros(x0_BCTHW.shape[0], 1, dtype=torch.float64, device=x0_BCTHW.device)
        self.dit(
            x0_BCTHW.to(self.dit.dtype),
            clean_BT,
            text,
            frames_T=frames_T,
            context=context,
            commit=True,
            attention=self.attention,
            sigma=0.0,
        )
