"""Weights of the transformer kept in fewer bits: torchao's schemes while a folder loads, and files in GGUF.

What a scheme does is the library's; here stand which there are, what they need, and what they weigh. Both libraries are
extras. GGUF files are read in `gguf_file.py`. A new scheme is a row of SCHEMES and a name in `vgen/schema.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vgen.errors import ConfigError, ResourceError
from vgen.placement import TRANSFORMERS

__all__ = ["GGUF", "SCHEMES", "Quantization", "Scheme", "quantized_bytes", "replaced_files", "stored_bytes"]

GGUF = "gguf"
INSTALL = "pip install 'vgen[quant]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A way in which torchao keeps the weights of linear layers; a byte each, and a scale for each row.

    Args:
        config: torchao's class.
        capability: of the CUDA device that its kernels need; any device where None.
    """

    config: str
    capability: tuple[int, int] | None = None


SCHEMES: dict[str, Scheme] = {
    "fp8dq": Scheme(config="Float8DynamicActivationFloat8WeightConfig", capability=(8, 9)),
    "fp8wo": Scheme(config="Float8WeightOnlyConfig"),
    "int8dq": Scheme(config="Int8DynamicActivationInt8WeightConfig"),
    "int8wo": Scheme(config="Int8WeightOnlyConfig"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How the transformers of a model are kept.

    Args:
        scheme: of SCHEMES, or `gguf`.
        files: in GGUF, one for each transformer, in place of the folder's weights.
    """

    scheme: str
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, scheme: str | None, files: Iterable[str | Path] | None) -> "Quantization | None":
        """What was asked for; None where nothing was.

        Raises:
            ConfigError: a scheme on top of files that are quantised already.
        """
        files = tuple(Path(file) for file in files or ())
        if files and scheme is not None:
            raise ConfigError(
                f"quantization {scheme} on top of GGUF files, which are quantised already; give one of them"
            )
        if files:
            return cls(scheme=GGUF, files=files)
        return None if scheme is None else cls(scheme=scheme)

    @property
    def package(self) -> str:
        """The library that does it."""
        return "gguf" if self.scheme == GGUF else "torchao"

    def versions(self) -> dict[str, str]:
        """Of the library, for the record."""
        return {self.package: version(self.package)}

    def check(self, device: torch.device, dtype: torch.dtype, transformers: int) -> None:
        """Refuses what cannot run here, before anything is loaded.

        Raises:
            ResourceError: the library is missing, or the device is not able.
            ConfigError: as many files as transformers are needed.
        """
        try:
            version(self.package)
        except PackageNotFoundError as error:
            raise ResourceError(
                f"quantization {self.scheme} needs {self.package}, which is not installed: {INSTALL}"
            ) from error
        if self.scheme == GGUF:
            if len(self.files) != transformers:
                raise ConfigError(
                    f"{len(self.files)} GGUF files for {transformers} transformers; give one for each, that for high "
                    "noise first"
                )
            return
        needed = SCHEMES[self.scheme].capability
        if needed is not None and not _able(device, needed):
            able = ", ".join(sorted(name for name, scheme in SCHEMES.items() if scheme.capability is None))
            raise ResourceError(
                f"quantization {self.scheme} needs a CUDA device of capability {needed[0]}.{needed[1]}, this is "
                f"{_named(device)}; possible: {able}"
            )

    def config(self) -> Any:
        """What diffusers' `from_pretrained` takes as `quantization_config`."""
        assert self.scheme != GGUF, "GGUF files are quantised already"
        import torchao.quantization
        from diffusers import TorchAoConfig

        return TorchAoConfig(getattr(torchao.quantization, SCHEMES[self.scheme].config)())

    def refuse_with(self, what: str, instead: str) -> None:
        """Refuses something else that changes the transformer's weights.

        Raises:
            ConfigError: always; names both.
        """
        raise ConfigError(f"{what} on weights that are quantised ({self.scheme}) is not supported; {instead}")


def _able(device: torch.device, needed: tuple[int, int]) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= needed


def _named(device: torch.device) -> str:
    if device.type != "cuda":
        return f"device {device}"
    return f"{torch.cuda.get_device_name(device)} of {'.'.join(map(str, torch.cuda.get_device_capability(device)))}"


def replaced_files(quantization: Quantization | None) -> dict[str, Path]:
    """Files in place of a component's weights, by component."""
    return {} if quantization is None else dict(zip(TRANSFORMERS, quantization.files, strict=False))


def quantized_bytes(skeleton: nn.Module, dtype: torch.dtype) -> int:
    """Memory of a transformer under any of SCHEMES: linear layers in bytes with a scale for each row, the rest as is.

    Args:
        skeleton: on the meta device.
        dtype: of what is not quantised, and of the scales.
    """
    kept: list[str] = getattr(skeleton, "_keep_in_fp32_modules", None) or []
    total = 0
    for name, module in skeleton.named_modules():
        fp32 = any(part in kept for part in name.split("."))
        for weight_name, weight in module.named_parameters(recurse=False):
            small = isinstance(module, nn.Linear) and weight_name == "weight" and not fp32
            size = torch.float32.itemsize if fp32 or weight_name in kept else dtype.itemsize
            total += weight.numel() + weight.shape[0] * size if small else weight.numel() * size
    return total


def stored_bytes(weight: Tensor) -> int:
    """Memory that a weight takes; of one that torchao keeps, of its parts, and of one that ranks share, of ours."""
    if isinstance(weight, DTensor):
        weight = weight.to_local()
    flatten = getattr(weight, "__tensor_flatten__", None)
    if flatten is None:
        return weight.numel() * weight.element_size()
    return sum(stored_bytes(getattr(weight, part)) for part in flatten()[0])
