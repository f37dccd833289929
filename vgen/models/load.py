"""Loads a model from a folder in diffusers format, and nothing that is not on the list.

safetensors only; class names from our own list, never from the folder; no remote code. The folder is checked whole
before a byte of weights is read (`check.py` its configs, `files.py` its files), so that what is wrong with it is said
in one line.
"""

from collections.abc import Callable, Iterator, Sequence
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
from torch import Tensor, nn
from transformers import CLIPVisionModel, PreTrainedTokenizerBase, UMT5EncoderModel
from transformers.utils import logging as transformers_logging

from vgen.errors import ConfigError, ModelError, ResourceError, nearest
from vgen.models.card import CARD_FILE, ModelCard, card_for
from vgen.models.check import ALLOWED, check_card, check_configs, check_depth, check_index, encoder_config
from vgen.models.dit import VideoDiT
from vgen.models.files import (
    cast_weights,
    check_tensors,
    read_json,
    sha256_of,
    tensor_shapes,
    weight_bytes,
    weight_files,
)
from vgen.models.hub import INDEX_FILE, cached, commit_of, parse
from vgen.models.residence import Residence
from vgen.models.text import PromptEncoder
from vgen.models.vision import ImageEncoder, make_processor, read_tensors, vision_config
from vgen.placement import STORAGES, TRANSFORMERS, Placement, weights_on_device

__all__ = [
    "EMBEDDED",
    "LoadedModel",
    "describe",
    "embedded_folder",
    "find_folder",
    "load_model",
    "load_skeleton",
    "weights_mib",
]

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
ADAPTER_FILE = "adapter_config.json"  # transformers would load what it names on top, from wherever that is
BUILDERS: dict[Any, Callable[[dict[str, Any]], Any]] = {
    UMT5EncoderModel: encoder_config,
    CLIPVisionModel: vision_config,
}  # model -> how its config is built
MIB = 1 << 20
STATES_KEPT = 8  # prompts; one of umT5's takes 4 MiB
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
        residence: where the weights are; who runs a component asks it for them.
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
    """

    folder: Path
    card: ModelCard
    configs: dict[str, dict[str, Any]]
    classes: dict[str, Any]
    weights: dict[str, list[Path]]


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
    rungs: tuple[Placement, ...] = (Placement(),),
) -> LoadedModel:
    """Loads a model by name or path.

    Args:
        model: `playground` for the embedded one, the path of a folder in diffusers format, or a hub id that lies in the
            cache, `ORG/NAME[@REVISION]`.
        device: where components run.
        dtype: of the video transformer. The text encoder runs in fp32 on a CPU and in `dtype` elsewhere, the VAE in
            fp32 always: in half precision it gives black frames (a frequent complaint about other engines).
        free_mib: memory of the device that the weights may take; not checked where None.
        rungs: where weights may be kept; they are read into the first that fits, each straight to its place.

    Raises:
        ModelError: not found, incomplete, damaged, pickled, or with classes or settings that are not on our list.
        ResourceError: the weights do not fit into `free_mib` on any rung.
        ConfigError: weights that are to be stored in a dtype that is no narrower than theirs.
    """
    checked = _checked(find_folder(model))
    dtypes = _dtypes(device, dtype)
    placement = _first_fitting(model, _parts_mib(checked, dtypes), rungs, _blocks(checked), free_mib)
    storage = _storage(placement, dtype)

    def read(part: str) -> Any:
        loaded = _load_weights(checked, part, dtypes[part]).eval()
        if storage is not None and part in TRANSFORMERS:
            loaded.enable_layerwise_casting(storage_dtype=storage, compute_dtype=dtype)
        return loaded

    residence = Residence(device, placement, read)

    def placed(part: str) -> Any:
        loaded = read(part)
        residence.admit(part, loaded)
        return loaded

    return _put_together(model, checked, residence, placed)


def load_skeleton(model: str, *, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """A model whose modules stand on the meta device: enough to resolve a request and to plan it, no weights read.

    Args:
        model, device, dtype: as `load_model` takes them.

    Raises:
        ModelError: as `load_model`.
    """
    checked = _checked(find_folder(model))
    dtypes = _dtypes(device, dtype)

    def build(part: str) -> Any:
        with _Naming(checked.folder / part), torch.device("meta"):
            built = _skeleton(checked.classes[part], checked.configs[part])
        return cast_weights(built, dtypes[part]).eval()

    residence = Residence(device, Placement(), build)
    residence.parts_mib |= _parts_mib(checked, dtypes)
    return _put_together(model, checked, residence, build)


def _put_together(model: str, checked: _Checked, residence: Residence, placed: Callable[[str], Any]) -> LoadedModel:
    tokenizer = _load_tokenizer(checked)
    encoder = placed("text_encoder")
    with _Naming(checked.folder / "scheduler"):
        scheduler = checked.classes["scheduler"].from_pretrained(checked.folder / "scheduler", local_files_only=True)
    dits = [placed(part) for part in TRANSFORMERS if part in checked.weights]
    return LoadedModel(
        id=model,
        folder=checked.folder,
        card=checked.card,
        prompts=PromptEncoder(tokenizer, encoder, checked.card.text_length),
        vae=placed("vae"),
        dit=dits[0],
        scheduler=scheduler,
        residence=residence,
        dit_2=dits[1] if len(dits) > 1 else None,
        boundary=checked.configs["pipeline"].get("boundary_ratio"),
        images=_load_images(checked, placed),
        commit=commit_of(model, checked.folder),
    )


def weights_mib(model: str, *, device: torch.device, dtype: torch.dtype) -> float:
    """Memory that the weights of a model take once loaded, from the headers of its files.

    Raises:
        ModelError: as `load_model`.
    """
    return sum(_parts_mib(_checked(find_folder(model)), _dtypes(device, dtype)).values())


def _dtypes(device: torch.device, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """What each component runs in."""
    text_dtype = torch.float32 if device.type == "cpu" else dtype
    fixed = {"text_encoder": text_dtype, "vae": torch.float32, "image_encoder": torch.float32}
    return fixed | {"transformer": dtype, "transformer_2": dtype}


def _parts_mib(checked: "_Checked", dtypes: dict[str, torch.dtype]) -> dict[str, float]:
    return {part: _weight_bytes(checked, part, dtypes[part]) / MIB for part in checked.weights}


def _blocks(checked: "_Checked") -> int:
    """How many blocks a transformer has."""
    return int(checked.configs["transformer"].get("num_layers", 40))


def _storage(placement: Placement, dtype: torch.dtype) -> torch.dtype | None:
    """What the transformer's weights are kept in between its layers' calls; None where that is what they run in."""
    if placement.storage is None:
        return None
    storage: torch.dtype = getattr(torch, placement.storage)
    if storage.itemsize >= dtype.itemsize:
        name = str(dtype).removeprefix("torch.")
        raise ConfigError(
            f"weights of {name} stored in {placement.storage} would save nothing; possible: "
            + ", ".join(one for one in STORAGES if getattr(torch, one).itemsize < dtype.itemsize)
        )
    return storage


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


def _checked(folder: Path) -> _Checked:
    """The folder after checking its configs, and that its weights are complete."""
    index = read_json(folder / INDEX_FILE)
    classes = check_index(index, folder)
    configs = {part: read_json(folder / part / CONFIG_FILES.get(part, "config.json")) for part in classes}
    weights = {part: weight_files(folder / part, single) for part, single in WEIGHTS.items() if part in classes}
    for part in classes:
        if (folder / part / ADAPTER_FILE).exists():
            raise ModelError(f"{folder / part}: {ADAPTER_FILE} in a component is not supported; remove it")
    check_configs(configs, classes, folder)
    configs["pipeline"] = index
    card = card_for(folder, configs)
    check_card(card, configs, folder)
    return _Checked(folder=folder, card=card, configs=configs, classes=classes, weights=weights)


def _first_fitting(
    model: str, parts_mib: dict[str, float], rungs: tuple[Placement, ...], blocks: int, free_mib: float | None
) -> Placement:
    """The first rung whose weights fit; what else a run takes is not known yet."""
    if free_mib is None:
        return rungs[0]
    needed_mib = [weights_on_device(parts_mib, rung, blocks) for rung in rungs]
    fitting = [rung for rung, needed in zip(rungs, needed_mib, strict=True) if needed <= free_mib]
    if not fitting:
        offload = "" if rungs[-1].offload == "group" else ", or --offload group"
        raise ResourceError(
            f"the weights of model '{model}' take {min(needed_mib):,.0f} MiB, {free_mib:,.0f} MiB are free; "
            f"choose a smaller model, or --dtype bfloat16 where it is float32{offload}"
        )
    return fitting[0]


def _weight_bytes(checked: _Checked, part: str, dtype: torch.dtype) -> int:
    """Memory of a component's weights, after holding the headers of its files to its config."""
    where, config = checked.folder / part, checked.configs[part]
    shapes = tensor_shapes(checked.weights[part])
    if checked.classes[part] is CLIPVisionModel:
        shapes = read_tensors(shapes)
    check_depth(config, len(shapes), where)
    with _Naming(where), torch.device("meta"):
        skeleton = _skeleton(checked.classes[part], config)
    check_tensors(skeleton, shapes, where)
    return weight_bytes(shapes, dtype)


def _skeleton(cls: Any, config: dict[str, Any]) -> nn.Module:
    built = BUILDERS.get(cls)
    model: nn.Module = cls.from_config(config) if built is None else cls(built(config))
    return model


def _load_weights(checked: _Checked, part: str, dtype: torch.dtype) -> Any:
    where, cls = checked.folder / part, checked.classes[part]
    with _Naming(where), _without_bars():
        built = BUILDERS.get(cls)
        if built is not None:
            return cls.from_pretrained(
                where,
                config=built(checked.configs[part]),
                dtype=dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
            )
        return cls.from_pretrained(where, dtype=dtype, use_safetensors=True, local_files_only=True)


def _load_images(checked: _Checked, placed: Callable[[str], Any]) -> ImageEncoder | None:
    if "image_encoder" not in checked.weights:
        return None
    return ImageEncoder(make_processor(checked.configs["image_processor"]), placed("image_encoder"))


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
