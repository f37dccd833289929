"""The clip that is still growing: its name beside the final one, and that one run alone writes it.

A run locks what it writes (flock), and the system drops the lock when the run ends, however it ends. What stands there
unlocked was left by a run that was killed, and is replaced. Only the holder of the lock removes or renames it, so that
two runs never share one. Where a file system knows no locks, two runs at once are not told apart.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vgen.errors import InputError
from vgen.files import os_errors, remove

__all__ = ["Claim", "claimed", "growing_path"]

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)


def growing_path(path: Path) -> Path:
    """Where the clip at `path` stands until it is whole: `clip.partial.mp4`, or `clip.partial` for a folder."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


@dataclass(slots=True)
class Claim:
    """What a run holds while it writes; set `keep` to leave the partial clip where it is."""

    keep: bool = False


@contextmanager
def claimed(partial: Path, path: Path, *, folder: bool) -> Iterator[Claim]:
    """Makes an empty file or folder at `partial`, keeps other runs from it while the block lasts, and removes it then.

    What a killed run left there is replaced; whether it is such is the caller's to check.

    Args:
        partial: what is made.
        path: the clip that it will be, for the messages.
        folder: make a folder.

    Raises:
        InputError: another run is writing this clip, or the system refuses.
    """
    with os_errors("write", path):
        while (handle := _try_to_claim(partial, path, folder=folder)) is None:
            continue  # what stood in the way is gone now
    claim = Claim()
    try:
        yield claim
    finally:
        if not claim.keep and _stands_at(partial, handle):
            remove(partial)
        os.close(handle)


def _try_to_claim(partial: Path, path: Path, *, folder: bool) -> int | None:
    """The handle that holds the lock on what was made; None where something else stood there until now."""
    made = _make(partial, folder=folder)
    with ExitStack() as undo:
        try:
            handle = os.open(partial, os.O_NOFOLLOW | (os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR))
        except FileNotFoundError:  # the run that had it ended in this moment
            return None
        undo.callback(os.close, handle)
        _lock(handle, partial, path)
        if not _stands_at(partial, handle):
            return None
        if not made:
            remove(partial)
            return None
        undo.pop_all()
        return handle


def _make(partial: Path, *, folder: bool) -> bool:
    """Whether an empty file or folder could be made; not where something of that name stands."""
    try:
        if folder:
            partial.mkdir()
        else:
            partial.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _lock(handle: int, partial: Path, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"cannot write '{path}': another run is writing it, to '{partial.name}'; wait for it or give another name"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _stands_at(partial: Path, handle: int) -> bool:
    """Whether the name belongs to what was opened, which may have been removed or renamed before the lock was ours."""
    try:
        return os.path.samestat(os.lstat(partial), os.fstat(handle))
    except FileNotFoundError:
        return False
