"""Settings of a config that was read from a folder: completed by a class's defaults, held to what is possible."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeAlias

from vgen.errors import ModelError
from vgen.models.files import REFUSED_ENDING
from vgen.schema import Range

__all__ = [
    "Config",
    "Settings",
    "check_derived",
    "check_keys",
    "check_settings",
    "class_of",
    "complete",
    "count",
    "defaults",
    "is_list",
    "is_there",
    "number",
    "unsupported",
]

Config: TypeAlias = dict[str, Any]
Settings: TypeAlias = Mapping[str, Range | tuple[Any, ...]]

# would change what is computed, by whose code, or from which files
REFUSED = ("auto_map", "fast_tokenizer_files", "quantization_config")
# of a scheduler, without effect on flow sigmas of a fixed shift
INERT = frozenset(
    {
        "base_image_seq_len",
        "base_shift",
        "beta_end",
        "beta_schedule",
        "beta_start",
        "dynamic_thresholding_ratio",
        "max_image_seq_len",
        "max_shift",
        "rescale_betas_zero_snr",
        "sample_max_value",
        "steps_offset",
        "time_shift_type",
        "timestep_spacing",
        "trained_betas",
    }
)


def is_there(value: Any) -> bool:
    """Whether an entry of model_index.json names a component; one that is left out is [null, null]."""
    return isinstance(value, list) and any(part is not None for part in value)


def class_of(part: str, named: Any, possible: Mapping[str, Any], where: Path) -> Any:
    """The class that an entry of model_index.json names, out of our own list."""
    name = named[1] if isinstance(named, list) and len(named) == 2 else None
    if not isinstance(name, str) or name not in possible:
        raise ModelError(
            f"{where}: {part} is of class {short(name)}, which is not on the list; possible: {', '.join(possible)}"
        )
    return possible[name]


def check_keys(configs: dict[str, Config], parts: Iterable[str], folder: Path) -> None:
    """Refuses keys that no config may set."""
    for part in parts:
        for key, value in configs[part].items():
            if (key in REFUSED or key.endswith(REFUSED_ENDING)) and value is not None:
                raise ModelError(f"{folder / part}: the config sets {key}, which is not supported; remove the key")


def check_settings(config: Config, cls: Any, able: Settings, where: Path) -> None:
    """Holds a scheduler's settings to `able`, and all others that have an effect to the class's defaults."""
    usual = defaults(cls)
    for key, value in (usual | config).items():
        if key.startswith("_") or (key in INERT and key not in able):
            continue
        default = (usual[key],) if key in usual else (None, False)
        supported = able.get(key, default)
        if isinstance(supported, Range) and (value is not None or default != (None,)):
            number(config | {key: value}, key, where, supported)
        elif not isinstance(supported, Range) and value not in supported:
            raise unsupported(cls.__name__, key, value, supported, where)


def check_derived(config: Config, built: Any) -> None:
    """Holds what a T5's config says of its activation to what follows from its feed_forward_proj."""
    for key in ("dense_act_fn", "is_gated_act"):
        if config.get(key, getattr(built, key)) != getattr(built, key):
            raise ModelError(
                f"text_encoder: {key} is {short(config[key])}, "
                f"but feed_forward_proj={built.feed_forward_proj!r} makes it {getattr(built, key)!r}"
            )


def complete(config: Config, cls: Any, where: Path) -> Config:
    """The config with the class's defaults for what it does not say; a key that the class does not know is refused."""
    usual = defaults(cls)
    for key, value in config.items():
        if key not in usual and not key.startswith("_") and value not in (None, False):
            raise unsupported(cls.__name__, key, value, (None, False), where)
    return {key: list(v) if isinstance(v, tuple) else v for key, v in (usual | config).items()}


def defaults(cls: Any) -> Config:
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.name != "self"}


def count(config: Config, key: str, where: Path) -> None:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise ModelError(f"{where}: {key} is a whole number of at least 1, got {short(value)}")


def number(config: Config, key: str, where: Path, able: Range, *, whole: bool = False) -> None:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ModelError(f"{where}: {key} is a {'whole ' if whole else ''}number, got {short(value)}")
    problem = able.problem(value)
    if problem is not None:
        raise ModelError(f"{where}: {key}={value!r} is not supported; {problem}")


def is_list(value: Any, *kinds: type) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(item) in kinds for item in value)


def unsupported(what: str, key: str, value: Any, supported: tuple[Any, ...], where: Path) -> ModelError:
    possible = " or ".join(str(item) for item in supported)
    return ModelError(f"{where}: {what} with {key}={short(value)} is not supported; possible: {possible}")
