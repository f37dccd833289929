"""Which figures may be compared: those of one recipe, which its fingerprint tells; and a file of results by that.

A recipe holds everything that makes two figures alike: what ran, how, on what. The state of the checkout is no part of
it, because that is what is compared.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from vgen.files import replacing

__all__ = ["fingerprint", "keep", "kept"]

Row = dict[str, Any]


def fingerprint(recipe: Row) -> str:
    """The same for equal recipes, whatever the order of their keys.

    Args:
        recipe: ready for JSON.
    """
    written = json.dumps(recipe, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def kept(path: Path, of: str) -> Row | None:
    """The row that a file holds under a fingerprint."""
    return _rows(path).get(of)


def keep(path: Path, row: Row) -> None:
    """Puts a row in the place of the one with its `fingerprint`; all others stay.

    Raises:
        InputError: the file cannot be written.
    """
    rows = _rows(path) | {row["fingerprint"]: row}
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def _rows(path: Path) -> dict[str, Row]:
    rows: dict[str, Row] = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else {}
    return rows
