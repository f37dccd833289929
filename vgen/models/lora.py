"""LoRA on a loaded model: put on with a scale each, merged into the weights, and taken off again to the bit.

The layers are PEFT's, through the adapter methods that diffusers gives every model. A merged weight cannot be unmerged
by subtraction to the bit, so what is taken off is read anew from the model's folder. The LoRA of a variant is merged
for good: to those that are put on later, the weights of the model are the variant's.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from vgen.errors import ConfigError
from vgen.models.dit import VideoDiT
from vgen.models.lora_file import COMPUTED, LoraFile, lora_targets
from vgen.models.lora_request import LoraRequest

__all__ = ["Adapters", "merge_lora"]

EXPERTS = {1: "the first transformer, for high noise, alone", 2: "the second transformer, for low noise, alone"}


class Adapters:
    """The LoRA of one model.

    Args:
        merged: that of its variant, which is in the weights already.
    """

    def __init__(self, merged: LoraFile | None = None) -> None:
        self._merged = merged
        self._experts: list[VideoDiT] = []
        self._weights: list[tuple[Path, ...]] = []
        self._again: list[Callable[[], VideoDiT] | None] = []
        self._loaded: list[LoraFile] = []
        self.fused = False

    @property
    def requests(self) -> tuple[LoraRequest, ...]:
        """What is put on, in order."""
        return tuple(lora.request for lora in self._loaded)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, a line for each."""
        merged = () if self._merged is None else (f"{self._layers(self._merged)}, the variant's, in the weights",)
        return (*merged, *(self._note(lora) for lora in self._loaded))

    def rows(self) -> list[dict[str, Any]]:
        """For the record: name of the file, scale, which transformer, digest."""
        return [
            {"file": lora.file.name, "scale": lora.request.scale, "transformer": lora.request.transformer}
            | {"sha256": lora.sha256}
            for lora in self._loaded
        ]

    def admit(self, expert: VideoDiT, weights: Sequence[Path], again: Callable[[], VideoDiT] | None = None) -> None:
        """Takes in the next transformer.

        Args:
            expert: with its weights.
            weights: files that they were read from.
            again: reads it anew, where its weights are not those of the files.
        """
        self._experts.append(expert)
        self._weights.append(tuple(weights))
        self._again.append(again)

    def foresee(self, lora: LoraFile) -> None:
        """Counts a LoRA as put on, of a model without weights."""
        self._loaded.append(lora)

    def add(self, loras: Sequence[LoraFile]) -> None:
        """Puts LoRA on, beside those that are.

        Raises:
            ModelError: a file is damaged.
            ConfigError: those that are on are fused.
        """
        if self.fused:
            raise ConfigError("the LoRA of this model are fused; unfuse them before others are loaded")
        ready = [(lora, self._state(lora)) for lora in loras]  # so that a damaged one changes nothing
        for lora, state in ready:
            expert = self._experts[lora.request.transformer - 1]
            with warnings.catch_warnings():  # of a second adapter, which is what is wanted
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")
                expert.load_lora_adapter(
                    state,
                    prefix=None,
                    adapter_name=f"lora{len(self._loaded)}",
                    metadata=lora.config(),
                    low_cpu_mem_usage=True,
                )
            self._loaded.append(lora)
        self._activate()

    def fuse(self) -> None:
        """Merges the LoRA into the weights: as fast as without, equal within rounding.

        Raises:
            ConfigError: there are none, they are fused already, or the weights are not kept as they are computed in.
        """
        if not self._loaded:
            raise ConfigError("no LoRA to fuse; load one first")
        if self.fused:
            raise ConfigError("the LoRA of this model are fused already")
        for expert, names in self._touched():
            layers = lora_targets(expert)
            for name in names:
                if layers[name].weight.dtype not in COMPUTED or type(layers[name]) not in (nn.Linear, nn.Conv3d):
                    raise ConfigError(f"a LoRA cannot be fused into {name}, whose weights are stored in another form")
        for expert, _ in self._touched():
            expert.fuse_lora()
        self.fused = True

    def unfuse(self) -> None:
        """Takes them out of the weights again, which are then what they were, and keeps them on as layers.

        Raises:
            ConfigError: they are not fused.
        """
        if not self.fused:
            raise ConfigError("the LoRA of this model are not fused")
        for expert, names in self._touched():
            expert.unfuse_lora()
            self._restore(expert, names)
        self.fused = False

    def remove(self) -> None:
        """Takes all LoRA off; the weights are to the bit what they were.

        Raises:
            ConfigError: there are none.
        """
        if not self._loaded:
            raise ConfigError("no LoRA to unload")
        if self.fused:
            self.unfuse()
        for expert, _ in self._touched():
            expert.unload_lora()
        self._loaded.clear()

    def _state(self, lora: LoraFile) -> dict[str, torch.Tensor]:
        expert = self._experts[lora.request.transformer - 1]
        return lora.state(lora_targets(expert), expert.device, expert.dtype)

    def _activate(self) -> None:
        """All adapters at once, each with its scale."""
        for number, expert in enumerate(self._experts, start=1):
            mine = {f"lora{i}": lora for i, lora in enumerate(self._loaded) if lora.request.transformer == number}
            if mine:
                expert.set_adapters(list(mine), [lora.request.scale for lora in mine.values()])
                expert.requires_grad_(False)

    def _touched(self) -> list[tuple[VideoDiT, list[str]]]:
        """Each transformer that has LoRA, and the layers that they change."""
        by_number: dict[int, dict[str, None]] = {}
        for lora in self._loaded:
            by_number.setdefault(lora.request.transformer, {}).update(dict.fromkeys(lora.rows))
        return [(self._experts[number - 1], list(names)) for number, names in by_number.items()]

    @torch.no_grad()
    def _restore(self, expert: VideoDiT, names: Sequence[str]) -> None:
        """Weights of some layers as they were loaded."""
        layers, number = lora_targets(expert), self._experts.index(expert)
        again = self._again[number]
        if again is not None:  # for a moment it is there twice: merging elsewhere could give other bits
            fresh = lora_targets(again())
            for name in names:
                for kind, value in fresh[name].named_parameters(recurse=False):
                    getattr(layers[name], kind).copy_(value)
            return
        wanted = {f"{name}.{kind}": (name, kind) for name in names for kind in ("weight", "bias")}
        for file in self._weights[number]:
            with safe_open(file, framework="pt") as opened:
                for key in wanted.keys() & set(opened.keys()):
                    name, kind = wanted[key]
                    getattr(layers[name], kind).copy_(opened.get_tensor(key))

    def _note(self, lora: LoraFile) -> str:
        return self._layers(lora) + (", fused" if self.fused else "")

    def _layers(self, lora: LoraFile) -> str:
        where = f" of {EXPERTS[lora.request.transformer]}" if len(self._experts) > 1 else ""
        return f"LoRA {lora.file.name} at scale {lora.request.scale:g} on {len(lora.rows)} layers{where}"


def merge_lora(expert: VideoDiT, lora: LoraFile) -> None:
    """Merges a LoRA into weights for good, as `Adapters.fuse` does.

    Raises:
        ModelError: the file is damaged.
        ConfigError: the weights are not kept as they are computed in.
    """
    adapters = Adapters()
    adapters.admit(expert, ())
    adapters.add([lora])
    adapters.fuse()
    expert.unload_lora()
