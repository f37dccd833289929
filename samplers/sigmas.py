"""The table from integer noise levels to sigmas, read off a diffusers scheduler or given.

Only the table comes from the scheduler; the step is ours: the scheduler's own per-token step has the opposite sign
convention and searches for "the next lower sigma", which a frame-wise schedule must not do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["SigmaTable"]


@dataclass(frozen=True, slots=True)
class SigmaTable:
    """Sigmas of the levels 0..S, and the sigmas that the model is told at them.

    Args:
        sigmas: S + 1 values, rising from 0 (clean) to at most 1 (pure noise).
        told: as many; differs from `sigmas` where a scheduler rounds its timesteps (UniPC does, to integers).
    """

    sigmas: tuple[float, ...]
    told: tuple[float, ...]

    def __post_init__(self) -> None:
        assert len(self.sigmas) == len(self.told) >= 2, "a table needs one step at least, and one label per sigma"
        assert self.sigmas[0] == 0 and all(a < b for a, b in zip(self.sigmas, self.sigmas[1:], strict=False)), (
            f"sigmas rise from 0, got {self.sigmas}"
        )
        assert self.sigmas[-1] <= 1, f"sigma 1 is pure noise, got {self.sigmas[-1]}"

    @classmethod
    def of(cls, sigmas: Sequence[float]) -> "SigmaTable":
        """A table whose labels are its sigmas."""
        return cls(tuple(sigmas), tuple(sigmas))

    @classmethod
    def from_scheduler(cls, scheduler: Any, num_steps: int) -> "SigmaTable":
        """The table of a diffusers flow-matching scheduler at `num_steps` steps."""
        scheduler.set_timesteps(num_steps)
        told = [float(t) / scheduler.config.num_train_timesteps for t in scheduler.timesteps]
        return cls(
            tuple(float(s) for s in reversed(scheduler.sigmas.tolist())),
            (0.0, *reversed(told)),
        )

    @property
    def num_steps(self) -> int:
        """S."""
        return len(self.sigmas) - 1

    @property
    def per_step(self) -> tuple[float, ...]:
        """The sigma that each step starts from where all frames fall together; falling."""
        return self.sigmas[:0:-1]

    def sigma_T(self, levels: Sequence[int]) -> Tensor:
        """Sigmas of the given levels, float64 on the CPU."""
        return torch.tensor([self.sigmas[level] for level in levels], dtype=torch.float64)

    def told_T(self, levels: Sequence[int]) -> Tensor:
        """What the model is told at the given levels, float64 on the CPU."""
        return torch.tensor([self.told[level] for level in levels], dtype=torch.float64)
