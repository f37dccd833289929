"""What a machine has left: memory of the device or of the control group, and of the host beside it."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

from vgen.errors import ResourceError

__all__ = ["MIB", "free_mib", "host_limit_mib", "keep_freed"]

MIB = 1 << 20
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
KEEPING = {M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}  # where its own rule ends up with large tensors
GIVING_BACK = {M_MMAP_THRESHOLD: 1 << 20, M_TRIM_THRESHOLD: 128 << 10}


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


def keep_freed(keep: bool) -> None:
    """Whether glibc keeps what tensors free for the next ones, or gives it back to the system at once.

    Kept, the embedded VAE decodes in .6 of the time, since new pages have to be cleared; given back, a clip takes as
    little as it can: 130 MiB where kept ones with the holes between them take up to 280.

    Raises:
        ResourceError: the C library refuses, which glibc does not.
    """
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):  # other C libraries have ways of their own
        return
    for option, size in (KEEPING if keep else GIVING_BACK).items():
        if not libc.mallopt(option, size):
            raise ResourceError(f"the C library refuses mallopt({option}, {size}); set MALLOC_MMAP_THRESHOLD_")
    if not keep:
        libc.malloc_trim(0)


def _cgroup_bytes() -> int | None:
    """The control group's limit; None where there is none."""
    if not (CGROUP_LIMIT.is_file() and CGROUP_USED.is_file()):
        return None
    limit = CGROUP_LIMIT.read_text().strip()
    return None if limit == "max" else int(limit)
