"""Records: the plain JSON object beside a clip that says how it was made. What is in one is the pipeline's business.

A record that is read is untrusted input: plain JSON within a size limit, an object at the top, finite numbers. Nothing
here takes a path or a class name from it.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from vgen.errors import InputError
from vgen.files import check_file, check_regular, os_errors, replacing
from vgen.video.ffmpeg import VIDEO_KINDS, read_comment

__all__ = [
    "MAX_COMMENT_BYTES",
    "MAX_RECORD_BYTES",
    "Record",
    "check_record",
    "comment_of",
    "read_record",
    "record_path",
    "write_record",
]

Record = dict[str, Any]

MAX_RECORD_BYTES = 4 << 20
MAX_COMMENT_BYTES = 64 << 10  # one argument of a program holds 128 KiB on Linux

_OMITTED = "vgen_record_omitted"


def record_path(path: Path | str) -> Path:
    """Where the record of a clip stands: `<stem>.json` beside it.

    Raises:
        InputError: the path has no name in it.
    """
    if not Path(path).name:
        raise InputError(f"'{path}' is no name of a clip or record")
    return Path(path).with_suffix(".json")


def check_record(path: Path | str) -> None:
    """Checks before a long run that the record of the clip at `path` can be written.

    Raises:
        InputError: it cannot, or what stands in its place is somebody's JSON and no record.
    """
    target = record_path(path)
    check_file(target)
    if target.exists() and not _is_record(target):
        raise InputError(f"cannot write '{target}': it exists and is no record of vgen; give the clip another name")


def write_record(path: Path | str, record: Record) -> Path:
    """Writes the record of the clip at `path` beside it, atomically, and returns where.

    Raises:
        InputError: it cannot be written there.
    """
    target = record_path(path)
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(target) as partial:
        # a lone surrogate, as a shell may hand over, becomes its JSON escape
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return target


def read_record(path: Path | str) -> Record:
    """Reads a record from its JSON file; for a clip, the copy inside an mp4 or mkv, else the JSON file beside it.

    Raises:
        InputError: there is none, it is larger than MAX_RECORD_BYTES, or it is not a JSON object with finite numbers.
    """
    path = Path(path)
    if path.suffix.lower() in VIDEO_KINDS:
        check_regular(path)
        comment = read_comment(path, limit_bytes=MAX_RECORD_BYTES)
        if comment:
            record = _parse(comment, path)
            if _OMITTED in record:
                raise InputError(f"'{path}' carries no record: {record[_OMITTED]}")
            return record
    path = record_path(path)
    check_regular(path)
    with os_errors("read", path), path.open("rb") as file:
        data = file.read(MAX_RECORD_BYTES + 1)
    if len(data) > MAX_RECORD_BYTES:
        raise InputError(f"the record '{path}' is larger than {MAX_RECORD_BYTES} bytes")
    return _parse(data.decode("utf-8", errors="replace"), path)


def comment_of(record: Record) -> str:
    """The copy of a record that a video file carries: one line of ASCII; for a long one, a note that says so."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    if len(text) <= MAX_COMMENT_BYTES:
        return text
    return json.dumps({_OMITTED: f"the record has {len(text)} bytes; it stands in the .json beside the clip"})


def _is_record(path: Path) -> bool:
    try:
        return "schema" in read_record(path)
    except InputError:
        return False


def _parse(text: str, path: Path) -> Record:
    try:
        record = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:120]
        raise InputError(f"'{path}' is not a record: {reason}") from error
    if not isinstance(record, dict):
        raise InputError(f"'{path}' is not a record: expected a JSON object, got {type(record).__name__}")
    return record


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
