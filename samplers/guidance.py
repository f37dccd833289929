"""Classifier-free guidance, in one place: a denoiser made of a denoiser.

Ho and Salimans 2022, arXiv:2207.12598. Two branches, each with its own text and its own memory. A scale of 1 needs no
second branch; there the plain denoiser is the thing to use.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from torch import Tensor

from vgen.samplers.protocols import Context, Denoiser, Text

__all__ = ["BranchTexts", "Branches", "Guided"]

C = TypeVar("C", bound=Context)


@dataclass(frozen=True, slots=True)
class BranchTexts:
    """The prompt's text and the negative prompt's."""

    cond: Text
    uncond: Text


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

    def state_dict(self) -> dict[str, Tensor]:
        cond = {f"cond.{key}": value for key, value in self.cond.state_dict().items()}
        return cond | {f"uncond.{key}": value for key, value in self.uncond.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, branch in (("cond.", self.cond), ("uncond.", self.uncond)):
            branch.load_state_dict({key.removeprefix(name): v for key, v in state.items() if key.startswith(name)})


@dataclass(frozen=True, slots=True)
class Guided(Generic[C]):
    """x0 = uncond + scale (cond - uncond).

    Args:
        denoise: the model.
        scale: guidance_scale, above 1.
    """

    denoise: Denoiser[C]
    scale: float

    def __post_init__(self) -> None:
        assert self.scale > 1, f"guidance of {self.scale} needs no second branch"

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames_T: Tensor,
        text: BranchTexts,
        context: Branches[C] | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        memories = (None, None) if context is None else (context.cond, context.uncond)
        cond, uncond = (
            self.denoise(x_BCTHW, sigma_BT, frames_T=frames_T, text=words, context=memory, label_BT=label_BT)
            for words, memory in zip((text.cond, text.uncond), memories, strict=True)
        )
        return uncond + self.scale * (cond - uncond)

    def commit(self, x0_BCTHW: Tensor, *, frames_T: Tensor, text: BranchTexts, context: Branches[C]) -> None:
        self.denoise.commit(x0_BCTHW, frames_T=frames_T, text=text.cond, context=context.cond)
        self.denoise.commit(x0_BCTHW, frames_T=frames_T, text=text.uncond, context=context.uncond)
