"""`SplitGuided`: the branches of classifier-free guidance side by side, each in a process of its own."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vgen.parallel.peers import Peers
from vgen.samplers import Cue, Denoiser

__all__ = ["SplitGuided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitGuided:
    """As `samplers.Guided`, to the bit. Both processes go on with the same latents; each remembers its own branch.

    Args:
        branch: this process's, with the prompts in the first and with the negative prompt in the second.
        scale: guidance_scale, above 1.
        peers: the two.
    """

    branch: Denoiser[Any]
    scale: float
    peers: Peers

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
        mine = self.branch(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=context, label_BT=label_BT)
        cond, uncond = self.peers.gathered(mine)
        return uncond + self.scale * (cond - uncond)

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: Any, label: float = 0.0
    ) -> None:
        """As `samplers.Denoiser`."""
        self.branch.commit(x0_BCTHW, frames=frames, cues=cues, context=context, label=label)
