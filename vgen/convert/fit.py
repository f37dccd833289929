"""Whether the tensors of a checkpoint are those of its base model; what is not, is listed."""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from vgen.convert.states import State
from vgen.errors import ModelError, listed
from vgen.models.files import Shape

__all__ = ["check_fit"]

# config key -> tensor, its rank, and which of its sizes the key is
MEASURED = {
    "in_channels": ("patch_embedding.weight", 5, 1),
    "text_dim": ("condition_embedder.text_embedder.linear_1.weight", 2, 1),
    "freq_dim": ("condition_embedder.time_embedder.linear_1.weight", 2, 1),
    "ffn_dim": ("blocks.0.ffn.net.0.proj.weight", 2, 0),
}
MEASURED_OR_NONE = {
    "image_dim": ("condition_embedder.image_embedder.norm1.weight", 1, 0),
    "added_kv_proj_dim": ("blocks.0.attn2.add_k_proj.weight", 2, 1),
    "pos_embed_seq_len": ("condition_embedder.image_embedder.pos_embed", 3, 1),
}


def check_fit(state: State, config: dict[str, Any], source: Path, base: Path) -> None:
    """Holds the tensors to the base's config: sizes first, then names, then shapes.

    Args:
        state: by diffusers' names.
        config: of the base's transformer.
        source, base: for messages.

    Raises:
        ModelError: lists what does not fit.
    """
    shapes: dict[str, Shape] = {name: tuple(value.shape) for name, value in state.items()}
    with torch.device("meta"):
        skeleton = WanTransformer3DModel.from_config(config)
    wanted: dict[str, Shape] = {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}
    ours = dict(skeleton.config) | {"width": config["num_attention_heads"] * config["attention_head_dim"]}
    ours["patch_size"] = tuple(ours["patch_size"])
    differ = [f"{key} is {value}, not {ours[key]}" for key, value in _measured(shapes).items() if value != ours[key]]
    if differ:
        raise ModelError(f"{source}: does not fit the base {base}: {'; '.join(differ)}")
    missing, unknown = sorted(wanted.keys() - shapes.keys()), sorted(shapes.keys() - wanted.keys())
    if missing:
        raise ModelError(f"{source}: lacks {len(missing)} of {len(wanted)} tensors: {listed(missing)}")
    if unknown:
        raise ModelError(f"{source}: holds {len(unknown)} tensors that {base} has no place for: {listed(unknown)}")
    shaped = [f"{k} is {list(shapes[k])}, not {list(wanted[k])}" for k in wanted if shapes[k] != wanted[k]]
    if shaped:
        raise ModelError(f"{source}: does not fit the base {base}: {listed(shaped)}")


def _measured(shapes: dict[str, Shape]) -> dict[str, Any]:
    """Config keys as shapes tell them; what is not there, or of another rank, is found by name."""

    def size(name: str, rank: int, axis: int) -> int | None:
        shape = shapes.get(name, ())
        return shape[axis] if len(shape) == rank else None

    found: dict[str, Any] = {key: size(*where) for key, where in MEASURED.items()}
    patch = shapes.get("patch_embedding.weight", ())
    if len(patch) == 5:
        found |= {"width": patch[0], "patch_size": patch[2:]}
        rows = size("proj_out.weight", 2, 0)
        found["out_channels"] = None if rows is None else rows // math.prod(patch[2:])
    layers = {name.split(".")[1] for name in shapes if name.startswith("blocks.")}
    found["num_layers"] = len(layers) or None
    found = {key: value for key, value in found.items() if value is not None}
    return found | {key: size(*where) for key, where in MEASURED_OR_NONE.items()}
