"""What samplers ask of others: a denoiser, its memory, and the five axes."""

from collections.abc import Container, Iterator, Mapping
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from torch import Tensor

from vgen.samplers.schedule import Step
from vgen.samplers.sigmas import SigmaTable

__all__ = ["Context", "ContextPolicy", "Denoiser", "FrameSchedule", "NoisePolicy", "Solver", "Text"]

Text: TypeAlias = Any  # what a prompt became inside the model; opaque here

C_contra = TypeVar("C_contra", contravariant=True)


class Context(Protocol):
    """Memory of committed frames; samplers never see what is in it."""

    def fork(self) -> Self:
        """An independent copy."""
        ...

    def drop(self, frames: Container[int]) -> None:
        """Forget these absolute latent frames."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything as tensors."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        ...


class Denoiser(Protocol[C_contra]):
    """Predicts the clean latent. Adapters turn a model's velocity into it."""

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames_T: Tensor,
        text: Text,
        context: C_contra | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        """The clean latent x0_BCTHW.

        Args:
            x_BCTHW: noisy latents, fp32.
            sigma_BT: how noisy each frame is; 1 is pure noise.
            frames_T: absolute latent index of each frame, on the CPU.
            text: the prompt as the model wants it.
            context: committed frames that the given ones see.
            label_BT: the sigma that the model is told; `sigma_BT` where None.
        """
        ...

    def commit(self, x0_BCTHW: Tensor, *, frames_T: Tensor, text: Text, context: C_contra) -> None:
        """Write clean frames to the context, once."""
        ...


class FrameSchedule(Protocol):
    """Axis 1: which frames a step shows, and how far each falls."""

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Step]:
        """The steps for `frames` latent frames (None: without end), of which the first `known` are clean already."""
        ...

    def total(self, frames: int, *, known: int = 0) -> int:
        """How many steps `steps` yields."""
        ...


class ContextPolicy(Protocol):
    """Axis 2: which committed frames stay visible."""

    def expired(self, stop: int) -> Container[int]:
        """The frames that a step whose last frame is `stop - 1` may no longer see."""
        ...


class NoisePolicy(Protocol):
    """Axis 3: the noise of each frame, [C, H, W], fp32 on the CPU."""

    def initial(self, frame: int, shape: tuple[int, int, int]) -> Tensor:
        """The noise a frame starts from."""
        ...

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        """New noise for a solver that adds some."""
        ...


class Solver(Protocol):
    """Axis 4: from one level to the next."""

    def refusal(self, schedule: FrameSchedule) -> str | None:
        """Why this solver cannot run this schedule; None where it can."""
        ...

    def __call__(
        self,
        x_BCTHW: Tensor,
        x0_BCTHW: Tensor,
        step: Step,
        table: SigmaTable,
        noise: NoisePolicy,
        history: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The latents at `step.level_to`, and the history for the next step (plain tensors, part of the state)."""
        ...
