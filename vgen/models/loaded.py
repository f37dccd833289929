"""`LoadedModel`: a checkpoint of Wan's kind, loaded; and `AnyModel`, that or one of `stock/model.py`.

`load.py` makes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from vgen.errors import ModelError
from vgen.models.card import ModelCard
from vgen.models.check import ALLOWED
from vgen.models.digests import digests_of, files_of
from vgen.models.dit import VideoDiT
from vgen.models.lora import Adapters
from vgen.models.quantization import GGUF, Quantization, replaced_files
from vgen.models.residence import Residence
from vgen.models.stock.model import StockModel
from vgen.models.text import PromptEncoder
from vgen.models.variant import Variant
from vgen.models.vision import ImageEncoder

__all__ = ["AnyModel", "LoadedModel", "own_model"]

STATES_KEPT = 8  # prompts; one of umT5's takes 4 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One checkpoint, ready to run.

    Args:
        id: as asked for, for the record.
        folder: where it lies.
        card: its defaults, or the variant's.
        prompts: tokenizer and text encoder.
        vae: in fp32.
        dit: in the dtype asked for; of two experts the one for high noise.
        scheduler: the folder's own; only its sigma table is used.
        dit_2, boundary: the expert for low noise and the sigma below which it takes over, where there are two.
        images: image processor and encoder, in fp32, where the transformer reads what they make.
        commit: of the hub, where it was asked for by its hub id.
        residence: where the weights are; who runs a component asks it for them.
        adapters: LoRA that are put on the transformers.
        quantization: how the transformers are kept; as computed where None.
        variant: that it is; its LoRA is in the weights.
    """

    id: str
    folder: Path
    card: ModelCard
    prompts: PromptEncoder
    vae: AutoencoderKLWan
    dit: VideoDiT
    scheduler: Any
    residence: Residence
    dit_2: VideoDiT | None = None
    boundary: float | None = None
    images: ImageEncoder | None = None
    commit: str | None = None
    adapters: Adapters = field(default_factory=Adapters)
    quantization: Quantization | None = None
    variant: Variant | None = None
    _states: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def device(self) -> torch.device:
        """Where components run, wherever their weights rest."""
        return self.residence.device

    def states(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Of the text encoder, by prompt; those read last are kept where the encoder is not."""
        asked = dict.fromkeys(prompts)
        missing = [prompt for prompt in asked if prompt not in self._states]
        if missing:
            self.residence.use("text_encoder")
        read = {prompt: self.prompts(prompt) for prompt in missing}
        known = {prompt: self._states[prompt] for prompt in asked if prompt in self._states} | read
        if not self.residence.placement.keep_text_encoder:
            self._states.update(read)
            for prompt in list(self._states)[:-STATES_KEPT]:
                del self._states[prompt]
        return {prompt: known[prompt] for prompt in asked}

    @property
    def grid_px(self) -> int:
        """Pixels that height and width are multiples of."""
        return int(self.vae.config.scale_factor_spatial * self.dit.config.patch_size[1])

    def digests(self) -> dict[str, str]:
        """sha256 of every file that a run depends on, by its path in the folder: weights, configs, tokenizer, card.

        Computed at the first call and kept.
        """
        if not self._digests:
            extra = {"transformer_2": self.dit_2, "image_encoder": self.images, "image_processor": self.images}
            parts = [*ALLOWED, *(part for part, loaded in extra.items() if loaded is not None)]
            files = files_of(self.folder, parts, self.variant)
            for part, file in replaced_files(self.quantization).items():
                files = {n: p for n, p in files.items() if p.parent.name != part or n.endswith("config.json")}
                files[f"{part}.{GGUF}"] = file
            self._digests.update(digests_of(files))
        return dict(self._digests)


AnyModel: TypeAlias = LoadedModel | StockModel


def own_model(model: AnyModel) -> LoadedModel:
    """A model of Wan's kind, which our own loop runs; for what a pipeline of diffusers has no place for.

    Raises:
        ModelError: it runs through a pipeline of diffusers.
    """
    if isinstance(model, StockModel):
        raise ModelError(
            f"model '{model.id}' runs through diffusers' {model.pipeline}; possible here: a model of Wan's kind"
        )
    return model
