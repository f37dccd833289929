"""Digests of weights, remembered: a model of tens of gigabytes is not read again for the record of every clip.

A large file counts as the same while its path, inode, size and the times of its last change are; the time of change is
the system's own, which nobody can set back. What is kept is a cache: lost or damaged, it is made anew.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from vgen.errors import InputError
from vgen.files import replacing
from vgen.machine import cache_home
from vgen.models.card import CARD_FILE
from vgen.models.files import sha256_of
from vgen.models.hub import INDEX_FILE
from vgen.models.variant import Variant

__all__ = ["digests_of", "file_digest", "files_of"]

LARGE_BYTES = 64 << 20  # smaller ones are read in a blink
MOST_KEPT = 1000
SETTLED_NS = 2_000_000_000  # a file system's times are coarse: a later change could bear the same


def files_of(folder: Path, parts: Iterable[str], variant: Variant | None) -> dict[str, Path]:
    """What a run of a model depends on, by its path in the folder: its index and card, all of these components, and
    the files of a variant.
    """
    own = [path for path in (folder / INDEX_FILE, folder / CARD_FILE) if path.is_file()]
    inside = [path for part in parts for path in (folder / part).rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path for path in own + inside}
    return files if variant is None else files | variant.files()


def digests_of(files: Mapping[str, Path]) -> dict[str, str]:
    """sha256 of each file, in the order of their names."""
    return {name: file_digest(path) for name, path in sorted(files.items())}


def file_digest(path: Path) -> str:
    """sha256 of a file, in hexadecimal; of a large one that has not changed since as it was found last."""
    stat = path.stat()
    if stat.st_size < LARGE_BYTES:
        return sha256_of(path)
    store, name = cache_home() / "digests.json", str(path.resolve())
    state = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    kept = _read(store).get(name)
    if isinstance(kept, list) and kept[:-1] == state:
        return str(kept[-1])
    digest = sha256_of(path)
    if time.time_ns() - stat.st_ctime_ns > SETTLED_NS:
        _keep(store, name, [*state, digest])
    return digest


def _read(store: Path) -> dict[str, list[int | str]]:
    try:
        kept = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(store: Path, name: str, row: list[int | str]) -> None:
    others = {key: value for key, value in _read(store).items() if key != name}
    rows = dict([*others.items(), (name, row)][-MOST_KEPT:])
    with contextlib.suppress(InputError, OSError):  # where nothing can be kept, the file is read again next time
        store.parent.mkdir(parents=True, exist_ok=True)
        with replacing(store) as partial:
            partial.write_text(json.dumps(rows), encoding="utf-8")
