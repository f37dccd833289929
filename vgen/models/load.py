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
from typing import Any, TypeAlias

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
    ADAPTER_FILE,
    cast_weights,
    check_added_tokens,
    check_links,
    check_tensors,
    read_json,
    sha256_of,
    tensor_shapes,
    weight_bytes,
    weight_files,
)
from vgen.models.hub import INDEX_FILE, cached, commit_of, parse
from vgen.models.lora import Adapters
from vgen.models.lora_file import LoraFile, open_loras
from vgen.models.lora_request import LoraRequest
from vgen.models.quantization import GGUF, Quantization, quantized_bytes
from vgen.models.residence import Residence
from vgen.models.settings import defaults
from vgen.models.stock.catalogue import family_of
from vgen.models.stock.check import check_stock, check_stock_card, check_stock_index, completed
from vgen.models.stock.encoders import bare_names
from vgen.models.stock.family import Family
from vgen.models.stock.model import StockModel
from vgen.models.text import PromptEncoder
from vgen.models.vision import ImageEncoder, make_processor, read_tensors, vision_config
from vgen.models.vocabulary import check_vocabulary
from vgen.placement import STORAGES, TRANSFORMERS, Placement, weights_on_device

__all__ = [
    "EMBEDDED",
    "AnyModel",
    "LoadedModel",
    "describe",
    "embedded_folder",
    "find_folder",
    "load_model",
    "load_skeleton",
    "own_model",
    "runs_elsewhere",
    "weights_mib",
]

EMBEDDED = "playground"
CONFIG_FILES = {
    "tokenizer": "tokenizer_config.json",
    "tokenizer_2": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
    "image_processor": "preprocessor_config.json",
}
WEIGHTS = {
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "transformer": "diffusion_pytorch_model.safetensors",
    "transformer_2": "diffusion_pytorch_model.safetensors",
    "image_encoder": "model.safetensors",
}
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
    NameError,
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
        adapters: LoRA that are put on the transformers.
        quantization: how the transformers are kept; as computed where None.
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


AnyModel: TypeAlias = LoadedModel | StockModel


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A folder whose configs are all supported.

    Args:
        folder: where it lies.
        card: its defaults.
        configs: by component.
        classes: what each component is loaded with.
        weights: files of each component that has some.
        family: how it is loaded and asked, where it runs through a pipeline of diffusers.
        quantization: of the transformers.
    """

    folder: Path
    card: ModelCard
    configs: dict[str, dict[str, Any]]
    classes: dict[str, Any]
    weights: dict[str, list[Path]]
    family: Family | None = None
    quantization: Quantization | None = None

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""
        return str(self.configs["pipeline"]["_class_name"])

    def builder(self, part: str) -> Callable[[dict[str, Any]], Any] | None:
        """How the config of a component is built that transformers loads; None where diffusers does."""
        return (BUILDERS if self.family is None else self.family.builders).get(self.classes[part])


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
    lora: Sequence[LoraRequest] = (),
    quantization: Quantization | None = None,
) -> "AnyModel":
    """Loads a model by name or path.

    Args:
        model: `playground` for the embedded one, the path of a folder in diffusers format, or a hub id that lies in the
            cache, `ORG/NAME[@REVISION]`.
        device: where components run.
        dtype: of the video transformer. The text encoder runs in fp32 on a CPU and in `dtype` elsewhere, the VAE in
            fp32 always: in half precision it gives black frames (a frequent complaint about other engines).
        free_mib: memory of the device that the weights may take; not checked where None.
        rungs: where weights may be kept; they are read into the first that fits, each straight to its place.
        lora: files to put on, held to the model's config before its weights are read.
        quantization: of the video transformers; as computed where None.

    Raises:
        ModelError: not found, incomplete, damaged, pickled, or with classes or settings that are not on our list.
        ResourceError: the weights do not fit into `free_mib` on any rung, a package is missing that the tokenizer
            takes, or the quantization cannot run here.
        ConfigError: weights that are to be stored in a dtype that is no narrower than theirs, or that are quantised and
            changed besides.
    """
    checked = _opened(model, device, dtype, quantization)
    dtypes = _dtypes(device, dtype)
    if checked.family is not None:
        _check_plain(model, checked, rungs, lora)
        _first_fitting(model, _parts_mib(checked, dtypes), rungs[:1], 1, free_mib)
        return _load_stock(model, checked, checked.family, device, dtypes)
    placement = _first_fitting(model, _parts_mib(checked, dtypes), rungs, _blocks(checked), free_mib)
    storage = _storage(placement, dtype)
    experts, loras = _experts(checked), _loras(model, checked, lora)

    def read(part: str) -> Any:
        loaded = _load_weights(checked, part, dtypes[part]).eval()
        if storage is not None and part in TRANSFORMERS:
            loaded.enable_layerwise_casting(storage_dtype=storage, compute_dtype=dtype)
        return loaded

    residence, adapters = Residence(device, placement, read), Adapters()

    def placed(part: str) -> Any:
        loaded = read(part)
        if part in experts:  # its LoRA go where it goes
            adapters.admit(loaded, checked.weights[part])
            adapters.add([one for one in loras if experts[one.request.transformer - 1] == part])
        residence.admit(part, loaded)
        return loaded

    return _put_together(model, checked, residence, adapters, placed)


def load_skeleton(
    model: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    lora: Sequence[LoraRequest] = (),
    quantization: Quantization | None = None,
) -> LoadedModel:
    """A model whose modules stand on the meta device: enough to resolve a request and to plan it, no weights read.

    Args:
        model, device, dtype, lora, quantization: as `load_model` takes them.

    Raises:
        ModelError: as `load_model`; or the model runs through a pipeline of diffusers, which is not planned.
        ResourceError, ConfigError: as `load_model`.
    """
    checked = _opened(model, device, dtype, quantization)
    if checked.family is not None:
        raise ModelError(
            f"model '{model}' runs through diffusers' {checked.pipeline}, which is planned once it is loaded; possible "
            "here: a model of Wan's kind"
        )
    dtypes, experts, loras = _dtypes(device, dtype), _experts(checked), _loras(model, checked, lora)

    def build(part: str) -> Any:
        return cast_weights(_meta(checked, part), dtypes[part]).eval()

    residence, adapters = Residence(device, Placement(), build), Adapters()
    residence.parts_mib |= _parts_mib(checked, dtypes)
    for one in loras:
        adapters.foresee(one)
        residence.parts_mib[experts[one.request.transformer - 1]] += one.file.stat().st_size / MIB
    return _put_together(model, checked, residence, adapters, build)


def runs_elsewhere(model: str) -> bool:
    """Whether a model runs through a pipeline of diffusers.

    Raises:
        ModelError: there is no such model.
    """
    return family_of(read_json(find_folder(model) / INDEX_FILE).get("_class_name")) is not None


def _opened(model: str, device: torch.device, dtype: torch.dtype, quantization: Quantization | None) -> _Checked:
    checked = _checked(find_folder(model), quantization)
    if quantization is not None:
        quantization.check(device, dtype, sum(part in checked.classes for part in TRANSFORMERS))
    return checked


def _experts(checked: _Checked) -> list[str]:
    return [part for part in TRANSFORMERS if part in checked.weights]


def _loras(model: str, checked: _Checked, asked: Sequence[LoraRequest]) -> list[LoraFile]:
    """LoRA files that fit, by the order of the transformers."""
    if checked.quantization is not None and asked:
        checked.quantization.refuse_with("a LoRA", "leave --lora out, or load the weights as they are")
    return open_loras(asked, [_meta(checked, part) for part in _experts(checked)], model)


def _put_together(
    model: str, checked: _Checked, residence: Residence, adapters: Adapters, placed: Callable[[str], Any]
) -> LoadedModel:
    tokenizer = _load_tokenizer(checked)
    encoder = placed("text_encoder")
    with _Naming(checked.folder / "scheduler"):
        cls, config = checked.classes["scheduler"], checked.configs["scheduler"]
        scheduler = cls.from_config({key: config[key] for key in defaults(cls) if key in config})
    dits = [placed(part) for part in _experts(checked)]
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
        adapters=adapters,
        quantization=checked.quantization,
    )


def _load_stock(
    model: str, checked: "_Checked", family: Family, device: torch.device, dtypes: dict[str, torch.dtype]
) -> StockModel:
    """The components of a pipeline of diffusers, each loaded as ours are, and the pipeline of them."""
    index, folder = checked.configs["pipeline"], checked.folder
    parts: dict[str, Any] = {
        part: _load_weights(checked, part, dtypes[part]).to(device).eval() for part in checked.weights
    }
    for part in ("tokenizer", "tokenizer_2"):
        if part in checked.classes:
            parts[part] = _load_tokenizer(checked, part, part.replace("tokenizer", "text_encoder"))
    with _Naming(folder / "scheduler"):
        parts["scheduler"] = checked.classes["scheduler"].from_pretrained(folder / "scheduler", local_files_only=True)
    pipe = family.assemble(index["_class_name"], parts, {flag: index.get(flag) is True for flag in family.flags})
    pipe.set_progress_bar_config(disable=True)
    own = [path for path in (folder / INDEX_FILE, folder / CARD_FILE) if path.is_file()]
    used = [path for part in checked.classes for path in (folder / part).rglob("*") if path.is_file()]
    return StockModel(
        id=model,
        folder=folder,
        card=checked.card,
        family=family,
        pipe=pipe,
        grid=family.grid(completed(checked.configs, checked.classes, folder)),
        files=(*own, *used),
        commit=commit_of(model, folder),
    )


def _check_plain(model: str, checked: _Checked, rungs: tuple[Placement, ...], lora: Sequence[LoraRequest]) -> None:
    """Refuses what a pipeline of diffusers is not built for here."""
    how = f"model '{model}' runs through diffusers' {checked.pipeline}"
    if rungs[0] != Placement():
        raise ConfigError(f"{how}, whose weights stay on the device; possible: --performance auto or speed")
    if lora:
        raise ConfigError(f"{how}, which takes no LoRA here; leave --lora out")
    if checked.quantization is not None:
        raise ConfigError(f"{how}, whose weights are not quantised here; leave --quantization and --gguf out")


def weights_mib(
    model: str, *, device: torch.device, dtype: torch.dtype, quantization: Quantization | None = None
) -> float:
    """Memory that the weights of a model take once loaded, from the headers of its files.

    Raises:
        ModelError: as `load_model`.
    """
    return sum(_parts_mib(_checked(find_folder(model), quantization), _dtypes(device, dtype)).values())


def _dtypes(device: torch.device, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """What each component runs in."""
    text_dtype = torch.float32 if device.type == "cpu" else dtype
    fixed = {
        "text_encoder": text_dtype,
        "text_encoder_2": text_dtype,
        "vae": torch.float32,
        "image_encoder": torch.float32,
    }
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


def own_model(model: "AnyModel") -> LoadedModel:
    """A model of Wan's kind, which our own loop runs; for what a pipeline of diffusers has no place for.

    Raises:
        ModelError: it runs through a pipeline of diffusers.
    """
    if isinstance(model, StockModel):
        raise ModelError(
            f"model '{model.id}' runs through diffusers' {model.pipeline}; possible here: a model of Wan's kind"
        )
    return model


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
    return {} if quantization is None else dict(zip(TRANSFORMERS, quantization.files, strict=False))


def _checked(folder: Path, quantization: Quantization | None = None) -> _Checked:
    """The folder after checking its configs, and that its weights are complete."""
    check_links(folder)
    index = read_json(folder / INDEX_FILE)
    family = family_of(index.get("_class_name"))
    classes = check_index(index, folder) if family is None else check_stock_index(family, index, folder)
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
    if family is None:
        check_configs(configs, classes, folder)
    else:
        check_stock(family, index["_class_name"], configs, classes, folder)
    configs["pipeline"] = index
    card = card_for(folder, configs)
    if family is None:
        check_card(card, configs, folder)
    else:
        check_stock_card(card, family, index["_class_name"], completed(configs, classes, folder), folder)
    return _Checked(
        folder=folder,
        card=card,
        configs=configs,
        classes=classes,
        weights=weights,
        family=family,
        quantization=quantization,
    )


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
    quantization = checked.quantization if part in TRANSFORMERS else None
    if quantization is not None and quantization.scheme == GGUF:
        return _gguf_bytes(checked, part, dtype)
    shapes = tensor_shapes(checked.weights[part])
    if checked.classes[part] is CLIPVisionModel:
        shapes = read_tensors(shapes)
    elif part == "text_encoder_2":
        shapes = bare_names(shapes)
    check_depth(config, len(shapes), where)
    skeleton = _meta(checked, part)
    check_tensors(skeleton, shapes, where)
    return weight_bytes(shapes, dtype) if quantization is None else quantized_bytes(skeleton, dtype)


def _gguf_bytes(checked: _Checked, part: str, dtype: torch.dtype) -> int:
    from vgen.models.gguf_file import gguf_bytes, gguf_header

    (file,) = checked.weights[part]
    header = gguf_header(file)
    check_depth(checked.configs[part], len(header), checked.folder / part)
    skeleton = _meta(checked, part)
    with _Naming(file):
        return gguf_bytes(file, header, skeleton, dtype)


def _meta(checked: _Checked, part: str) -> nn.Module:
    """A component without weights."""
    with _Naming(checked.folder / part), torch.device("meta"):
        built, cls, config = checked.builder(part), checked.classes[part], checked.configs[part]
        model: nn.Module = cls.from_config(config) if built is None else cls(built(config))
    return model


def _load_weights(checked: _Checked, part: str, dtype: torch.dtype) -> Any:
    where, cls = checked.folder / part, checked.classes[part]
    quantization = checked.quantization if part in TRANSFORMERS else None
    if quantization is not None and quantization.scheme == GGUF:
        from vgen.models.gguf_file import load_gguf

        (file,) = checked.weights[part]
        with _Naming(file):
            return load_gguf(file, checked.configs[part], dtype)
    with _Naming(where), _without_bars():
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


def _load_images(checked: _Checked, placed: Callable[[str], Any]) -> ImageEncoder | None:
    if "image_encoder" not in checked.weights:
        return None
    return ImageEncoder(make_processor(checked.configs["image_processor"]), placed("image_encoder"))


def _load_tokenizer(
    checked: _Checked, part: str = "tokenizer", encoder: str = "text_encoder"
) -> PreTrainedTokenizerBase:
    where = checked.folder / part
    check_added_tokens(where)
    check_vocabulary(where)
    with _Naming(where):
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
