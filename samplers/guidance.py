"""Classifier-free guidance, in one place: a denoiser made of two.

Ho and Salimans 2022, arXiv:2207.12598; within an interval of noise levels alone: Kynkaanniemi et al. 2024,
arXiv:2404.07724. Each branch has its own texts and its own memory. A scale of 1 needs no second
branch; there the plain denoiser is the thing to use.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from vgen.samplers.prompts import Cue
from vgen.samplers.protocols import Context, Denoiser

__all__ = ["Branches", "Guided", "within"]

C = TypeVar("C", bound=Context)


@dataclass(frozen=True, slots=True)
class Branches(Generic[C]):
    """The memories of both branches, which together are one `Context`."""

    cond: C
    uncond: C

    def fork(self) -> Self:
        return type(self)(self.cond.fork(), self.uncond.fork())

    def drop(self, frames: Container[int]) -> None:
        self.cond.drop(frames)
        self.uncond.drop(frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guided(Generic[C]):
    """x0 = uncond + scale (cond - uncond).

    Args:
        cond, uncond: the model with the prompts, and with the negative prompt.
        scale: guidance_scale, above 1.
        interval: (low, high]: frames are guided at noise levels within it, and passes without such a frame run `cond`
            alone; everywhere where None. Both memories are written all the same.
    """

    cond: Denoiser[C]
    uncond: Denoiser[C]
    scale: float
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        assert self.scale > 1, f"guidance of {self.scale} needs no second branch"

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: Branches[C] | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        """As `samplers.Denoiser`."""
        inside_BT = None if self.interval is None else within(sigma_BT, self.interval)
        if inside_BT is not None and not inside_BT.any():
            memory = None if context is None else context.cond
            return self.cond(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=memory, label_BT=label_BT)
        memories = (None, None) if context is None else (context.cond, context.uncond)
        cond, uncond = (
            denoise(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=memory, label_BT=label_BT)
            for denoise, memory in zip((self.cond, self.uncond), memories, strict=True)
        )
        guided = uncond + self.scale * (cond - uncond)
        return guided if inside_BT is None else torch.where(inside_BT[:, None, :, None, None], guided, cond)

    def commit(
        self,
        x0_BCTHW: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: Branches[C],
        label: float = 0.0,
    ) -> None:
        """As `samplers.Denoiser`."""
        self.cond.commit(x0_BCTHW, frames=frames, cues=cues, context=context.cond, label=label)
        self.uncond.commit(x0_BCTHW, frames=frames, cues=cues, context=context.uncond, label=label)


def within(sigma_BT: Tensor, interval: tuple[float, float]) -> Tensor:
    """Which noise levels are guided; the lower end is not."""
    return (sigma_BT > interval[0]) & (sigma_BT <= interval[1])
