"""What a schedule says: `Step`, one pass of the model, and `Lift`, clean frames that go back to noise."""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Lift", "Move", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One forward pass of the model and what it changes.

    Args:
        index: 0, 1, 2, ... within the run, `Lift`s included.
        frames: absolute latent frames shown to the model; those below 0 are never part of the clip.
        level_from: integer level of each of them before the step; 0 is clean.
        level_to: after it; equal where a frame is left alone.
        commit: frames that are finished with this step, in the order of the clip.
        told: the level that the model is told of each frame; its own where None.
    """

    index: int
    frames: range
    level_from: tuple[int, ...]
    level_to: tuple[int, ...]
    commit: range
    told: tuple[int, ...] | None = None

    @property
    def updates(self) -> bool:
        """Whether any frame changes; a step that only commits needs no model call for denoising."""
        return self.level_from != self.level_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """Clean frames take noise again: x = (1 - sigma) x0 + sigma eps, without a pass of the model.

    Args:
        index: as `Step.index`.
        frames: that get noise; they need not have existed before.
        sources: for each the clean frame whose latent it starts from.
        levels: for each the level it goes to.
    """

    index: int
    frames: range
    sources: tuple[int, ...]
    levels: tuple[int, ...]


Move: TypeAlias = Step | Lift
