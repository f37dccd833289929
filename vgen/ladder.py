"""A `Ladder`: runs the steps of a run under a placement, and goes down a rung when memory runs out.

A rung is caches freed, or the next placement; none changes what is computed. A step is handed over as a function that
leaves the run's state as it was until it returns, so that trying it again repeats it exactly. It is tried again
outside of the handler, where nothing refers to its tensors any more.
"""

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from vgen.errors import ResourceError
from vgen.models.residence import Residence, release_cached
from vgen.performance import advice
from vgen.placement import Placement
from vgen.samplers import Cue, Denoiser, Finding, Verifier

__all__ = ["Fitted", "FittedVerifier", "Ladder", "OnDevice"]

T = TypeVar("T")
CPU_ALLOCATOR = "DefaultCPUAllocator"  # torch has no class of its own for what it raises there
TOLD_CHARS = 200
log = logging.getLogger("vgen")


class Ladder:
    """What a run stands on.

    Args:
        residence: of the model.
        rungs: placements, the first in force.
        planned_mib: what the run was to take, for the last message.
        shared: whether other processes wait for each step, which then cannot be tried again by this one alone.
    """

    def __init__(
        self, residence: Residence, rungs: Sequence[Placement], *, planned_mib: float, shared: bool = False
    ) -> None:
        self.taken: list[dict[str, str]] = []
        self._residence, self._rungs, self._planned_mib = residence, list(rungs), planned_mib
        self._caches_freed, self._shared = False, shared

    @property
    def placement(self) -> Placement:
        """In force now."""
        return self._rungs[0]

    def attempt(self, what: str, step: Callable[[], T]) -> T:
        """What a step returns, tried again on a lower rung where memory runs out.

        Raises:
            ResourceError: on the last rung; with what was planned, and the flags that take less.
        """
        while True:
            self._residence.settle(self.placement)
            try:
                return step()
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                said = " ".join(str(error).split())[:TOLD_CHARS]
            self._go_down(what, said)

    def _go_down(self, what: str, said: str) -> None:
        gc.collect()
        release_cached()
        if not self._caches_freed and not self._shared:
            self._caches_freed, rung = True, "caches freed"
        elif len(self._rungs) > 1 and not self._shared:
            del self._rungs[0]
            rung = str(self.placement)
            self._residence.settle(self.placement)
            self._residence.encoded()  # or read again, where this is what they were at
        else:
            more = advice(self.placement)
            raise ResourceError(
                f"out of memory at {what}, with {self.placement}: planned {self._planned_mib:,.0f} MiB; possible: "
                f"{more and f'{more}, '}a smaller --size, fewer frames; {said}"
            )
        self.taken.append({"at": what, "rung": rung, "error": said})
        log.warning("out of memory at %s; going on with: %s", what, rung)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDevice:
    """A denoiser whose transformer is brought to the device before each call.

    Args:
        denoise: what is called.
        residence, part: who brings what.
    """

    denoise: Denoiser[Any]
    residence: Residence
    part: str

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
        self.residence.use(self.part)
        return self.denoise(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=context, label_BT=label_BT)

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: Any, label: float = 0.0
    ) -> None:
        """As `samplers.Denoiser`."""
        self.residence.use(self.part)
        self.denoise.commit(x0_BCTHW, frames=frames, cues=cues, context=context, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A denoiser that is asked again on a lower rung; a context shows nothing of a call that did not return.

    Args:
        denoise: what is called.
        ladder: of the run.
    """

    denoise: Denoiser[Any]
    ladder: Ladder

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

        def step() -> Tensor:
            return self.denoise(x_BCTHW, sigma_BT, frames=frames, cues=cues, context=context, label_BT=label_BT)

        return self.ladder.attempt(f"denoise of latent frames {frames[0]} to {frames[-1]}", step)

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: Any, label: float = 0.0
    ) -> None:
        """As `samplers.Denoiser`."""

        def step() -> None:
            self.denoise.commit(x0_BCTHW, frames=frames, cues=cues, context=context, label=label)

        self.ladder.attempt(f"commit of latent frames {frames[0]} to {frames[-1]}", step)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedVerifier:
    """A verifier that decodes with the model's VAE.

    Args:
        verifier: what is called; it must not write to what it has seen before.
        ladder, residence: of the run.
    """

    verifier: Verifier[Any]
    ladder: Ladder
    residence: Residence

    def begin(self) -> Any:
        """As `samplers.Verifier`."""
        return self.verifier.begin()

    def __call__(self, past: Any, latents_BCTHW: Tensor, frames: range) -> tuple[Finding, Any]:
        """As `samplers.Verifier`."""

        def step() -> tuple[Finding, Any]:
            self.residence.use("vae")
            return self.verifier(past, latents_BCTHW, frames)

        return self.ladder.attempt(f"verify of latent frames {frames.start} to {frames.stop - 1}", step)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error)
