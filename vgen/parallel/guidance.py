"""`SplitGuided`: the branches of classifier-free guidance side by side, each in a process of its own."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vgen.parallel.peers import Peers
from vgen.samplers import Cue, Denoiser, within

__all__ = ["SplitGuided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitGuided:
    """As `samplers.Guided`, to the bit. Both processes go on with the same latents; each remembers its own branch.

    Args:
        branch: this process's, with the prompts in the first and with the negative prompt in the second.
        scale: guidance_scale, above 1.
        peers: the two.
        interval: as of `samplers.Guided`; where no frame is within it the second process waits for the first.
    """

    branch: Denoiser[Any]
    scale: float
    peers: Peers
    interval: tuple[float, float] | None = None

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: Any,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        """As `samplers.Denoiser`."""
        inside_BT = None if self.interval is None else within(sigma_BT, self.interval)
        alone = inside_BT is not None and not inside_BT.any()
        if alone and not self.peers.first:
            return self.peers.from_first(torch.empty_like(x_BCTHW, memory_format=torch.contiguous_format))
        mine = self.branch(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=context, label_BT=label_BT)
        if alone:
            return self.peers.from_first(mine.contiguous())
        cond, uncond = self.peers.gathered(mine)
        guided = uncond + self.scale * (cond - uncond)
        return guided if inside_BT is None else torch.where(inside_BT[:, None, :, None, None], guided, cond)

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: Any, label: float = 0.0
    ) -> None:
        """As `samplers.Denoiser`."""
        self.branch.commit(x0_BCTHW, frames=frames, cues=cues, context=context, label=label)
