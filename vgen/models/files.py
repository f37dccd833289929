"""The files of a model folder, looked at without reading weights: configs, headers of safetensors, digests.

What the configs may say is in `check.py`.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from vgen.errors import ModelError

__all__ = [
    "ADAPTER_FILE",
    "REFUSED_ENDING",
    "cast_weights",
    "check_added_tokens",
    "check_links",
    "check_own",
    "check_tensors",
    "read_json",
    "sha256_of",
    "tensor_shapes",
    "weight_bytes",
    "weight_files",
]

CONFIG_LIMIT_BYTES = 4 << 20
HEADER_LIMIT_BYTES = 8 << 20  # of a safetensors file: some 50,000 tensors, where a model has a thousand
ADAPTER_FILE = "adapter_config.json"  # transformers would load what it names on top, from wherever that is
TOKEN_KEYS = ("__type", "content", "id", "lstrip", "normalized", "rstrip", "single_word", "special")
REFUSED_ENDING = "_implementation"  # of keys that name kernels
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
FLOATS = ("F64", "F32", "F16", "BF16")
Shape = tuple[int, ...]


def read_json(path: Path) -> dict[str, Any]:
    """A config.

    Raises:
        ModelError: missing, unreadable, too large, or not a mapping.
    """
    if not path.is_file():
        raise ModelError(f"{path.parent}: incomplete, missing {path.name}")
    if path.stat().st_size > CONFIG_LIMIT_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size} bytes are no config; at most {CONFIG_LIMIT_BYTES}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: a config is a mapping, got {type(content).__name__}")
    return content


def check_links(folder: Path) -> None:
    """Refuses links that lead out of a model folder: whoever packed it would choose what of the user's files is read.

    A snapshot of a download cache links to the blobs beside it, and may.

    Raises:
        ModelError: names the first that leads elsewhere, or nowhere.
    """
    root = folder.resolve()
    able = [root, (root.parent.parent / "blobs").resolve()] if root.parent.name == "snapshots" else [root]
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            continue
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise ModelError(f"{path}: a link that leads nowhere; put the file there") from error
        if not any(target.is_relative_to(place) for place in able):
            raise ModelError(f"{path}: a link out of the model folder, to {target}; put a copy or a hard link there")


def check_own(folder: Path, config: dict[str, Any]) -> None:
    """Refuses a folder of transformers' that would bring in what is not in it: an adapter, or a kernel of the hub.

    Args:
        folder: of one model.
        config: its config.json.

    Raises:
        ModelError: names the file or key.
    """
    if (folder / ADAPTER_FILE).exists():
        raise ModelError(f"{folder}: {ADAPTER_FILE} in a component is not supported; remove it")
    for key, value in config.items():
        if key.endswith(REFUSED_ENDING) and isinstance(value, str) and "/" in value:
            raise ModelError(f"{folder}: the config sets {key} to {value!r:.80}, code of others; remove the key")
        if isinstance(value, dict):
            check_own(folder, value)


def check_added_tokens(folder: Path) -> None:
    """Refuses a tokenizer's token with settings that there are not: the library prints their names to stdout, raw.

    What is no JSON at all is left to the library, which refuses it.

    Raises:
        ModelError: names the setting.
    """
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for token in _tokens_in(content):
            foreign = sorted(token.keys() - {*TOKEN_KEYS})
            if foreign:
                able = ", ".join(TOKEN_KEYS)
                raise ModelError(f"{folder / name}: a token's setting {foreign[0]!r:.80} is none of: {able}")


def _tokens_in(content: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(content, dict):
        return
    listed, decoder = content.get("added_tokens"), content.get("added_tokens_decoder")
    rows = [*(listed if isinstance(listed, list) else ()), *(decoder.values() if isinstance(decoder, dict) else ())]
    named = [value for value in content.values() if isinstance(value, dict) and "content" in value]
    yield from (row for row in (*rows, *named) if isinstance(row, dict))


def weight_files(folder: Path, single: str) -> list[Path]:
    """One file of the name `single`, or every shard that its index names.

    Raises:
        ModelError: missing, pickled, both at once, or an index that is none.
    """
    index = folder / f"{single}.index.json"
    if (folder / single).is_file():
        if index.is_file():  # the libraries disagree on which of the two counts
            raise ModelError(f"{folder}: holds both {single} and {index.name}; remove the one that is out of date")
        return [folder / single]
    if index.is_file():
        return _shards(folder, index)
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickled:
        raise ModelError(
            f"{folder}: weights are pickled ({', '.join(pickled)}), which can run code; convert them to safetensors"
        )
    raise ModelError(f"{folder}: incomplete, missing {single}")


def _shards(folder: Path, index: Path) -> list[Path]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise ModelError(f"{index}: weight_map names the shard of each tensor, got {placed!r:.40}")
    for shard in placed.values():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise ModelError(f"{index}: a shard is a safetensors file beside the index, got {shard!r:.80}")
    shards = sorted(set(placed.values()))
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise ModelError(f"{folder}: incomplete, missing {', '.join(missing)}")
    return [folder / shard for shard in shards]


def tensor_shapes(paths: Iterable[Path]) -> dict[str, Shape]:
    """Shape of each tensor, read from the headers alone.

    Raises:
        ModelError: a file is damaged, holds a tensor of another, or one that is no float.
    """
    shapes: dict[str, Shape] = {}
    for path in paths:
        _check_header(path)
        try:
            with safe_open(path, framework="pt") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
                found = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: damaged, no safetensors file: {error}") from error
        for name, (shape, dtype) in found.items():
            if dtype not in FLOATS:
                raise ModelError(f"{path}: tensor {name} is of type {dtype}; possible: {', '.join(FLOATS)}")
            if name in shapes:
                raise ModelError(f"{path}: tensor {name} stands in another shard too")
            shapes[name] = shape
    return shapes


def _check_header(path: Path) -> None:
    """Bounds the header of a safetensors file, whose length is its first eight bytes, before anything parses it."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    if length > HEADER_LIMIT_BYTES:
        raise ModelError(
            f"{path}: damaged, no safetensors file: a header of {length} bytes; at most {HEADER_LIMIT_BYTES} are read"
        )


def check_tensors(skeleton: nn.Module, found: dict[str, Shape], where: Path) -> None:
    """Holds the tensors of the files to those of the model that the config describes.

    Args:
        skeleton: the model, on the meta device.
        found: as `tensor_shapes` returns it.
        where: for messages.

    Raises:
        ModelError: names the first tensor that is missing, unexpected, or of another shape.
    """
    wanted = {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}
    tied: dict[str, str] = getattr(skeleton, "_tied_weights_keys", None) or {}
    same = tied | {source: name for name, source in tied.items()}
    missing = [name for name in wanted if name not in found and same.get(name) not in found]
    if missing:
        raise ModelError(f"{where}: weights lack {missing[0]} ({len(missing)} of {len(wanted)} tensors are missing)")
    passed_over = getattr(skeleton, "_keys_to_ignore_on_load_unexpected", None) or []
    unexpected = [name for name in found if name not in wanted and not any(re.search(p, name) for p in passed_over)]
    if unexpected:
        raise ModelError(
            f"{where}: weights hold {unexpected[0]}, which the config has no place for "
            f"({len(unexpected)} of {len(found)} tensors are unexpected)"
        )
    for name, shape in wanted.items():
        if found.get(name, shape) != shape:
            raise ModelError(f"{where}: {name} is of shape {list(found[name])}, the config asks for {list(shape)}")


def weight_bytes(shapes: dict[str, Shape], dtype: torch.dtype) -> int:
    """Memory that tensors take in `dtype`."""
    return sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize


def cast_weights(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """As the libraries cast a module's parameters when they load a folder: some stay in fp32."""
    kept = {*(getattr(module, "_keep_in_fp32_modules", None) or ())}
    if dtype != torch.float16 and not hasattr(module, "from_config"):
        kept = set()  # transformers keeps them for fp16 alone
    for name, value in module.named_parameters():
        if not kept & {*name.split(".")}:
            value.data = value.data.to(dtype)
    return module


def sha256_of(path: Path) -> str:
    """Of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
