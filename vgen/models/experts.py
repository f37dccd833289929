"""`Experts`: two transformers that share the fall of the noise, as Wan2.2 A14B does; one for high noise, one for low.

A denoiser made of two, each guided by a scale of its own or not at all. All frames of a step are at one level, and none
are committed: keys and values of one expert mean nothing to the other.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vgen.samplers.prompts import Cue
from vgen.samplers.protocols import Denoiser

__all__ = ["Experts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """One of two denoisers, by the level that the model is told.

    Args:
        high, low: the one for noise at or above `boundary`, and the one below it.
        boundary: sigma, within 0..1.
    """

    high: Denoiser[Any]
    low: Denoiser[Any]
    boundary: float

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        """As `samplers.Denoiser`."""
        told_BT = sigma_BT if label_BT is None else label_BT
        low, high = (float(level) for level in told_BT.aminmax())
        assert low == high, f"two experts take frames of one level, got {low:g} to {high:g}"
        expert = self.high if high >= self.boundary else self.low
        return expert(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=context, label_BT=label_BT)

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: None, label: float = 0.0
    ) -> None:
        raise AssertionError("two experts have no memory to commit to")
