"""A transformer's weights from a file in GGUF, as Wan's are published: held to the config, then loaded by diffusers.

Tensors have Wan's own names, or diffusers'. Linear layers stay as they are stored and are computed from that; the rest,
and what the model keeps in fp32, is turned into floats once.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from torch import nn

from vgen.errors import ModelError
from vgen.models.dit import VideoDiT
from vgen.models.files import check_tensors
from vgen.models.gguf_header import GGUFTensor, read_header

__all__ = ["gguf_bytes", "gguf_header", "load_gguf"]

FOREIGN = ("face_adapter", "motion_encoder")  # of Wan-Animate, for which the converter needs more than names


def gguf_header(path: Path) -> dict[str, GGUFTensor]:
    """The tensors of a file, by their own names.

    Raises:
        ModelError: no sound GGUF file, or one with types that diffusers does not compute with.
    """
    return read_header(path, _block_bytes())


def gguf_bytes(path: Path, header: Mapping[str, GGUFTensor], skeleton: nn.Module, dtype: torch.dtype) -> int:
    """Memory that the weights of a file take, after holding its header to the model that the config describes.

    Raises:
        ModelError: it is of another model; names the tensor.
    """
    names = _names(header, skeleton, path)
    check_tensors(skeleton, {new: header[old].shape for new, old in names.items()}, path)
    kept = _kept_as_stored(skeleton)
    return sum(_bytes_of(header[old], new in kept, dtype) for new, old in names.items())


def load_gguf(path: Path, config: Mapping[str, Any], dtype: torch.dtype) -> VideoDiT:
    """A transformer with the weights of a file that `gguf_bytes` has looked at.

    Args:
        path: the file.
        config: of the folder's transformer.
        dtype: that it computes in.
    """
    from diffusers import GGUFQuantizationConfig
    from diffusers.models.model_loading_utils import load_gguf_checkpoint, load_model_dict_into_meta
    from diffusers.quantizers import DiffusersAutoQuantizer
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

    with torch.device("meta"):
        dit: VideoDiT = VideoDiT.from_config(config)
    tensors = load_gguf_checkpoint(str(path))
    kept, fp32 = _kept_as_stored(dit), list(VideoDiT._keep_in_fp32_modules)
    state = {new: tensors.pop(old) for new, old in _names(tensors, dit, path).items()}
    state = {name: value if name in kept else dequantize_gguf_tensor(value) for name, value in state.items()}
    quantizer = DiffusersAutoQuantizer.from_config(GGUFQuantizationConfig(compute_dtype=dtype))
    quantizer.preprocess_model(model=dit, device_map=None, state_dict=state, keep_in_fp32_modules=fp32)
    load_model_dict_into_meta(
        dit,
        state,
        dtype=dtype,
        device_map={"": torch.device("cpu")},
        hf_quantizer=quantizer,
        keep_in_fp32_modules=fp32,
        unexpected_keys=[],
    )
    quantizer.postprocess_model(dit)
    dit.hf_quantizer = quantizer
    return dit.requires_grad_(False)


def _names(found: Mapping[str, object], skeleton: nn.Module, path: Path) -> dict[str, str]:
    """diffusers' name of each tensor -> its own."""
    if {*skeleton.state_dict()} <= {*found}:
        return {name: name for name in found}
    foreign = [name for name in found if any(part in name for part in FOREIGN)]
    if foreign:
        raise ModelError(f"{path}: holds {foreign[0]:.80}, of a model that vgen does not run")
    names: dict[str, str] = convert_wan_transformer_to_diffusers({name: name for name in found})
    if len(names) != len(found):
        raise ModelError(f"{path}: two tensors have one name in diffusers; not a file of Wan's")
    return names


def _kept_as_stored(skeleton: nn.Module) -> set[str]:
    """Weights that stay in GGUF's blocks."""
    fp32 = {*VideoDiT._keep_in_fp32_modules}
    linear = {name for name, module in skeleton.named_modules() if isinstance(module, nn.Linear)}
    return {f"{name}.weight" for name in linear if not fp32 & {*name.split(".")}}


def _block_bytes() -> dict[int, tuple[int, int]]:
    """Values and bytes of a block, of the types that diffusers computes with."""
    from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES, UNQUANTIZED_TYPES
    from gguf import GGML_QUANT_SIZES

    return {int(kind): GGML_QUANT_SIZES[kind] for kind in {*SUPPORTED_GGUF_QUANT_TYPES, *UNQUANTIZED_TYPES}}


def _bytes_of(tensor: GGUFTensor, kept: bool, dtype: torch.dtype) -> int:
    from gguf import GGMLQuantizationType

    values, size_bytes = _block_bytes()[tensor.kind]
    plain = tensor.kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16)
    if kept and not plain:
        return math.prod(tensor.shape) // values * size_bytes
    return math.prod(tensor.shape) * dtype.itemsize
