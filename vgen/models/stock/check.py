"""What model_index.json, the configs and the card of a stock pipeline's folder may say; the rest is refused by name.

Its models and its scheduler are diffusers' own, so that every setting works that their classes know; here their values
are held to the kind of the class's defaults, and the components to each other.
"""

import math
from dataclasses import asdict
from pathlib import Path
from reprlib import repr as short
from typing import Any

from vgen.errors import ModelError
from vgen.models.card import ModelCard
from vgen.models.settings import (
    Config,
    check_keys,
    check_settings,
    class_of,
    complete,
    defaults,
    is_there,
    number,
    unsupported,
)
from vgen.models.stock.encoders import check_encoder
from vgen.models.stock.family import Family
from vgen.schema import Range

__all__ = ["check_stock", "check_stock_card", "check_stock_index", "completed"]

MAX_NUMBER = 1 << 20
MAX_ITEMS = 64
SCALING = Range(1e-6, 1e6)
# of a card, what the steps of a stock pipeline have no place for
NO_PLACE: dict[str, Any] = {
    "sampler": None,
    "solver": None,
    "sigmas": [],
    "closed_vocabulary": False,
    "last_image": "none",
    "guidance_scale_2": None,
    "flow_shift": None,
    "flow_shift_480p": None,
}


def check_stock_index(family: Family, index: Config, where: Path) -> dict[str, Any]:
    """The class of each component that model_index.json names.

    Raises:
        ModelError: a component, class or setting that is not on the family's list.
    """
    for key, value in index.items():
        if key in family.parts or key.startswith("_"):
            continue
        if is_there(value):
            raise ModelError(
                f"{where}: component {key} {short(value)} cannot be run; possible: {', '.join(family.parts)} "
                "and no other"
            )
        able = (True, False) if key in family.flags else (None, False)
        if not isinstance(value, list) and value not in able:
            raise unsupported("model_index.json", key, value, able, where)
    return {part: class_of(part, index.get(part), classes, where) for part, classes in family.parts.items()}


def check_stock(
    family: Family, pipeline: str, configs: dict[str, Config], classes: dict[str, Any], folder: Path
) -> None:
    """Holds each component's config to what is supported, and all of them to each other.

    Args:
        family: whose pipeline it is.
        pipeline: its name.
        configs: parsed, by component.
        classes: as `check_stock_index` returns them.
        folder: for messages.

    Raises:
        ModelError: names the component, the key and what is possible.
    """
    check_keys(configs, classes, folder)
    check_settings(configs["scheduler"], classes["scheduler"], family.scheduler, folder / "scheduler")
    for part, cls in classes.items():
        if cls in family.builders:
            check_encoder(configs[part], cls.__name__, folder / part)
    full = completed(configs, classes, folder)
    for part in ("transformer", "vae"):
        _check_kinds(full[part], defaults(classes[part]), folder / part)
    number(full["vae"], "scaling_factor", folder / "vae", SCALING)
    try:
        family.check(pipeline, full, folder)
        grid = family.grid(full)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}: its configs make no model: {type(error).__name__}: {error!s:.200}") from error
    sizes = asdict(grid)
    wrong = [name for name, size in sizes.items() if not all(n >= 1 for n in (size if name == "patch" else (size,)))]
    if wrong:
        raise ModelError(f"{folder}: its configs make a {wrong[0]} of {sizes[wrong[0]]}; at least 1 is needed")


def completed(configs: dict[str, Config], classes: dict[str, Any], folder: Path) -> dict[str, Config]:
    """The configs, those of transformer and VAE with their classes' defaults for what they do not say."""
    own = {part: complete(configs[part], classes[part], folder / part) for part in ("transformer", "vae")}
    return configs | own


def check_stock_card(card: ModelCard, family: Family, pipeline: str, configs: dict[str, Config], folder: Path) -> None:
    """Holds a card to the grid of the weights and to what the pipeline takes.

    Raises:
        ModelError: with what is possible.
    """
    grid, text_length = family.grid(configs), family.text_length(configs)
    for name, value in (("height", card.height), ("width", card.width)):
        if value % grid.px:
            raise ModelError(f"{folder}: the model card's {name} {value} is no multiple of {grid.px}, the model's grid")
    if (card.num_frames - 1) % grid.frames:
        raise ModelError(f"{folder}: the model card's num_frames {card.num_frames} is not 1 + {grid.frames} n")
    wanted: dict[str, Any] = {"samplers": ["full"], "image": family.pipelines[pipeline]} | NO_PLACE
    if text_length is not None:
        wanted["text_length"] = text_length
    for name, able in wanted.items():
        if getattr(card, name) != able:
            raise ModelError(
                f"{folder}: the model card says {name}: {short(getattr(card, name))}, and {pipeline} takes {able!r}"
            )
    if card.num_inference_steps < family.min_steps:
        raise ModelError(f"{folder}: the model card's num_inference_steps is below {family.min_steps}")


def _check_kinds(config: Config, usual: Config, where: Path) -> None:
    """A value is of the kind of the class's default, numbers within reason, lists short."""
    for key, default in usual.items():
        value = config[key]
        if not _alike(value, default):
            raise ModelError(f"{where}: {key} is {short(value)}, which is not of the kind of {short(default)}")


def _alike(value: Any, default: Any) -> bool:
    if isinstance(default, list | tuple):
        short_list = isinstance(value, list) and len(value) <= MAX_ITEMS
        return short_list and all(_alike(item, default[0]) for item in value)
    if default is None:
        listed = isinstance(value, list) and len(value) <= MAX_ITEMS and all(_plain(item) for item in value)
        return value is None or _plain(value) or listed
    if isinstance(default, bool | str):
        return type(value) is type(default)
    if isinstance(default, int):
        return type(value) is int and _plain(value)
    return not isinstance(value, bool | str) and _plain(value)


def _plain(value: Any) -> bool:
    """True, false, a short word, or a number from which nothing huge can be built."""
    if isinstance(value, str):
        return len(value) <= MAX_ITEMS
    return isinstance(value, bool | int | float) and math.isfinite(value) and abs(value) <= MAX_NUMBER
