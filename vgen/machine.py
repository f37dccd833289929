"""What the run stands on: device, dtype, versions, peak memory; chosen by name and written to the record."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vgen import __version__
from vgen.errors import ConfigError, ResourceError

__all__ = ["cache_home", "machine", "peak_mib", "pick_device", "pick_dtype", "versions"]

RECORDED_PACKAGES = ("torch", "diffusers", "transformers", "numpy")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one.

    Raises:
        ConfigError: there is no such kind of device.
        ResourceError: this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device '{name}'; possible: auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise ConfigError(f"device '{name}' is not supported; possible: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(f"device '{name}' is not there: {torch.cuda.device_count()} CUDA devices; use --device cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a name; `auto` is float32 on a CPU, bfloat16 elsewhere.

    Raises:
        ConfigError: there is no such dtype.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise ConfigError(f"unknown dtype '{name}'; possible: auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def cache_home() -> Path:
    """The folder of what is kept between runs and can be made again, XDG_CACHE_HOME's or the home's."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vgen"


def versions() -> dict[str, str]:
    """Versions that a result can depend on."""
    ours = {"vgen": __version__, "python": platform.python_version()}
    return ours | {name: version(name) for name in RECORDED_PACKAGES}


def machine(device: torch.device) -> dict[str, Any]:
    """The parts of the machine that a result can depend on, bit for bit."""
    return {
        "system": platform.system(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def peak_mib(device: torch.device) -> float:
    """The most memory that the process has held: of the GPU where it runs on one, else resident."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / (1 << 20), 1)
    import resource  # not on Windows, where vgen has not been tried

    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 20), 1)


def _cpu() -> str:
    """The processor's name; Linux tells it here alone."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
