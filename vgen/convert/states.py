"""Reads the state dicts of a published checkpoint: a safetensors file, or a PyTorch one that was pickled.

This is the one place of vgen that opens a pickle, for `vgen convert` alone, and through torch's unpickler of tensors
(`weights_only=True`), which builds nothing that is not on its list. What training wrapped around the model is unwound:
the parts of a checkpoint, and the prefixes that wrappers leave in names.
"""

import re
import struct
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError  # the error alone
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vgen.errors import ModelError, nearest
from vgen.models.files import tensor_shapes

__all__ = ["ChosenState", "State", "States", "choose_state", "read_states"]

State = dict[str, Tensor]

SAFE, PICKLED = (".safetensors",), (".pt", ".pth")
PARTS = ("generator_ema", "generator", "model", "state_dict")  # the first that is there is taken
SPLIT = frozenset({"generator_ema", "generator"})  # of a flat file: parts as prefixes
PICKLE_LIMIT_BYTES = 8 << 20  # without the tensors, which lie beside it
DEPTH = 4  # of nesting that is looked through
WRAPPERS = frozenset({"_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod"})  # wherever they stand
PREFIXES = frozenset({"model", "module", "diffusion_model"})  # in front
LORA = re.compile(r"(^|[._])lora([._]|$)")
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
UNSAFE_GLOBAL = re.compile(r"GLOBAL (\S+) (?:was not an allowed|whose module)")
# what torch raises on a file that is damaged in a way of its own
DAMAGED = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """What a checkpoint holds.

    Args:
        parts: state dicts by dotted name, which is empty where the file is one; their weights may still be on disk.
        aside: names of what is none.
    """

    parts: dict[str, State] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenState:
    """The state dict that is converted.

    Args:
        part: its dotted name in the file; empty where the file is nothing else.
        state: tensors by their names in the model's own code.
        others: what stands beside it in the file.
    """

    part: str
    state: State
    others: tuple[str, ...]


def read_states(path: Path) -> States:
    """Every state dict of a checkpoint file.

    Raises:
        ModelError: no such file, damaged, of another kind, or a pickle that asks for more than tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; what is converted is a file of {', '.join(SAFE + PICKLED)}")
    if path.suffix in SAFE:
        content: Any = _read_safetensors(path)
    elif path.suffix in PICKLED:
        content = _read_pickled(path)
    else:
        raise ModelError(f"{path}: what is converted is a file of {', '.join(SAFE + PICKLED)}")
    states = States()
    if isinstance(content, dict):
        _collect(content, "", states, DEPTH)
    if not states.parts:
        raise ModelError(f"{path}: holds no state dict, which is a mapping of names to tensors")
    return states


def choose_state(states: States, asked: str | None, path: Path) -> ChosenState:
    """The part that is meant, under the names of the model's own code.

    Args:
        states: as `read_states` returns them.
        asked: its dotted name; where None, the first of PARTS that is there, or the only one.
        path: for messages.

    Raises:
        ModelError: no such part, several that could be meant, a LoRA, or two tensors of one name.
    """
    parts = states.parts
    if all(map(_is_lora, parts.values())):
        raise _lora_error(path)
    if asked is not None and asked not in parts:
        raise ModelError(f"{path}: has no part '{asked}'; {nearest(asked, parts)}")
    part = _usual_part(parts, path) if asked is None else asked
    if _is_lora(parts[part]):
        raise _lora_error(path)
    others = sorted({*parts, *states.aside} - {part})
    return ChosenState(part=part, state=_plain_names(parts[part], path), others=tuple(others))


def _read_safetensors(path: Path) -> State:
    tensor_shapes([path])  # refuses what is damaged or no float
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: damaged, no safetensors file: {error}") from error


def _read_pickled(path: Path) -> Any:
    try:
        mapped = zipfile.is_zipfile(path)  # the format of torch 1.6 and later, which can stay on disk
        if mapped:
            _check_stored(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of torch, to its developers, on other protocols of pickle
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        unsafe = UNSAFE_GLOBAL.search(str(error))
        if unsafe is None:
            raise ModelError(f"{path}: damaged, or no checkpoint of PyTorch") from error
        raise ModelError(
            f"{path}: refused, its pickle asks for {unsafe[1]:.80}, which is no tensor and could run code; possible: "
            "a file with tensors alone, or safetensors"
        ) from error
    except DAMAGED as error:
        said = " ".join(str(error).split())
        raise ModelError(f"{path}: cannot be read: {type(error).__name__}: {said:.200}") from error


def _check_stored(path: Path) -> None:
    """Refuses compressed parts, which could unpack to any size, and a pickle that is more than names and shapes."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ModelError(f"{path}: refused, {entry.filename!r:.80} in it is compressed, as PyTorch writes none")
        if entry.filename.endswith(".pkl") and entry.file_size > PICKLE_LIMIT_BYTES:
            raise ModelError(
                f"{path}: refused, its pickle has {entry.file_size} bytes; at most {PICKLE_LIMIT_BYTES} are read"
            )


def _collect(content: dict[Any, Any], name: str, states: States, depth: int) -> None:
    """Adds the state dicts within a mapping: itself where no mapping is in it."""
    start = f"{name}." if name else ""
    inner = {key: value for key, value in content.items() if isinstance(value, dict) and isinstance(key, str)}
    state: State = {}
    if not inner:
        state = {key: value for key, value in content.items() if isinstance(value, Tensor) and isinstance(key, str)}
    states.aside.extend(f"{start}{key}" for key in content if key not in inner and key not in state)
    for key, value in inner.items():
        if depth:
            _collect(value, f"{start}{key}", states, depth - 1)
        else:
            states.aside.append(f"{start}{key}")
    if SPLIT & {key.partition(".")[0] for key in state}:
        for key, tensor in state.items():
            head, _, rest = key.partition(".")
            states.parts.setdefault(f"{start}{head}", {})[rest] = tensor
    elif state:
        states.parts[name] = state


def _usual_part(parts: dict[str, State], path: Path) -> str:
    if len(parts) == 1:
        return next(iter(parts))
    for usual in PARTS:
        named = [name for name in parts if name.rpartition(".")[2] == usual]
        if len(named) == 1:
            return named[0]
        if named:
            break
    raise ModelError(f"{path}: holds several parts; say which with --part: {', '.join(sorted(parts))}")


def _is_lora(state: State) -> bool:
    return any(LORA.search(name) for name in state)


def _lora_error(path: Path) -> ModelError:
    return ModelError(
        f"{path}: a LoRA, which is added to a model and is none by itself; convert the model that it was trained on"
    )


def _plain_names(state: State, path: Path) -> State:
    plain: State = {}
    for name, value in state.items():
        parts = [part for part in name.split(".") if part not in WRAPPERS]
        while len(parts) > 1 and parts[0] in PREFIXES:
            parts.pop(0)
        short = ".".join(parts)
        if short in plain:
            raise ModelError(f"{path}: holds {short} twice, once as {name}")
        plainly = type(value) in (Tensor, nn.Parameter) and value.layout is torch.strided
        if value.dtype not in FLOATS or not plainly:
            kind = f"{type(value).__name__}, {value.dtype}, {value.layout}"
            raise ModelError(f"{path}: tensor {short} is a {kind}; possible: dense floats")
        plain[short] = value.detach()
    return plain
