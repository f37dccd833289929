"""Writing files so that a name holds either what stood there before or the whole new thing.

What is written goes beside its final name as `<name>.partial-<id>`, is flushed to the disk, and is then renamed. A
killed run leaves at most such a partial file behind.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vgen.errors import InputError

__all__ = ["check_file", "check_parent", "check_regular", "os_errors", "partial_path", "publish", "remove", "replacing"]


def check_parent(path: Path) -> None:
    """Raises InputError where nothing can be made at `path`: no name, too long a one, its folder missing or closed.

    Finds out by making an empty file beside it, since only the system knows what it will allow.
    """
    if path.name in ("", "..") or "\0" in str(path):
        raise InputError(f"cannot write '{path}': that is no name for a file; give one, such as clip.mp4")
    with os_errors("write", path):
        if not path.parent.is_dir():
            raise InputError(f"cannot write '{path}': the folder '{path.parent}' does not exist; make it first")
        trial = partial_path(partial_path(path))  # the longest name that is made on the way
        trial.touch()
        trial.unlink()


def check_file(path: Path) -> None:
    """Raises InputError where no file can be made at `path`: as `check_parent`, or a folder has that name."""
    check_parent(path)
    if path.is_dir():
        raise InputError(f"cannot write '{path}': a folder of that name exists")


def check_regular(path: Path) -> os.stat_result:
    """Refuses to read what is no plain file: a pipe has no end, a device no size, a folder no bytes.

    Raises:
        InputError: it is missing, no file, or has a name that no file can have.
    """
    if "\0" in str(path):
        raise InputError(f"cannot read '{path}': that is no name for a file")
    with os_errors("read", path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"cannot read '{path}': it is no plain file")
    return found


def partial_path(path: Path) -> Path:
    """A fresh name beside `path`, on the same file system, so that a rename from it is atomic."""
    return path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")


def publish(partial: Path, path: Path) -> None:
    """Gives a finished file or folder its final name, after it has reached the disk.

    A file is replaced in one step. A rename cannot replace a folder, so an old folder first goes aside under a partial
    name: a kill between the two renames leaves it there, whole, and nothing under the final name.
    """
    for inner in partial.rglob("*") if partial.is_dir() else ():
        _sync(inner)
    _sync(partial)
    aside = partial_path(path) if path.is_dir() else None
    if aside is not None:
        path.rename(aside)
    partial.replace(path)
    _sync(path.parent)
    if aside is not None:
        remove(aside)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write a file to; it takes the place of `path` when the block ends without an error.

    The block should do nothing but write: a refusal by the system inside it counts as one to write `path`.

    Raises:
        InputError: as `check_file`, or the system refuses to write there.
    """
    check_file(path)
    partial = partial_path(path)
    try:
        with os_errors("write", path):
            yield partial
            publish(partial, path)
    finally:
        remove(partial)


@contextmanager
def os_errors(verb: str, path: Path) -> Iterator[None]:
    """Turns the system's refusal inside the block into `cannot <verb> '<path>': <reason>`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot {verb} '{path}': {error.strerror or error}") from error


def remove(path: Path) -> None:
    """Removes a file, or a folder with all in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
