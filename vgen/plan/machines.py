"""How fast a machine is: a `Profile`, measured here once and kept, or one of `configs/machines/`, whose peaks are as
published and whose shares of them are assumed. A plan names the one that it used.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.nn.functional import conv3d, scaled_dot_product_attention

from vgen.errors import ConfigError, nearest
from vgen.files import replacing
from vgen.machine import cache_home, machine

__all__ = ["MEASURE", "Profile", "kept_profile", "measure", "memory_of", "pick_profile", "shipped"]

MEASURE = "measure"
TERA = 1e12
REPEATS = 3
WRITE_MPX_S = 20.0  # x264 on two cores, where it was not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a machine computes in a second.

    Args:
        name: for people.
        basis: where the figures come from: measured, or published peaks and which share of them is assumed.
        matmul, attention: FLOPs per second in the dtype of the transformer.
        convolution: FLOPs per second of the VAE's, in fp32.
        write_mpx_s: megapixels that are written per second.
        call_s: seconds that a layer takes however little it computes.
    """

    name: str
    basis: str
    matmul: float
    attention: float
    convolution: float
    write_mpx_s: float
    call_s: float = 0.0


@cache
def shipped() -> dict[str, dict[str, Any]]:
    """The files of `configs/machines/`, by name."""
    folder = files("vgen").joinpath("configs", "machines")
    return {
        one.name.removesuffix(".yaml"): yaml.safe_load(one.read_text(encoding="utf-8"))
        for one in folder.iterdir()
        if one.name.endswith(".yaml")
    }


def memory_of(name: str) -> float:
    """Memory of a shipped machine's device, in MiB, all of it free.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in shipped():
        raise ConfigError(f"unknown machine '{name}'; {nearest(name, [MEASURE, *shipped()])}")
    return float(shipped()[name]["memory_mib"])


def pick_profile(asked: str | None, device: torch.device, dtype: torch.dtype) -> Profile | None:
    """The profile that was asked for; else the one measured here, else a shipped one of the device; None where none is.

    Raises:
        ConfigError: there is none of that name, or not for that dtype.
    """
    if asked == MEASURE:
        return measure(device, dtype)
    if asked is not None:
        memory_of(asked)  # refuses an unknown one
        return _shipped(asked, dtype)
    kept = kept_profile(device, dtype)
    if kept is not None:
        return kept
    name = str(machine(device)["device"])
    known = [other for other, row in shipped().items() if device.type == "cuda" and row["match"] in name]
    return _shipped(known[0], dtype) if known else None


def measure(device: torch.device, dtype: torch.dtype) -> Profile:
    """Measures this machine for a second or two, and keeps what was found."""
    side = 4096 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    q_BNLK = torch.randn(1, 8, side, 64, device=device, dtype=dtype)
    x_BCTHW = torch.randn(1, 64, 6, side // 16, side // 16, device=device)
    weight = torch.randn(64, 64, 3, 3, 3, device=device)
    one = torch.randn(1, 16, device=device, dtype=dtype)
    conv_flops = 2 * 64 * 64 * 27 * 4 * (side // 16 - 2) ** 2
    profile = Profile(
        name=str(machine(device)["device"]),
        basis=f"measured on this machine in {str(dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads",
        matmul=2 * side**3 / _best_s(lambda: a @ b, device),
        attention=4 * 8 * side**2 * 64 / _best_s(lambda: scaled_dot_product_attention(q_BNLK, q_BNLK, q_BNLK), device),
        convolution=conv_flops / _best_s(lambda: conv3d(x_BCTHW, weight), device),
        write_mpx_s=WRITE_MPX_S,
        call_s=60 * _best_s(lambda: one + one, device),  # operations of a layer
    )
    path = _path(device, dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(asdict(profile), indent=2), encoding="utf-8")
    return profile


def kept_profile(device: torch.device, dtype: torch.dtype) -> Profile | None:
    """What was measured here before.

    Raises:
        ConfigError: the file is damaged.
    """
    path = _path(device, dtype)
    if not path.is_file():
        return None
    try:
        return Profile(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: no machine profile ({error}); remove it, or measure again: --machine measure"
        ) from error


def _shipped(name: str, dtype: torch.dtype) -> Profile:
    row, kind = shipped()[name], str(dtype).removeprefix("torch.")
    peak, share = row["peak_tflops"], row["assumed_share"]
    told = ", ".join(f"{part} {value:.0%}" for part, value in share.items())
    return Profile(
        name=name,
        basis=f"published peak of {peak[kind]:g} TFLOP/s in {kind}; assumed to be reached: {told}",
        matmul=peak[kind] * TERA * share["matmul"],
        attention=peak[kind] * TERA * share["attention"],
        convolution=peak["float32"] * TERA * share["convolution"],
        write_mpx_s=float(row["write_mpx_s"]),
    )


def _path(device: torch.device, dtype: torch.dtype) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", str(machine(device)["device"]).lower()).strip("-")
    kind = str(dtype).removeprefix("torch.")
    return cache_home() / "machines" / f"{name}-{kind}-{torch.get_num_threads()}.json"


def _best_s(compute: Callable[[], object], device: torch.device) -> float:
    """The least time of a few, after one that warms up."""
    times = []
    for _ in range(1 + REPEATS):
        since = time.perf_counter()
        compute()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - since)
    return max(min(times[1:]), 1e-9)
