"""Loads a folder that runs through a pipeline of diffusers, and refuses what there is no place for in one."""

from collections.abc import Sequence
from typing import Any

import torch

from vgen.errors import ConfigError
from vgen.models.components import load_scheduler, load_tokenizer, load_weights
from vgen.models.folder import CheckedFolder
from vgen.models.hub import commit_of
from vgen.models.lora_request import LoraRequest
from vgen.models.stock.check import completed
from vgen.models.stock.family import Family
from vgen.models.stock.model import StockModel
from vgen.placement import Placement

__all__ = ["check_plain", "load_stock"]


def check_plain(model: str, checked: CheckedFolder, rungs: tuple[Placement, ...], lora: Sequence[LoraRequest]) -> None:
    """Refuses what a pipeline of diffusers is not built for here.

    Raises:
        ConfigError: weights that are moved, LoRA or quantised weights; with what is possible.
    """
    how = f"model '{model}' runs through diffusers' {checked.pipeline}"
    if rungs[0] != Placement():
        raise ConfigError(f"{how}, whose weights stay on the device; possible: --performance auto or speed")
    if lora:
        raise ConfigError(f"{how}, which takes no LoRA here; leave --lora out")
    if checked.variant is not None and checked.variant.lora is not None:
        raise ConfigError(f"{how}, which takes no LoRA here, and variant '{checked.variant.name}' has one")
    if checked.quantization is not None:
        raise ConfigError(f"{how}, whose weights are not quantised here; leave --quantization and --gguf out")


def load_stock(
    model: str, checked: CheckedFolder, family: Family, device: torch.device, dtypes: dict[str, torch.dtype]
) -> StockModel:
    """The components of a pipeline of diffusers, each loaded as ours are, and the pipeline of them.

    Raises:
        ModelError: a component is damaged.
    """
    index, folder = checked.configs["pipeline"], checked.folder
    parts: dict[str, Any] = {
        part: load_weights(checked, part, dtypes[part]).to(device).eval() for part in checked.weights
    }
    for part in ("tokenizer", "tokenizer_2"):
        if part in checked.classes:
            parts[part] = load_tokenizer(checked, part, part.replace("tokenizer", "text_encoder"))
    parts["scheduler"] = load_scheduler(checked)
    pipe = family.assemble(index["_class_name"], parts, {flag: index.get(flag) is True for flag in family.flags})
    pipe.set_progress_bar_config(disable=True)
    return StockModel(
        id=model,
        folder=folder,
        card=checked.card,
        family=family,
        pipe=pipe,
        grid=family.grid(completed(checked.configs, checked.classes, folder)),
        parts=tuple(checked.classes),
        commit=commit_of(model, folder),
        variant=checked.variant,
    )
