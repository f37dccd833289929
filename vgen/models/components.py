"""One component of a checked folder: built without weights, weighed by the headers of its files, or read.

safetensors only, and GGUF where it was asked for; local files only, no remote code. Where a component goes is for
`load.py` to say.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPVisionModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from vgen.errors import ModelError
from vgen.models.card import ModelCard
from vgen.models.check import check_depth
from vgen.models.files import check_added_tokens, check_tensors, tensor_shapes, weight_bytes
from vgen.models.folder import CheckedFolder, open_folder
from vgen.models.quantization import GGUF, Quantization, quantized_bytes
from vgen.models.settings import defaults
from vgen.models.stock.encoders import bare_names
from vgen.models.vision import read_tensors
from vgen.models.vocabulary import check_vocabulary
from vgen.placement import TRANSFORMERS

__all__ = [
    "Naming",
    "build_skeleton",
    "component_dtypes",
    "load_scheduler",
    "load_tokenizer",
    "load_weights",
    "weigh",
    "weigh_parts",
]

MIB = 1 << 20
# what the libraries raise on a folder that is damaged in a way of its own
LOAD_ERRORS = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)


class Naming:
    """Turns what a library raises within the block into a `ModelError` that names the component's folder."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # tokenizers raises bare `Exception`, nothing narrower
        if isinstance(error, LOAD_ERRORS) or kind is Exception:
            said = " ".join(str(error).split())
            raise ModelError(f"{self.where}: cannot be loaded: {type(error).__name__}: {said:.300}") from error


def weigh(
    model: str, *, device: torch.device, dtype: torch.dtype, quantization: Quantization | None = None
) -> tuple[ModelCard, float]:
    """Card of a model, and MiB that its weights take once loaded, from the headers of its files.

    Args:
        model, device, dtype, quantization: as `load_model` takes them.

    Raises:
        ModelError: as `load_model`.
    """
    checked = open_folder(model, quantization)
    return checked.card, sum(weigh_parts(checked, component_dtypes(device, dtype)).values())


def component_dtypes(device: torch.device, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """What each component runs in."""
    text_dtype = torch.float32 if device.type == "cpu" else dtype
    fixed = {
        "text_encoder": text_dtype,
        "text_encoder_2": text_dtype,
        "vae": torch.float32,
        "image_encoder": torch.float32,
    }
    return fixed | {"transformer": dtype, "transformer_2": dtype}


def weigh_parts(checked: CheckedFolder, dtypes: dict[str, torch.dtype]) -> dict[str, float]:
    """MiB that the weights of each component take once loaded.

    Raises:
        ModelError: the headers of its files are not those of its config.
    """
    return {part: _weight_bytes(checked, part, dtypes[part]) / MIB for part in checked.weights}


def _weight_bytes(checked: CheckedFolder, part: str, dtype: torch.dtype) -> int:
    """Memory of a component's weights, after holding the headers of its files to its config."""
    where, config = checked.folder / part, checked.configs[part]
    quantization = checked.quantization if part in TRANSFORMERS else None
    if quantization is not None and quantization.scheme == GGUF:
        return _gguf_bytes(checked, part, dtype)
    shapes = tensor_shapes(checked.weights[part])
    if checked.classes[part] is CLIPVisionModel:
        shapes = read_tensors(shapes)
    elif part == "text_encoder_2":
        shapes = bare_names(shapes)
    check_depth(config, len(shapes), where)
    skeleton = build_skeleton(checked, part)
    check_tensors(skeleton, shapes, where)
    return weight_bytes(shapes, dtype) if quantization is None else quantized_bytes(skeleton, dtype)


def _gguf_bytes(checked: CheckedFolder, part: str, dtype: torch.dtype) -> int:
    from vgen.models.gguf_file import gguf_bytes, gguf_header

    (file,) = checked.weights[part]
    header = gguf_header(file)
    check_depth(checked.configs[part], len(header), checked.folder / part)
    skeleton = build_skeleton(checked, part)
    with Naming(file):
        return gguf_bytes(file, header, skeleton, dtype)


def build_skeleton(checked: CheckedFolder, part: str) -> nn.Module:
    """A component without weights, on the meta device.

    Raises:
        ModelError: its config makes no model.
    """
    with Naming(checked.folder / part), torch.device("meta"):
        built, cls, config = checked.builder(part), checked.classes[part], checked.configs[part]
        model: nn.Module = cls.from_config(config) if built is None else cls(built(config))
    return model


def load_weights(checked: CheckedFolder, part: str, dtype: torch.dtype) -> Any:
    """A component with its weights, read to the CPU.

    Raises:
        ModelError: its files are damaged.
    """
    where, cls = checked.folder / part, checked.classes[part]
    quantization = checked.quantization if part in TRANSFORMERS else None
    if quantization is not None and quantization.scheme == GGUF:
        from vgen.models.gguf_file import load_gguf

        (file,) = checked.weights[part]
        with Naming(file):
            return load_gguf(file, checked.configs[part], dtype)
    with Naming(where), _without_bars():
        built = checked.builder(part)
        if built is not None:
            return cls.from_pretrained(
                where,
                config=built(checked.configs[part]),
                dtype=dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
            )
        config = None if quantization is None else quantization.config()
        return cls.from_pretrained(
            where, dtype=dtype, use_safetensors=True, local_files_only=True, quantization_config=config
        )


@contextmanager
def _without_bars() -> Iterator[None]:
    """Both libraries draw a bar per file on stderr; a load of seconds needs none, and the caller's setting returns."""
    drawing = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in drawing:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in drawing:
            library.enable_progress_bar()


def load_scheduler(checked: CheckedFolder) -> Any:
    """The scheduler, of its class's own settings alone: what others a config holds, its library would print.

    Raises:
        ModelError: its settings make none.
    """
    with Naming(checked.folder / "scheduler"):
        cls, config = checked.classes["scheduler"], checked.configs["scheduler"]
        return cls.from_config({key: config[key] for key in defaults(cls) if key in config})


def load_tokenizer(
    checked: CheckedFolder, part: str = "tokenizer", encoder: str = "text_encoder"
) -> PreTrainedTokenizerBase:
    """A tokenizer whose tokens its text encoder knows.

    Args:
        checked: the folder.
        part: the tokenizer's component.
        encoder: the component that reads its tokens.

    Raises:
        ModelError: it is damaged, cannot pad, or has more tokens than the encoder.
    """
    where = checked.folder / part
    check_added_tokens(where)
    check_vocabulary(where)
    with Naming(where):
        tokenizer: PreTrainedTokenizerBase = checked.classes[part].from_pretrained(where, local_files_only=True)
        largest = max(tokenizer.get_vocab().values(), default=-1)
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{where}: the tokenizer has no pad token, and prompts are padded to the model's text length")
    vocab_size = checked.configs[encoder]["vocab_size"]
    if not 0 <= largest < vocab_size:
        raise ModelError(
            f"{where}: the tokenizer's last token is {largest}, the text encoder knows 0 to {vocab_size - 1}"
        )
    return tokenizer
