"""What a machine has left: memory of the device or of the control group, and of the host beside it."""

from pathlib import Path

import psutil
import torch

__all__ = ["MIB", "free_mib", "host_limit_mib"]

MIB = 1 << 20
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


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


def _cgroup_bytes() -> int | None:
    """The control group's limit; None where there is none."""
    if not (CGROUP_LIMIT.is_file() and CGROUP_USED.is_file()):
        return None
    limit = CGROUP_LIMIT.read_text().strip()
    return None if limit == "max" else int(limit)
