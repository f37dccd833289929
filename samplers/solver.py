"""Solvers that need no history: from one level to the next, frame by frame.

With x_sigma = (1 - sigma) x0 + sigma eps, both steps are exact when x0 is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.samplers.protocols import FrameSchedule, NoisePolicy
from vgen.samplers.sigmas import SigmaTable
from vgen.samplers.steps import Step

__all__ = ["Euler", "Renoise", "per_frame", "updated"]


def per_frame(values: Sequence[float], like_BCTHW: Tensor) -> Tensor:
    """One value per frame, shaped to broadcast over [B, C, T, H, W], in the dtype and on the device of `like`."""
    return torch.tensor(values, dtype=like_BCTHW.dtype, device=like_BCTHW.device).view(1, 1, -1, 1, 1)


def updated(x_BCTHW: Tensor, new_BCTHW: Tensor, step: Step) -> Tensor:
    """`new` where the step changes a frame, and the very bits of `x` where it does not."""
    moves = [a != b for a, b in zip(step.level_from, step.level_to, strict=True)]
    if all(moves):
        return new_BCTHW
    return torch.where(torch.tensor(moves, device=x_BCTHW.device).view(1, 1, -1, 1, 1), new_BCTHW, x_BCTHW)


@dataclass(frozen=True, slots=True)
class Euler:
    """One step of the probability-flow ODE: x' = x0 + (sigma'/sigma)(x - x0), which is x + (sigma' - sigma) v."""

    def refusal(self, schedule: FrameSchedule) -> str | None:
        return None

    def __call__(
        self,
        x_BCTHW: Tensor,
        x0_BCTHW: Tensor,
        step: Step,
        table: SigmaTable,
        noise: NoisePolicy,
        history: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        ratios = [
            table.sigmas[to] / table.sigmas[at] if at != to else 1.0
            for at, to in zip(step.level_from, step.level_to, strict=True)
        ]
        return updated(x_BCTHW, x0_BCTHW + per_frame(ratios, x_BCTHW) * (x_BCTHW - x0_BCTHW), step), {}


@dataclass(frozen=True, slots=True)
class Renoise:
    """Predict x0, then add fresh noise: x' = (1 - sigma') x0 + sigma' eps (consistency sampling, CausVid)."""

    def refusal(self, schedule: FrameSchedule) -> str | None:
        return None

    def __call__(
        self,
        x_BCTHW: Tensor,
        x0_BCTHW: Tensor,
        step: Step,
        table: SigmaTable,
        noise: NoisePolicy,
        history: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        _, channels, _, height, width = x_BCTHW.shape
        eps_CTHW = torch.stack([noise.fresh(f, step.index, (channels, height, width)) for f in step.frames], dim=1)
        sigma = per_frame([table.sigmas[to] for to in step.level_to], x_BCTHW)
        return updated(x_BCTHW, (1 - sigma) * x0_BCTHW + sigma * eps_CTHW.to(x_BCTHW), step), {}
