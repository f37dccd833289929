"""`StockModel`: a checkpoint that runs through a pipeline of diffusers, loaded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vgen.models.card import ModelCard
from vgen.models.digests import digests_of, files_of
from vgen.models.stock.family import Family, Grid
from vgen.models.variant import Variant

__all__ = ["StockModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StockModel:
    """One checkpoint of a family of `catalogue.py`, ready to run.

    Args:
        id: as asked for, for the record.
        folder: where it lies.
        card: its defaults, or the variant's.
        family: how it is asked.
        pipe: diffusers' pipeline; its VAE in fp32, its transformer in the dtype asked for.
        grid: sizes and lengths that it makes.
        parts: components of the folder, all of which a run depends on.
        commit: of the hub, where it was asked for by its hub id.
        variant: that it is, another card.
    """

    id: str
    folder: Path
    card: ModelCard
    family: Family
    pipe: Any
    grid: Grid
    parts: tuple[str, ...]
    commit: str | None = None
    variant: Variant | None = None
    quantization: None = None  # none of these is quantised here
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def dit(self) -> Any:
        """The transformer."""
        return self.pipe.transformer

    @property
    def device(self) -> torch.device:
        """Where components run."""
        device: torch.device = self.dit.device
        return device

    @property
    def vae(self) -> Any:
        """The VAE."""
        return self.pipe.vae

    @property
    def scheduler(self) -> Any:
        """The folder's own; a run copies it."""
        return self.pipe.scheduler

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""
        return type(self.pipe).__name__

    @property
    def grid_px(self) -> int:
        """Pixels that height and width are multiples of."""
        return self.grid.px

    def digests(self) -> dict[str, str]:
        """sha256 of every file that a run depends on, by its path in the folder; computed once."""
        if not self._digests:
            self._digests.update(digests_of(files_of(self.folder, self.parts, self.variant)))
        return dict(self._digests)
