"""A model folder in diffusers format, and a variant in it, found and checked: `CheckedFolder`. No weights are read.

The folder is checked whole (`check.py` its configs, `files.py` its files), so that what is wrong with it is said in one
line. The headers of its weights are held to the configs in `components.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from transformers import CLIPVisionModel, UMT5EncoderModel

from vgen.errors import ModelError, nearest
from vgen.models.card import ModelCard, card_for
from vgen.models.check import check_card, check_configs, check_index, encoder_config
from vgen.models.files import ADAPTER_FILE, check_links, read_json, weight_files
from vgen.models.hub import INDEX_FILE, cached, parse
from vgen.models.quantization import Quantization, replaced_files
from vgen.models.stock.catalogue import family_of
from vgen.models.stock.check import check_stock, check_stock_card, check_stock_index, completed
from vgen.models.stock.family import Family
from vgen.models.variant import EMBEDDED, Variant, find_variant, split_variant
from vgen.models.vision import vision_config

__all__ = [
    "EMBEDDED",
    "CheckedFolder",
    "check_folder",
    "describe",
    "embedded_folder",
    "find_folder",
    "open_folder",
    "runs_elsewhere",
]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFolder:
    """A folder whose configs are all supported.

    Args:
        folder: where it lies.
        card: its defaults, or the variant's.
        configs: by component.
        classes: what each component is loaded with.
        weights: files of each component that has some.
        family: how it is loaded and asked, where it runs through a pipeline of diffusers.
        quantization: of the transformers.
        variant: that was asked for.
    """

    folder: Path
    card: ModelCard
    configs: dict[str, dict[str, Any]]
    classes: dict[str, Any]
    weights: dict[str, list[Path]]
    family: Family | None = None
    quantization: Quantization | None = None
    variant: Variant | None = None

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""
        return str(self.configs["pipeline"]["_class_name"])

    def builder(self, part: str) -> Callable[[dict[str, Any]], Any] | None:
        """How the config of a component is built that transformers loads; None where diffusers does."""
        return (BUILDERS if self.family is None else self.family.builders).get(self.classes[part])


def embedded_folder() -> Path:
    """The folder of the model that comes with the package."""
    with as_file(files("vgen").joinpath("assets", EMBEDDED)) as folder:
        return folder


def find_folder(model: str) -> Path:
    """Where a model lies, whichever variant of it is meant. Asks nobody; `download.py` fetches.

    Raises:
        ModelError: there is no such name or folder, and no such model in the hub's cache.
    """
    base, _ = split_variant(model)
    folder = embedded_folder() if base == EMBEDDED else Path(base)
    if (folder / INDEX_FILE).is_file():
        return folder
    if folder.is_dir():
        raise ModelError(f"{base}: no {INDEX_FILE} in it; a model is a folder in diffusers format")
    if base == EMBEDDED:
        raise ModelError(f"the embedded model is missing from this installation ({folder}); install vgen anew")
    asked = parse(model)
    if asked is not None:
        return cached(asked)
    hint = nearest(base, [EMBEDDED])
    raise ModelError(
        f"model '{base}' is neither a name nor a folder; {hint}, the path of a diffusers-format folder, or a hub id "
        "ORG/NAME[@REVISION]; behind any of them :VARIANT"
    )


def open_folder(model: str, quantization: Quantization | None = None) -> CheckedFolder:
    """The folder and variant that a model's name means, checked.

    Raises:
        ModelError: as `find_folder` and `check_folder`, or the model has no such variant.
    """
    folder, (base, name) = find_folder(model), split_variant(model)
    return check_folder(folder, quantization, None if name is None else find_variant(folder, name, base))


def check_folder(
    folder: Path, quantization: Quantization | None = None, variant: Variant | None = None
) -> CheckedFolder:
    """The folder after checking its configs, and that its weights are complete.

    Raises:
        ModelError: incomplete, damaged, pickled, or with classes or settings that are not on our list.
    """
    check_links(folder)
    index = read_json(folder / INDEX_FILE)
    family = family_of(index.get("_class_name"))
    classes = check_index(index, folder) if family is None else check_stock_index(family, index, folder)
    configs = {part: read_json(folder / part / CONFIG_FILES.get(part, "config.json")) for part in classes}
    replaced = replaced_files(quantization)
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
    place = folder if variant is None else variant.folder
    card = card_for(folder, configs, None if variant is None else place)
    if family is None:
        check_card(card, configs, place)
    else:
        check_stock_card(card, family, index["_class_name"], completed(configs, classes, folder), place)
    return CheckedFolder(
        folder=folder,
        card=card,
        configs=configs,
        classes=classes,
        weights=weights,
        family=family,
        quantization=quantization,
        variant=variant,
    )


def describe(model: str) -> tuple[Path, ModelCard, int]:
    """Folder, card and size in bytes of a model, without loading it.

    Raises:
        ModelError: as `load_model`.
    """
    checked = open_folder(model)
    size_bytes = sum(path.stat().st_size for path in checked.folder.rglob("*") if path.is_file())
    return checked.folder, checked.card, size_bytes


def runs_elsewhere(model: str) -> bool:
    """Whether a model runs through a pipeline of diffusers.

    Raises:
        ModelError: there is no such model.
    """
    return family_of(read_json(find_folder(model) / INDEX_FILE).get("_class_name")) is not None
