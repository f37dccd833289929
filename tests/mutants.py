"""Damaged and hostile inputs, made from good ones by a seeded generator: the same seed gives the same bytes.

`bytes_of` damages any file; `json_of` and `text_of` know the structure of what they change. Reusable: they know
nothing of vgen.
"""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["bytes_of", "json_of", "safetensors_of", "text_of"]

INTS = (-1, 0, 1, 2**31 - 1, 2**31, 2**63, 2**64, -(2**63), 10**40, 10**400)
FLOATS = (-0.0, 1e308, -1e308, 1e-320, 0.1)
HOSTILE = (
    "",
    "\0",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202eexe.gpj",
    "\ud800",
    "../../../etc/passwd",
    "/etc/passwd",
    "-i",
    "http://127.0.0.1:9/x",
    "concat:/etc/passwd|/etc/passwd",
    "${oc.env:HOME}",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "__import__('os').system('false')",
    "%s%n%x",
    "a" * 5000,
    "NaN",
    "\N{SLICE OF PIZZA}",
)
TOKENS = (
    *("&a ", "*a", "!!python/object/apply:os.system [false]", "!!int ''", "!!timestamp x", "!!bool x", "? ", "- - - "),
    *("{", "}", "[", "]", ":", "\t", "\n", "%YAML 9.9\n", "---\n", "...\n", "<<: *a", "${", "${oc.env:HOME}", "\0"),
    *("9" * 5000, "1e999999", ".nan", ".inf", "0x", "1:60:60", "|\n", ">9\n", '"', "'", "\x1b[31m", "\ufeff", "\x85"),
    *("2026-99-99", "~", "=", "!<tag:x> ", "!!binary ===", "!!set {a}", "!!omap [a]", "[" * 2000, "{a: " * 500),
)


def bytes_of(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """One to three blows: flipped bits, cuts, copies within and from `other`, runs of one byte, extreme numbers."""
    blows: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
        _flip,
        _flip,
        _cut_end,
        _cut_out,
        _copy,
        _splice,
        _fill,
        _number,
        _number,
    )
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if changed:
            rng.choice(blows)(changed, rng, other or data)
    return bytes(changed)


def _flip(data: bytearray, rng: random.Random, _other: bytes) -> None:
    reach = len(data) if rng.random() < 0.5 else min(len(data), 256)  # headers stand in front
    for _ in range(rng.choice((1, 2, 8, 64))):
        place = rng.randrange(reach)
        data[place] ^= 1 << rng.randrange(8)


def _cut_end(data: bytearray, rng: random.Random, _other: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def _cut_out(data: bytearray, rng: random.Random, _other: bytes) -> None:
    begin = rng.randrange(len(data))
    del data[begin : begin + rng.randint(1, 200)]


def _copy(data: bytearray, rng: random.Random, _other: bytes) -> None:
    begin, place = rng.randrange(len(data)), rng.randrange(len(data))
    data[place:place] = data[begin : begin + rng.randint(1, 400)] * rng.choice((1, 1, 20))


def _splice(data: bytearray, rng: random.Random, other: bytes) -> None:
    place, begin = rng.randrange(len(data)), rng.randrange(len(other))
    data[place:] = other[begin:]


def _fill(data: bytearray, rng: random.Random, _other: bytes) -> None:
    begin, length = rng.randrange(len(data)), rng.randint(1, 64)
    data[begin : begin + length] = bytes([rng.choice((0, 0x7F, 0x80, 0xFF, 0x20))]) * length


def _number(data: bytearray, rng: random.Random, _other: bytes) -> None:
    kind = rng.choice(("<I", ">I", "<Q", ">Q", "<H", ">H"))
    size = struct.calcsize(kind)
    top = 2 ** (8 * size)
    value = rng.choice((0, 1, top - 1, top // 2, top // 2 - 1, top // 256, rng.randrange(top)))
    place = rng.randrange(max(1, min(len(data), 4096) - size))
    data[place : place + size] = struct.pack(kind, value)


def json_of(value: Any, rng: random.Random) -> str:
    """The JSON of a value after one to three changes: keys gone, renamed or doubled, values of other types, nesting."""
    changed = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        changed = _changed(changed, rng)
    text = json.dumps(changed)
    if rng.random() < 0.15:  # what json.dumps does not write
        literals = ("NaN", "Infinity", "1e999", "9" * 5000, "[" * 100_000, "\0")
        text = text.replace(rng.choice(("1", "0", "null", "true", '"')), rng.choice(literals), 1)
    return text


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        fate = rng.random()
        if fate < 0.1:
            return {name: inner for name, inner in value.items() if name != key}
        if fate < 0.2:
            return value | {rng.choice(HOSTILE): value[key]}
        return value | {key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    return _foreign(value, rng)


def _foreign(value: Any, rng: random.Random) -> Any:
    nested: Any = value
    for _ in range(rng.choice((1, 3, 200))):
        nested = [nested] if rng.random() < 0.5 else {"a": nested}
    return rng.choice(
        (None, True, False, [], {}, [value] * 3, nested, rng.choice(INTS), rng.choice(FLOATS), rng.choice(HOSTILE))
    )


def text_of(text: str, rng: random.Random) -> bytes:
    """Text with hostile words and YAML's own marks put in, lines moved and doubled, or bytes damaged."""
    if rng.random() < 0.3:
        return bytes_of(text.encode(), rng)
    lines = text.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        fate = rng.random()
        if fate < 0.2:
            lines.insert(place, rng.choice(lines))
        elif fate < 0.3 and len(lines) > 1:
            del lines[place]
        else:
            cut = rng.randrange(len(lines[place]) + 1)
            word = rng.choice((*TOKENS, *HOSTILE))
            lines[place] = lines[place][:cut] + word + lines[place][cut:]
    return "".join(lines).encode("utf-8", "surrogatepass")


def safetensors_of(data: bytes, rng: random.Random) -> bytes:
    """A file whose header tells another story: lengths, offsets, shapes, types, names; or whose bytes are damaged."""
    if rng.random() < 0.3:
        return bytes_of(data, rng)
    length = struct.unpack("<Q", data[:8])[0]
    header, body = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.8:
        header = json_of(json.loads(header), rng).encode()
    said = len(header)
    if rng.random() < 0.3:
        said = rng.choice((0, 1, said - 1, said + 1, 2**27, 2**40, 2**63 - 1, 2**64 - 1))
    return struct.pack("<Q", said) + header + body
