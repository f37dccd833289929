"""Variants of a model: what `MODEL:VARIANT` names, and what lies in the folder `variants/VARIANT` of the model's own.

A variant is the same model with another card (`vgen.yaml`, which says only what differs) and at most one LoRA of its
first transformer, such as a distillation to few steps, which is right with its own steps, noise levels and guidance.
The LoRA is merged into the weights as they are read (`lora.py`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from vgen.errors import ModelError, listed, nearest
from vgen.models.card import CARD_FILE
from vgen.models.files import ADAPTER_FILE, PICKLES

__all__ = ["EMBEDDED", "VARIANTS", "VARIANT_FILE", "Variant", "find_variant", "split_variant", "variants_of"]

EMBEDDED = "playground"
VARIANTS = "variants"
# its files in a repository: the variant, and the file
VARIANT_FILE = re.compile(
    rf"{VARIANTS}/(\w[\w.-]*)/({re.escape(CARD_FILE)}|{re.escape(ADAPTER_FILE)}|\w[\w.-]*\.safetensors)", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One variant of a model folder.

    Args:
        folder: where it lies.
        lora: its LoRA, if it has one.
    """

    folder: Path
    lora: Path | None

    @property
    def name(self) -> str:
        """What stands behind the colon."""
        return self.folder.name

    def files(self) -> dict[str, Path]:
        """What a run depends on, by its path in the model's folder: card, LoRA, and what says the LoRA's alpha."""
        own = [self.folder / CARD_FILE, self.folder / ADAPTER_FILE, *([] if self.lora is None else [self.lora])]
        return {f"{VARIANTS}/{self.name}/{path.name}": path for path in own if path.is_file()}


def split_variant(model: str) -> tuple[str, str | None]:
    """The model and the variant that a text names; a folder with a colon in its name goes before a variant.

    The embedded model's name goes before any folder, as it does without a variant.
    """
    base, colon, name = model.rpartition(":")
    if not colon or "/" in name or (base != EMBEDDED and Path(model).exists()):
        return model, None
    return base, name


def variants_of(folder: Path) -> list[str]:
    """Names of a model folder's variants; what is in them is not looked at."""
    place = folder / VARIANTS
    found = [path.name for path in place.iterdir() if path.is_dir()] if place.is_dir() else []
    return sorted(name for name in found if not name.startswith("."))


def find_variant(folder: Path, name: str, model: str) -> Variant:
    """A variant by its name.

    Args:
        folder: of the model.
        name: asked for.
        model: without the variant, for messages.

    Raises:
        ModelError: there is none of that name, it is empty, pickled, or holds more than one LoRA.
    """
    possible = variants_of(folder)
    if name not in possible:
        hint = nearest(name, possible) if possible else f"it has none; name it without ':{name:.60}'"
        raise ModelError(f"model '{model}' has no variant '{name:.60}'; {hint}")
    place = folder / VARIANTS / name
    files = sorted(path for path in place.iterdir() if path.is_file())
    loras = [path for path in files if path.suffix == ".safetensors"]
    pickled = [path.name for path in files if path.suffix in PICKLES]
    if len(loras) > 1:
        raise ModelError(f"{place}: a variant has one LoRA at most, found {listed([path.name for path in loras], 4)}")
    if pickled and not loras:
        raise ModelError(
            f"{place}: the LoRA is pickled ({listed(pickled, 4)}), which can run code; convert it to safetensors"
        )
    if not loras and place / CARD_FILE not in files:
        raise ModelError(f"{place}: neither {CARD_FILE} nor a LoRA in it; a variant has at least one of the two")
    return Variant(folder=place, lora=loras[0] if loras else None)
