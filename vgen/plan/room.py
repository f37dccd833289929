"""What a machine has left: memory of the device or of the control group, and of the host beside it."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

from vgen.errors import ResourceError

__all__ = ["MIB", "free_mib", "give_back_what_is_freed", "host_limit_mib"]

MIB = 1 << 20
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")
M_MMAP_THRESHOLD = -3  # of glibc's mallopt
OWN_PAGES_BYTES = 1 << 20


def free_mib(device: torch.device) -> float:
    """Memory that this process may still take: of the GPU, or of the machine and of its control group."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MIB
    free = psutil.virtual_memory().available
    limit = _cgroup_bytes()
    return (free if limit is None else min(free, limit - int(CGROUP_USED.read_text()))) / MIB


def host_limit_mib() -> float:
    """Memory of the host that its processes may take in all: the control group's limit where there is one."""
    total = psutil.virtual_memory().total
    limit = _cgroup_bytes()
    return (total if limit is None else min(total, limit)) / MIB


def give_back_what_is_freed() -> None:
    """Has glibc give freed tensors back to the system at once, as other C libraries do anyway.

    Its threshold otherwise rises with each large tensor that is freed, up to 32 MiB; smaller ones then come from a heap
    that holes keep from shrinking: a clip of the embedded model took 278 MiB where 130 do, in the same time.

    Raises:
        ResourceError: the C library refuses, which glibc does not.
    """
    mallopt: Any = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and not mallopt(M_MMAP_THRESHOLD, OWN_PAGES_BYTES):
        raise ResourceError("the C library refuses to give freed memory back (mallopt); set MALLOC_MMAP_THRESHOLD_")


def _cgroup_bytes() -> int | None:
    """The control group's limit; None where there is none."""
    if not (CGROUP_LIMIT.is_file() and CGROUP_USED.is_file()):
        return None
    limit = CGROUP_LIMIT.read_text().strip()
    return None if limit == "max" else int(limit)
