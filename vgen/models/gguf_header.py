"""The header of a GGUF file, read with every count and length bounded: which tensors it holds, and where.

The `gguf` package reads such files too, and believes them: an array that says it has 2**60 items is read for as long.
So a file passes here before it does there. Format: ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vgen.errors import ModelError

__all__ = ["GGUFTensor", "read_header"]

MAGIC, VERSIONS = b"GGUF", (2, 3)
HEADER_LIMIT_BYTES = 16 << 20
MAX_TENSORS, MAX_FIELDS, MAX_DIMENSIONS, MAX_NAME_BYTES = 65536, 4096, 8, 512
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # by GGUF's number of a type
STRING, ARRAY, UINT32 = 8, 9, 4
MAX_ITEMS = 1 << 20
ALIGNMENT = "general.alignment"


@dataclass(frozen=True, slots=True, kw_only=True)
class GGUFTensor:
    """One tensor of a file.

    Args:
        shape: as in torch.
        kind: ggml's number of its type.
        offset: of its bytes, from the end of the header.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int


def read_header(path: Path, block_bytes: dict[int, tuple[int, int]]) -> dict[str, GGUFTensor]:
    """The tensors of a file by name; each lies within the file.

    Args:
        path: the file.
        block_bytes: values and bytes of a block, by number, for the types that may occur.

    Raises:
        ModelError: no GGUF file, a damaged one, or one with a type that is not among `block_bytes`.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            reader = _Reader(path, file, path.stat().st_size)
            tensors, start = _header(reader)
    except OSError as error:
        raise ModelError(f"{path}: not readable: {error.strerror}") from error
    for name, tensor in tensors.items():
        _check_place(name, tensor, start, reader, block_bytes)
    return tensors


class _Reader:
    """Numbers and strings from a file, never past its end or the header's limit."""

    def __init__(self, path: Path, file: BinaryIO, size_bytes: int) -> None:
        self.path, self.file, self.size_bytes = path, file, size_bytes
        self.limit_bytes = min(size_bytes, HEADER_LIMIT_BYTES)

    @property
    def position(self) -> int:
        return self.file.tell()

    def damaged(self, why: str) -> ModelError:
        return ModelError(f"{self.path}: no sound GGUF file: {why}")

    def take(self, count: int) -> bytes:
        if count > self.limit_bytes - self.position:
            raise self.damaged(f"its header goes on past {self.limit_bytes} bytes")
        return self.file.read(count)

    def skip(self, count: int) -> None:
        if count > self.limit_bytes - self.position:
            raise self.damaged(f"its header goes on past {self.limit_bytes} bytes")
        self.file.seek(count, 1)

    def number(self, form: str) -> int:
        return int(struct.unpack("<" + form, self.take(struct.calcsize(form)))[0])

    def count(self, form: str, most: int, what: str) -> int:
        value = self.number(form)
        if value > most:
            raise self.damaged(f"it says {value} {what}, at most {most}")
        return value

    def name(self) -> str:
        raw = self.take(self.count("Q", MAX_NAME_BYTES, "bytes of a name"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged(f"a name is no text: {raw[:40]!r}") from error


def _header(reader: _Reader) -> tuple[dict[str, GGUFTensor], int]:
    """The tensors, and where their bytes begin."""
    if reader.take(4) != MAGIC:
        raise reader.damaged("it does not begin with GGUF")
    version = reader.number("I")
    if version not in VERSIONS:
        raise reader.damaged(f"version {version}; possible: {', '.join(map(str, VERSIONS))}")
    tensors, fields = reader.count("Q", MAX_TENSORS, "tensors"), reader.count("Q", MAX_FIELDS, "fields")
    alignment = 32
    seen: set[str] = set()
    for _ in range(fields):
        name, kind = reader.name(), reader.number("I")
        if name in seen:
            raise reader.damaged(f"field {name!r:.60} stands twice")
        seen.add(name)
        if name == ALIGNMENT:
            alignment = _alignment(reader, kind)
        else:
            _skip_value(reader, kind)
    found: dict[str, GGUFTensor] = {}
    for _ in range(tensors):
        name, tensor = _tensor(reader)
        if name in found:
            raise reader.damaged(f"tensor {name!r:.60} stands twice")
        found[name] = tensor
    return found, -(-reader.position // alignment) * alignment


def _alignment(reader: _Reader, kind: int) -> int:
    value = reader.number("I") if kind == UINT32 else 0
    if value < 1 or value > 1 << 16 or value & (value - 1):
        raise reader.damaged(f"{ALIGNMENT} is a power of two up to {1 << 16}")
    return value


def _skip_value(reader: _Reader, kind: int) -> None:
    if kind in SCALAR_BYTES:
        reader.skip(SCALAR_BYTES[kind])
    elif kind == STRING:
        reader.skip(reader.number("Q"))
    elif kind == ARRAY:
        inner, count = reader.number("I"), reader.count("Q", MAX_ITEMS, "items of an array")
        if inner in SCALAR_BYTES:
            reader.skip(SCALAR_BYTES[inner] * count)
        elif inner == STRING:
            for _ in range(count):
                reader.skip(reader.number("Q"))
        else:
            raise reader.damaged(f"an array of type {inner}")
    else:
        raise reader.damaged(f"a field of type {kind}")


def _tensor(reader: _Reader) -> tuple[str, GGUFTensor]:
    name = reader.name()
    rank = reader.count("I", MAX_DIMENSIONS, "dimensions of a tensor")
    shape = tuple(reader.number("Q") for _ in range(rank))[::-1]  # ggml counts the innermost first
    return name, GGUFTensor(shape=shape, kind=reader.number("I"), offset=reader.number("Q"))


def _check_place(
    name: str, tensor: GGUFTensor, start: int, reader: _Reader, block_bytes: dict[int, tuple[int, int]]
) -> None:
    if tensor.kind not in block_bytes:
        raise ModelError(
            f"{reader.path}: tensor {name:.80} is of ggml type {tensor.kind}; possible: "
            f"{', '.join(map(str, sorted(block_bytes)))}"
        )
    values, size_bytes = block_bytes[tensor.kind]
    row = tensor.shape[-1] if tensor.shape else 1
    if row % values:
        raise reader.damaged(f"rows of {name:.80} have {row} values, in blocks of {values}")
    if start + tensor.offset + math.prod(tensor.shape) // values * size_bytes > reader.size_bytes:
        raise reader.damaged(f"tensor {name:.80} goes on past its end, {reader.size_bytes} bytes")
