"""Settings of a config that was read from a folder: completed by a class's defaults, held to what is possible."""

import inspect
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeAlias

from vgen.config import Range
from vgen.errors import ModelError

__all__ = ["Config", "complete", "count", "defaults", "is_list", "number", "unsupported"]

Config: TypeAlias = dict[str, Any]


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
