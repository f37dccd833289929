"""Loads a model from a folder in diffusers format, and nothing that is not on the list.

safetensors only; class names from our own list, never from the folder; no remote code. The folder is checked whole
before a byte of weights is read, so that what is missing is said in one line.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, T5TokenizerFast, UMT5EncoderModel

from vgen.errors import ModelError, nearest
from vgen.models.card import ModelCard, card_for
from vgen.models.dit import VideoDiT
from vgen.models.text import PromptEncoder

__all__ = ["EMBEDDED", "LoadedModel", "describe", "embedded_folder", "find_folder", "load_model"]

EMBEDDED = "playground"
CONFIG_LIMIT_BYTES = 4 << 20
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

# component -> class name in model_index.json -> class that we load it with
ALLOWED: dict[str, dict[str, Any]] = {
    "tokenizer": {
        "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
        "T5TokenizerFast": T5TokenizerFast,
        "T5Tokenizer": T5TokenizerFast,
    },
    "text_encoder": {"UMT5EncoderModel": UMT5EncoderModel},
    "vae": {"AutoencoderKLWan": AutoencoderKLWan},
    "transformer": {"WanTransformer3DModel": VideoDiT},
    "scheduler": {
        "FlowMatchEulerDiscreteScheduler": FlowMatchEulerDiscreteScheduler,
        "UniPCMultistepScheduler": UniPCMultistepScheduler,
    },
}
PIPELINES = ("WanPipeline", "WanImageToVideoPipeline")
WEIGHTS = {
    "text_encoder": "model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One checkpoint, ready to run.

    Args:
        id: as asked for, for the record.
        folder: where it lies.
        card: its defaults.
        prompts: tokenizer and text encoder.
        vae: in fp32.
        dit: in the dtype asked for.
        scheduler: the folder's own; only its sigma table is used.
    """

    id: str
    folder: Path
    card: ModelCard
    prompts: PromptEncoder
    vae: AutoencoderKLWan
    dit: VideoDiT
    scheduler: Any

    def digests(self) -> dict[str, str]:
        """sha256 of each weight file, by its path in the folder."""
        return {
            str(path.relative_to(self.folder)): _sha256(path) for path in sorted(self.folder.rglob("*.safetensors"))
        }


def load_model(model: str, *, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """Loads a model by name or path.

    Args:
        model: `playground` for the embedded one, or the path of a folder in diffusers format.
        device: where weights go.
        dtype: of the video transformer. The text encoder runs in fp32 on a CPU and in `dtype` elsewhere, the VAE in
            fp32 always: in half precision it gives black frames (a frequent complaint about other engines).

    Raises:
        ModelError: not found, incomplete, pickled, or made of classes that are not on our list.
    """
    folder = find_folder(model)
    configs = _checked_configs(folder)
    card = card_for(folder, configs)
    index = configs["pipeline"]

    def source(component: str) -> tuple[Any, str]:
        return ALLOWED[component][index[component][1]], str(folder / component)

    tokenizer_class, path = source("tokenizer")
    tokenizer: PreTrainedTokenizerBase = tokenizer_class.from_pretrained(path, local_files_only=True)
    text_class, path = source("text_encoder")
    text_dtype = torch.float32 if device.type == "cpu" else dtype
    encoder = text_class.from_pretrained(path, dtype=text_dtype, use_safetensors=True, local_files_only=True)
    vae_class, path = source("vae")
    vae = vae_class.from_pretrained(path, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    dit_class, path = source("transformer")
    dit = dit_class.from_pretrained(path, dtype=dtype, use_safetensors=True, local_files_only=True)
    scheduler_class, path = source("scheduler")
    return LoadedModel(
        id=model,
        folder=folder,
        card=card,
        prompts=PromptEncoder(tokenizer, encoder.to(device).eval(), card.text_length),
        vae=vae.to(device).eval(),
        dit=dit.to(device).eval(),
        scheduler=scheduler_class.from_pretrained(path, local_files_only=True),
    )


def describe(model: str) -> tuple[Path, ModelCard, int]:
    """Folder, card and size in bytes of a model, without loading it.

    Raises:
        ModelError: as `load_model`.
    """
    folder = find_folder(model)
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return folder, card_for(folder, _checked_configs(folder)), size_bytes


def embedded_folder() -> Path:
    """The folder of the model that comes with the package."""
    with as_file(files("vgen").joinpath("assets", EMBEDDED)) as folder:
        return folder


def find_folder(model: str) -> Path:
    """Where a model lies.

    Raises:
        ModelError: there is no such name or folder.
    """
    folder = embedded_folder() if model == EMBEDDED else Path(model)
    if (folder / "model_index.json").is_file():
        return folder
    if folder.is_dir():
        raise ModelError(f"{model}: no model_index.json in it; a model is a folder in diffusers format")
    hint = nearest(model, [EMBEDDED])
    raise ModelError(
        f"model '{model}' is neither a name nor a folder; {hint}, or the path of a diffusers-format folder"
    )


def _checked_configs(folder: Path) -> dict[str, dict[str, Any]]:
    """Every config of the folder, after checking that classes are allowed and weights complete."""
    index = _read_json(folder / "model_index.json")
    if index.get("_class_name") not in PIPELINES:
        named = index.get("_class_name")
        raise ModelError(f"{folder}: model_index.json names the pipeline {named!r}; possible: {', '.join(PIPELINES)}")
    configs = {"pipeline": index}
    for component, classes in ALLOWED.items():
        named = index.get(component)
        name = named[1] if isinstance(named, list) and len(named) == 2 else None
        if name not in classes:
            raise ModelError(
                f"{folder}: {component} is of class {name!r}, which is not on the list; possible: {', '.join(classes)}"
            )
        configs[component] = _component_config(folder / component, component)
    return configs


def _component_config(folder: Path, component: str) -> dict[str, Any]:
    names = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}
    config = _read_json(folder / names.get(component, "config.json"))
    if component in WEIGHTS:
        _check_weights(folder, WEIGHTS[component])
    return config


def _check_weights(folder: Path, single: str) -> None:
    """One file, or every shard that the index names."""
    if (folder / single).is_file():
        return
    index = folder / f"{single}.index.json"
    if index.is_file():
        shards = set(_read_json(index).get("weight_map", {}).values())
        missing = sorted(shard for shard in shards if not (folder / Path(shard).name).is_file())
        if missing or not shards:
            raise ModelError(f"{folder}: incomplete, missing {', '.join(missing) or 'every shard'}")
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickled:
        raise ModelError(
            f"{folder}: weights are pickled ({', '.join(pickled)}), which can run code; convert them to safetensors"
        )
    raise ModelError(f"{folder}: incomplete, missing {single}")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path.parent}: incomplete, missing {path.name}")
    if path.stat().st_size > CONFIG_LIMIT_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size} bytes are no config; at most {CONFIG_LIMIT_BYTES}")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: a config is a mapping, got {type(content).__name__}")
    return content


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
