"""Loads a model from a folder in diffusers format, and nothing that is not on the list.

safetensors only; class names from our own list, never from the folder; no remote code. The folder is checked whole
before a byte of weights is read (`check.py` its configs, `files.py` its files), so that what is wrong with it is said
in one line.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel
from transformers.utils import logging as transformers_logging

from vgen.errors import ModelError, ResourceError, nearest
from vgen.models.card import CARD_FILE, ModelCard, card_for
from vgen.models.check import ALLOWED, check_card, check_configs, check_depth, check_index, encoder_config
from vgen.models.dit import VideoDiT
from vgen.models.files import check_tensors, read_json, sha256_of, tensor_shapes, weight_bytes, weight_files
from vgen.models.hub import INDEX_FILE, cached, commit_of, parse
from vgen.models.quantization import GGUF, Quantization, quantized_bytes
from vgen.models.text import PromptEncoder
from vgen.models.vision import ImageEncoder, make_processor, read_tensors, vision_config

__all__ = ["EMBEDDED", "LoadedModel", "describe", "embedded_folder", "find_folder", "load_model", "weights_mib"]

EMBEDDED = "playground"
CONFIG_FILES = {
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
    "image_processor": "preprocessor_config.json",
}
WEIGHTS = {
    "text_encoder": "model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "transformer_2": "diffusion_pytorch_model.safetensors",
    "image_encoder": "model.safetensors",
}
EXPERTS = {"transformer", "transformer_2"}
ADAPTER_FILE = "adapter_config.json"  # transformers would load what it names on top, from wherever that is
TRANSFORMERS: dict[Any, Callable[[dict[str, Any]], Any]] = {
    UMT5EncoderModel: encoder_config,
    CLIPVisionModel: vision_config,
}  # model -> how its config is built
MIB = 1 << 20
# what the libraries raise on a folder that is damaged in a way of its own
LOAD_ERRORS = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """One checkpoint, ready to run.

    Args:
        id: as asked for, for the record.
        folder: where it lies.
        card: its defaults.
        prompts: tokenizer and text encoder.
        vae: in fp32.
        dit: in the dtype asked for; of two experts the one for high noise.
        scheduler: the folder's own; only its sigma table is used.
        dit_2, boundary: the expert for low noise and the sigma below which it takes over, where there are two.
        images: image processor and encoder, in fp32, where the transformer reads what they make.
        commit: of the hub, where it was asked for by its hub id.
        quantization: how the transformers are kept; as computed where None.
    """

    id: str
    folder: Path
    card: ModelCard
    prompts: PromptEncoder
    vae: AutoencoderKLWan
    dit: VideoDiT
    scheduler: Any
    dit_2: VideoDiT | None = None
    boundary: float | None = None
    images: ImageEncoder | None = None
    commit: str | None = None
    quantization: Quantization | None = None
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def digests(self) -> dict[str, str]:
        """sha256 of every file that a run depends on, by its path in the folder: weights, configs, tokenizer, card.

        Computed at the first call and kept.
        """
        if not self._digests:
            own = [path for path in (self.folder / INDEX_FILE, self.folder / CARD_FILE) if path.is_file()]
            extra = {"transformer_2": self.dit_2, "image_encoder": self.images, "image_processor": self.images}
            used = [*ALLOWED, *(part for part, loaded in extra.items() if loaded is not None)]
            parts = [path for part in used for path in (self.folder / part).rglob("*") if path.is_file()]
            relative = {path.relative_to(self.folder).as_posix(): path for path in own + parts}
            for part, file in _replaced(self.quantization).items():
                relative = {n: p for n, p in relative.items() if p.parent.name != part or n.endswith("config.json")}
                relative[f"{part}.{GGUF}"] = file
            self._digests.update({name: sha256_of(path) for name, path in sorted(relative.items())})
        return dict(self._digests)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A folder whose configs are all supported.

    Args:
        folder: where it lies.
        card: its defaults.
        configs: by component.
        classes: what each component is loaded with.
        weights: files of each component that has some.
        quantization: of the transformers.
    """

    folder: Path
    card: ModelCard
    configs: dict[str, dict[str, Any]]
    classes: dict[str, Any]
    weights: dict[str, list[Path]]
    quantization: Quantization | None


class _Naming:
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


def load_model(
    model: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    free_mib: float | None = None,
    quantization: Quantization | None = None,
) -> LoadedModel:
    """Loads a model by name or path.

    Args:
        model: `playground` for the embedded one, the path of a folder in diffusers format, or a hub id that lies in the
            cache, `ORG/NAME[@REVISION]`.
        device: where weights go.
        dtype: of the video transformer. The text encoder runs in fp32 on a CPU and in `dtype` elsewhere, the VAE in
            fp32 always: in half precision it gives black frames (a frequent complaint about other engines).
        free_mib: memory that the weights may take; not checked where None.
        quantization: of the video transformers; as computed where None.

    Raises:
        ModelError: not found, incomplete, damaged, pickled, or with classes or settings that are not on our list.
        ResourceError: the weights do not fit into `free_mib`, or the quantization cannot run here.
    """
    checked = _checked(find_folder(model), quantization)
    if quantization is not None:
        quantization.check(device, dtype, len(EXPERTS & {*checked.classes}))
    dtypes = _dtypes(device, dtype)
    _check_memory(model, _weights_mib(checked, dtypes), free_mib)
    tokenizer = _load_tokenizer(checked)
    encoder = _load_weights(checked, "text_encoder", dtypes["text_encoder"]).to(device).eval()
    with _Naming(checked.folder / "scheduler"):
        scheduler = checked.classes["scheduler"].from_pretrained(checked.folder / "scheduler", local_files_only=True)
    experts = sorted(EXPERTS & {*checked.classes})
    dits = [_load_weights(checked, part, dtype).to(device).eval() for part in experts]
    return LoadedModel(
        id=model,
        folder=checked.folder,
        card=checked.card,
        prompts=PromptEncoder(tokenizer, encoder, checked.card.text_length),
        vae=_load_weights(checked, "vae", torch.float32).to(device).eval(),
        dit=dits[0],
        scheduler=scheduler,
        dit_2=dits[1] if len(dits) > 1 else None,
        boundary=checked.configs["pipeline"].get("boundary_ratio"),
        images=_load_images(checked, device),
        commit=commit_of(model, checked.folder),
        quantization=quantization,
    )


def weights_mib(
    model: str, *, device: torch.device, dtype: torch.dtype, quantization: Quantization | None = None
) -> float:
    """Memory that the weights of a model take once loaded, from the headers of its files.

    Raises:
        ModelError: as `load_model`.
    """
    return _weights_mib(_checked(find_folder(model), quantization), _dtypes(device, dtype))


def _dtypes(device: torch.device, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """What each component runs in."""
    text_dtype = torch.float32 if device.type == "cpu" else dtype
    fixed = {"text_encoder": text_dtype, "vae": torch.float32, "image_encoder": torch.float32}
    return fixed | {"transformer": dtype, "transformer_2": dtype}


def _weights_mib(checked: "_Checked", dtypes: dict[str, torch.dtype]) -> float:
    return sum(_weight_bytes(checked, part, dtypes[part]) for part in checked.weights) / MIB


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


def describe(model: str) -> tuple[Path, ModelCard, int]:
    """Folder, card and size in bytes of a model, without loading it.

    Raises:
        ModelError: as `load_model`.
    """
    folder = find_folder(model)
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return folder, _checked(folder).card, size_bytes


def embedded_folder() -> Path:
    """The folder of the model that comes with the package."""
    with as_file(files("vgen").joinpath("assets", EMBEDDED)) as folder:
        return folder


def find_folder(model: str) -> Path:
    """Where a model lies. Asks nobody; `download.py` fetches.

    Raises:
        ModelError: there is no such name or folder, and no such model in the hub's cache.
    """
    folder = embedded_folder() if model == EMBEDDED else Path(model)
    if (folder / INDEX_FILE).is_file():
        return folder
    if folder.is_dir():
        raise ModelError(f"{model}: no {INDEX_FILE} in it; a model is a folder in diffusers format")
    if model == EMBEDDED:
        raise ModelError(f"the embedded model is missing from this installation ({folder}); install vgen anew")
    asked = parse(model)
    if asked is not None:
        return cached(asked)
    hint = nearest(model, [EMBEDDED])
    raise ModelError(
        f"model '{model}' is neither a name nor a folder; {hint}, the path of a diffusers-format folder, or a hub id "
        "ORG/NAME[@REVISION]"
    )


def _replaced(quantization: Quantization | None) -> dict[str, Path]:
    """Files in place of a component's weights."""
    return {} if quantization is None else dict(zip(sorted(EXPERTS), quantization.files, strict=False))


def _checked(folder: Path, quantization: Quantization | None = None) -> _Checked:
    """The folder after checking its configs, and that its weights are complete."""
    index = read_json(folder / INDEX_FILE)
    classes = check_index(index, folder)
    configs = {part: read_json(folder / part / CONFIG_FILES.get(part, "config.json")) for part in classes}
    replaced = _replaced(quantization)
    weights = {
        part: [replaced[part]] if part in replaced else weight_files(folder / part, single)
        for part, single in WEIGHTS.items()
        if part in classes
    }
    for part in classes:
        if (folder / part / ADAPTER_FILE).exists():
            raise ModelError(f"{folder / part}: {ADAPTER_FILE} in a component is not supported; remove it")
    check_configs(configs, classes, folder)
    configs["pipeline"] = index
    card = card_for(folder, configs)
    check_card(card, configs, folder)
    return _Checked(
        folder=folder, card=card, configs=configs, classes=classes, weights=weights, quantization=quantization
    )


def _check_memory(model: str, needed_mib: float, free_mib: float | None) -> None:
    if free_mib is not None and needed_mib > free_mib:
        raise ResourceError(
            f"the weights of model '{model}' take {needed_mib:,.0f} MiB, {free_mib:,.0f} MiB are free; "
            "choose a smaller model, or --dtype bfloat16 where it is float32"
        )


def _weight_bytes(checked: _Checked, part: str, dtype: torch.dtype) -> int:
    """Memory of a component's weights, after holding the headers of its files to its config."""
    where, config = checked.folder / part, checked.configs[part]
    quantization = checked.quantization if part in EXPERTS else None
    if quantization is not None and quantization.scheme == GGUF:
        return _gguf_bytes(checked, part, dtype)
    shapes = tensor_shapes(checked.weights[part])
    if checked.classes[part] is CLIPVisionModel:
        shapes = read_tensors(shapes)
    check_depth(config, len(shapes), where)
    with _Naming(where), torch.device("meta"):
        skeleton = _skeleton(checked.classes[part], config)
    check_tensors(skeleton, shapes, where)
    return weight_bytes(shapes, dtype) if quantization is None else quantized_bytes(skeleton, dtype)


def _gguf_bytes(checked: _Checked, part: str, dtype: torch.dtype) -> int:
    from vgen.models.gguf_file import gguf_bytes, gguf_header

    (file,) = checked.weights[part]
    header = gguf_header(file)
    check_depth(checked.configs[part], len(header), checked.folder / part)
    with _Naming(checked.folder / part), torch.device("meta"):
        skeleton = _skeleton(checked.classes[part], checked.configs[part])
    with _Naming(file):
        return gguf_bytes(file, header, skeleton, dtype)


def _skeleton(cls: Any, config: dict[str, Any]) -> nn.Module:
    built = TRANSFORMERS.get(cls)
    model: nn.Module = cls.from_config(config) if built is None else cls(built(config))
    return model


def _load_weights(checked: _Checked, part: str, dtype: torch.dtype) -> Any:
    where, cls = checked.folder / part, checked.classes[part]
    quantization = checked.quantization if part in EXPERTS else None
    if quantization is not None and quantization.scheme == GGUF:
        from vgen.models.gguf_file import load_gguf

        (file,) = checked.weights[part]
        with _Naming(file):
            return load_gguf(file, checked.configs[part], dtype)
    with _Naming(where), _without_bars():
        built = TRANSFORMERS.get(cls)
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


def _load_images(checked: _Checked, device: torch.device) -> ImageEncoder | None:
    if "image_encoder" not in checked.weights:
        return None
    encoder = _load_weights(checked, "image_encoder", torch.float32).to(device).eval()
    return ImageEncoder(make_processor(checked.configs["image_processor"]), encoder)


def _load_tokenizer(checked: _Checked) -> PreTrainedTokenizerBase:
    where = checked.folder / "tokenizer"
    with _Naming(where):
        tokenizer: PreTrainedTokenizerBase = checked.classes["tokenizer"].from_pretrained(where, local_files_only=True)
        largest = max(tokenizer.get_vocab().values(), default=-1)
    if tokenizer.pad_token_id is None:
        raise ModelError(f"{where}: the tokenizer has no pad token, and prompts are padded to the model's text length")
    vocab_size = checked.configs["text_encoder"]["vocab_size"]
    if not 0 <= largest < vocab_size:
        raise ModelError(
            f"{where}: the tokenizer's last token is {largest}, the text encoder knows 0 to {vocab_size - 1}"
        )
    return tokenizer
