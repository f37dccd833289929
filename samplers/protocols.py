"""What samplers ask of others: a denoiser, its memory, and the five axes."""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Protocol, Self, TypeVar

from torch import Tensor

from vgen.samplers.prompts import Cue
from vgen.samplers.sigmas import SigmaTable
from vgen.samplers.steps import Move, Step

__all__ = [
    "Context",
    "ContextPolicy",
    "Denoiser",
    "FrameSchedule",
    "NoisePolicy",
    "PositionScheme",
    "PromptSchedule",
    "Solver",
]

C_contra = TypeVar("C_contra", contravariant=True)


class Context(Protocol):
    """Memory of committed frames; samplers never see what is in it."""

    def fork(self) -> Self:
        """An independent copy."""
        ...

    def drop(self, frames: Container[int]) -> None:
        """Forget these absolute latent frames."""
        ...


class Denoiser(Protocol[C_contra]):
    """Predicts the clean latent. Adapters turn a model's velocity into it."""

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: C_contra | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        """The clean latent x0_BCTHW.

        Args:
            x_BCTHW: noisy latents, fp32.
            sigma_BT: how noisy each frame is; 1 is pure noise.
            frames: absolute latent index of each frame, rising; with gaps behind a sink, below 0 before the clip.
            cues: which prompt each frame sees.
            context: committed frames that the given ones see.
            label_BT: the sigma that the model is told; `sigma_BT` where None.
        """
        ...

    def commit(
        self,
        x0_BCTHW: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: C_contra,
        label: float = 0.0,
    ) -> None:
        """Write clean frames to the context, once; `label` is the sigma that the model is told of them."""
        ...


class FrameSchedule(Protocol):
    """Axis 1: which frames a step shows, and how far each falls."""

    @property
    def num_steps(self) -> int:
        """S, noise levels."""
        ...

    @property
    def uniform(self) -> bool:
        """Whether all frames that a step changes are at one level."""
        ...

    @property
    def looks_back(self) -> int:
        """Finished frames that later steps still show."""
        ...

    def in_flight(self, frames: int | None) -> int:
        """The most frames of a clip of `frames` that a step shows."""
        ...

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Move]:
        """The moves for `frames` latent frames (None: without end), of which the first `known` are clean already."""
        ...

    def total(self, frames: int, *, known: int = 0) -> int:
        """How many moves `steps` yields."""
        ...


class ContextPolicy(Protocol):
    """Axis 2: which finished frames stay visible, and how. `SinkWindow` says what the names mean."""

    @property
    def memory(self) -> str: ...
    @property
    def noise(self) -> float: ...
    @property
    def label(self) -> float: ...
    @property
    def on_prompt(self) -> str: ...
    @property
    def sink(self) -> int: ...
    @property
    def retained(self) -> int: ...
    @property
    def block(self) -> int: ...
    def visible(self, start: int, stop: int, since: int = 0) -> tuple[int, ...]: ...
    def expired(self, stop: int, since: int = 0) -> Container[int]: ...


class PositionScheme(Protocol):
    """Where in time the model takes the visible frames to stand; asked for by a context policy, filled by a model."""

    def __call__(self, visible: tuple[int, ...]) -> tuple[int, ...]:
        """Rotary position of each visible frame, context and shown ones, in rising order of frames."""
        ...


class NoisePolicy(Protocol):
    """Axis 3: the noise of each frame, [C, H, W], fp32 on the CPU."""

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        """The noise a frame starts from; `before` is the present latent of the frame before, if it has one."""
        ...

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        """New noise for a solver that adds some."""
        ...

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        """Noise [C, T, H, W] for clean frames that a schedule lifts back to noise."""
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


class PromptSchedule(Protocol):
    """Axis 5: the prompt that each frame sees."""

    def cues(self, frames: Sequence[int], done: float) -> tuple[Cue, ...]:
        """A cue for each frame, after a share `done` of the steps that they take."""
        ...

    def since(self, frame: int) -> int:
        """First latent frame of the prompt that this frame sees."""
        ...
