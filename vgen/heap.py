"""What glibc does with memory that tensors free; other C libraries have ways of their own, and are left to them.

By itself it keeps what it was given for the next tensors, in a heap that holes keep from shrinking.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vgen.errors import ResourceError

__all__ = ["give_back", "giving_back"]

TRIM, OWN_PAGES = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
AT_ONCE = {OWN_PAGES: 1 << 20, TRIM: 128 << 10}
USUAL = {OWN_PAGES: 32 << 20, TRIM: 64 << 20}  # where its own rule ends up once large tensors were freed


def give_back() -> None:
    """Gives back what is kept now; between stages, whose tensors differ."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@contextmanager
def giving_back(at_once: bool) -> Iterator[None]:
    """Has freed tensors given back to the system at once, for less memory and more time; or leaves it.

    The embedded model's clip takes 130 MiB so, and up to 280 otherwise; its VAE takes 1.6 times as long, since the
    system clears each page that it hands out.

    Raises:
        ResourceError: the C library refuses, which glibc does not.
    """
    if at_once:
        _set(AT_ONCE)
        give_back()
    try:
        yield
    finally:
        if at_once:
            _set(USUAL)


def _set(options: dict[int, int]) -> None:
    libc = _glibc()
    for option, size in options.items():
        if libc is not None and not libc.mallopt(option, size):
            raise ResourceError(f"the C library refuses mallopt({option}, {size}); set MALLOC_MMAP_THRESHOLD_")


def _glibc() -> Any:
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
