"""Which LoRA files are asked for: `PATH[@SCALE]`, or rows of a config. What is in them is `lora_file.py`'s."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vgen.errors import ConfigError
from vgen.schema import Range

__all__ = ["LoraRequest", "LoraSource", "lora_request", "lora_rows"]

SCALE = Range(-100, 100)
TRANSFORMERS = (1, 2)
KEYS = ("path", "scale", "transformer")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRequest:
    """One LoRA file that is asked for.

    Args:
        path: of a safetensors file or of a folder with one in it, or a hub id, `ORG/NAME[@REVISION]`.
        scale: times what the file itself says; 0 is without effect.
        transformer: 1, or 2 for the second of two experts, the one for low noise.
    """

    path: str
    scale: float = 1.0
    transformer: int = 1

    def row(self) -> dict[str, Any]:
        """As `model.lora` of a config holds it."""
        return asdict(self)


LoraSource: TypeAlias = LoraRequest | str | Path | Mapping[str, Any]


def lora_request(source: LoraSource) -> LoraRequest:
    """What is meant by a word, a path, or a row of `model.lora`.

    Raises:
        ConfigError: none of those, an unknown key, or a scale or transformer that is not possible.
    """
    if isinstance(source, LoraRequest):
        return source
    if isinstance(source, str | Path):
        return _of_word(str(source))
    if not isinstance(source, Mapping) or not isinstance(source.get("path"), str | Path) or not {*source} <= {*KEYS}:
        raise ConfigError(f"a LoRA is PATH[@SCALE], or {{path, scale, transformer}}, got {str(source)[:80]}")
    row = dict(source)
    return _checked(str(row["path"]), row.get("scale", 1.0), row.get("transformer", 1))


def lora_rows(first: Sequence[str] | None, second: Sequence[str] | None) -> list[dict[str, Any]] | None:
    """Words for the first and the second transformer as rows of `model.lora`; None where there are none."""
    rows = [_of_word(word).row() for word in first or ()]
    rows += [_of_word(word).row() | {"transformer": 2} for word in second or ()]
    return rows or None


def _of_word(word: str) -> LoraRequest:
    """`PATH@SCALE` where what follows the last @ is a number; else the whole is a path, or a hub id at a revision."""
    path, at, scale = word.rpartition("@")
    try:
        number = float(scale) if at else None
    except ValueError:
        number = None
    return _checked(word, 1.0, 1) if number is None else _checked(path, number, 1)


def _checked(path: str, scale: Any, transformer: Any) -> LoraRequest:
    if not path or "\0" in path:
        raise ConfigError(f"a LoRA is a path or a hub id, got {path[:80]!r}")
    number = not isinstance(scale, bool) and isinstance(scale, int | float) and math.isfinite(scale)
    problem = SCALE.problem(scale) if number else f"possible: {SCALE.low} to {SCALE.high}"
    if problem is not None:
        raise ConfigError(f"LoRA {path}: scale {scale!r:.40} is not possible; {problem}")
    if isinstance(transformer, bool) or transformer not in TRANSFORMERS:
        raise ConfigError(f"LoRA {path}: transformer {transformer!r:.40} is not possible; possible: 1 or 2")
    return LoraRequest(path=path, scale=float(scale), transformer=int(transformer))
