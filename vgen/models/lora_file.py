"""A LoRA file, looked at without reading weights: which layers it changes, and whether it fits a model.

Three ways of naming are read: diffusers' and PEFT's (`transformer.blocks.0.attn1.to_q.lora_A.weight`), that of Wan's
own code (`diffusion_model.blocks.0.self_attn.q.lora_down.weight`), and musubi-tuner's
(`lora_unet_blocks_0_self_attn_q.lora_down.weight`). Every key has to find its layer: what matches nothing is refused
and listed, where other engines leave it out. LoRA: Hu et al. 2021, arXiv:2106.09685: W + scale * alpha / rank * B A.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vgen.errors import ModelError
from vgen.models.digests import file_digest
from vgen.models.files import Shape, read_json, tensor_shapes
from vgen.models.hub import cache_folder, parse
from vgen.models.lora_request import LoraRequest
from vgen.models.names import diffusers_module

__all__ = ["COMPUTED", "LoraFile", "find_lora", "lora_targets", "open_lora", "open_loras"]

WEIGHTS = "pytorch_lora_weights.safetensors"
PEFT_WEIGHTS, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
METADATA = "lora_adapter_metadata"  # of diffusers: PEFT's config, in the header
PREFIXES = ("transformer.", "model.diffusion_model.", "diffusion_model.", "base_model.model.", "lora_unet_")
PEFT_PREFIX = "base_model.model."
KINDS = {
    r"\.lora_(?:A|down)(?:\.default)?\.weight": "down",
    r"\.lora_(?:B|up)(?:\.default)?\.weight": "up",
    r"\.lora_B(?:\.default)?\.bias": "bias",
    r"\.diff_b": "bias",
    r"\.diff": "full",
    r"\.alpha": "alpha",
}
OTHER_KINDS = {"dora_scale": "DoRA", "lora_magnitude_vector": "DoRA", "lokr_": "LoKr", "hada_": "LoHa"}
MAX_RANK = 1024
MAX_BYTES = 32 << 30
SHOWN = 4
COMPUTED = (torch.float32, torch.bfloat16, torch.float16)
HONOURED = ("lora_alpha", "alpha_pattern", "use_rslora")  # of PEFT's config; ranks are the tensors' own
PATTERN = re.compile(r"\^?[\w.\\-]{1,200}\$?")  # names alone: a stranger's expression could run for hours
CHANGES = ("use_dora", "use_qalora", "use_bdlora", "layer_replication", "modules_to_save", "target_parameters")


@dataclass(slots=True)
class _Row:
    """Keys of the file that change one layer, and the rank."""

    keys: dict[str, str] = field(default_factory=dict)
    rank: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFile:
    """A file that fits a model.

    Args:
        request: what asked for it.
        file: where it lies.
        sha256: of the file.
        rows: by layer.
        full: keys of full differences of layers that take no LoRA, which must be zero.
        settings: PEFT's config, where the file or its folder holds one.
    """

    request: LoraRequest
    file: Path
    sha256: str
    rows: dict[str, _Row]
    full: tuple[str, ...]
    settings: dict[str, Any]

    def state(self, layers: dict[str, nn.Module], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """What PEFT loads, by layer: alpha / rank within, in the dtype of the layer's weights.

        Args:
            layers: as `lora_targets` returns them.
            device: where it goes.
            dtype: for layers whose weights are kept in another than they are computed in.

        Raises:
            ModelError: the file is damaged, holds a number that is not finite, or changes a layer that takes no LoRA.
        """
        held = self._read()
        for key in self.full:
            if held[key].any():
                raise ModelError(f"{self.file}: {key} changes a layer that takes no LoRA; this file cannot be applied")
        state: dict[str, Tensor] = {}
        for name, row in self.rows.items():
            own = cast(Tensor, layers[name].weight).dtype
            kept = own if own in COMPUTED else dtype
            tensors = _tensors(row, held, layers[name], self._scale(name, row, held))
            if not self.biased:
                del tensors["lora_B.bias"]
            state |= {f"{name}.{kind}": tensor.to(device, kept).contiguous() for kind, tensor in tensors.items()}
        return state

    def config(self) -> dict[str, Any]:
        """Arguments of PEFT's `LoraConfig`: the rank of each layer, by its whole name, and an alpha of the same."""
        ranks = {f"^{re.escape(name)}": row.rank for name, row in self.rows.items()}
        return {
            "target_modules": list(self.rows),
            "rank_pattern": ranks,
            "alpha_pattern": ranks,
            "lora_bias": self.biased,
            "inference_mode": True,
        }

    @property
    def biased(self) -> bool:
        """Whether any layer's bias is changed."""
        return any("bias" in row.keys for row in self.rows.values())

    def _scale(self, name: str, row: _Row, held: dict[str, Tensor]) -> float:
        """alpha / rank of a layer; 1 where nothing says an alpha."""
        if "alpha" in row.keys:
            return held[row.keys["alpha"]].item() / row.rank
        alpha = _pattern_value(name, self.settings.get("alpha_pattern", {}), self.settings.get("lora_alpha"))
        if alpha is None or "down" not in row.keys:
            return 1.0
        return alpha / (math.sqrt(row.rank) if self.settings.get("use_rslora") else row.rank)

    def _read(self) -> dict[str, Tensor]:
        try:
            with safe_open(self.file, framework="pt") as opened:
                held: dict[str, Tensor] = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{self.file}: damaged, no safetensors file: {error}") from error
        broken = [key for key, tensor in held.items() if not tensor.isfinite().all()]
        if broken:
            raise ModelError(f"{self.file}: {broken[0]} holds a number that is not finite")
        return held


def lora_targets(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that a LoRA may change, by name; what other LoRA have put around them is looked through."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        inner = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
        if isinstance(inner, nn.Linear | nn.Conv3d) and ".lora_" not in name and not name.endswith(".base_layer"):
            found[name] = inner
    return found


def find_lora(request: LoraRequest) -> Path:
    """The file that a request means. Asks nobody.

    Raises:
        ModelError: there is none, several, or one that is no safetensors.
    """
    path = Path(request.path)
    if not path.exists():
        path = _in_cache(request)
    if path.is_dir():
        return _in_folder(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"LoRA {path}: only safetensors files are read, got '{path.name}'; other kinds can run code")
    if not path.is_file():
        raise ModelError(f"LoRA {path}: no file")
    return path


def open_lora(request: LoraRequest, model: nn.Module, what: str) -> LoraFile:
    """Holds the header of a LoRA file to the layers of a model.

    Args:
        request: the file.
        model: the transformer, which may be on the meta device.
        what: the model's name, for messages.

    Raises:
        ModelError: no such file, damaged, or it does not fit; keys that match nothing are listed.
    """
    file = find_lora(request)
    if file.stat().st_size > MAX_BYTES:
        raise ModelError(f"{file}: {file.stat().st_size} bytes are no LoRA; at most {MAX_BYTES}")
    shapes = tensor_shapes([file])
    if not shapes:
        raise ModelError(f"{file}: holds no tensor")
    rows, full = _rows(file, shapes, model, what)
    layers = lora_targets(model)
    for name, row in rows.items():
        _check_row(file, name, row, shapes, layers[name])
    settings = _settings(file, any(key.startswith(PEFT_PREFIX) for key in shapes))
    return LoraFile(request=request, file=file, sha256=file_digest(file), rows=rows, full=full, settings=settings)


def open_loras(requests: Sequence[LoraRequest], experts: Sequence[nn.Module], what: str) -> list[LoraFile]:
    """`open_lora` for each request, with the transformer that it means.

    Raises:
        ModelError: as `open_lora`, or the model has no second transformer.
    """
    for request in requests:
        if request.transformer > len(experts):
            raise ModelError(f"LoRA {request.path} is for a second transformer, and model '{what}' has one")
    return [open_lora(request, experts[request.transformer - 1], what) for request in requests]


def _in_cache(request: LoraRequest) -> Path:
    """The snapshot of a hub repository in the cache."""
    asked = None if request.path.endswith(".safetensors") else parse(request.path)
    if asked is None or asked.variant is not None:
        raise ModelError(f"LoRA {request.path}: no such file or folder, and no hub id ORG/NAME[@REVISION]")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                asked.repo,
                revision=asked.revision,
                cache_dir=cache_folder(),
                local_files_only=True,
                allow_patterns=["*.safetensors"],
            )
        )
    except IncompleteSnapshotError as error:
        return Path(error.snapshot_path)
    except (LocalEntryNotFoundError, IsADirectoryError):
        fetch = f"hf download {asked.repo}" + ("" if asked.revision is None else f" --revision {asked.revision}")
        raise ModelError(
            f"LoRA {request.path}: neither a file nor in the hub's cache {cache_folder()}; fetch it with: {fetch}"
        ) from None


def _in_folder(folder: Path) -> Path:
    for name in (WEIGHTS, PEFT_WEIGHTS):
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    some = ", ".join(path.name for path in found[:SHOWN]) or "none"
    raise ModelError(f"LoRA {folder}: a folder with one safetensors file is needed, found {some}; name the file itself")


def _split(key: str) -> tuple[str, str] | None:
    """Name of the layer, without a prefix of its format, and the kind of tensor."""
    for ending, kind in KINDS.items():
        match = re.fullmatch(f"(.+?){ending}", key)
        if match is not None:
            prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), "")
            return match[1].removeprefix(prefix), kind
    return None


def _rows(file: Path, shapes: dict[str, Shape], model: nn.Module, what: str) -> tuple[dict[str, _Row], tuple[str, ...]]:
    layers, modules = lora_targets(model), {name for name, _ in model.named_modules()}
    rows: dict[str, _Row] = {}
    lost, full = [], []
    for key in shapes:
        for word, method in OTHER_KINDS.items():
            if word in key:
                raise ModelError(f"{file}: {key} is of {method}, which is not supported; possible: LoRA")
        name, kind = _split(key) or ("", "")
        name = name if name in modules else diffusers_module(name) or ""
        if name in layers and kind:
            keys = rows.setdefault(name, _Row()).keys
            if kind in keys:
                raise ModelError(f"{file}: {keys[kind]} and {key} both say the same of one layer")
            keys[kind] = key
        elif name in modules and kind in ("full", "bias"):
            full.append(key)
        else:
            lost.append(key)
    if lost:
        some = ", ".join(f"{key:.120}" for key in lost[:SHOWN]) + (", ..." if len(lost) > SHOWN else "")
        raise ModelError(
            f"{file}: {len(lost)} of {len(shapes)} keys match nothing in the transformer of '{what}': {some}; "
            "is it a LoRA of another model?"
        )
    return rows, tuple(full)


def _check_row(file: Path, name: str, row: _Row, shapes: dict[str, Shape], layer: nn.Module) -> None:
    """Whether what changes a layer is whole and fits it; notes the rank."""
    keys = row.keys
    if ("down" in keys) != ("up" in keys):
        there = keys.get("down") or keys["up"]
        raise ModelError(f"{file}: {there} stands alone; a LoRA of a layer is two tensors, down (A) and up (B)")
    if "down" in keys and "full" in keys:
        raise ModelError(f"{file}: {keys['full']} is a full difference of a layer that has a LoRA too; give one")
    if "down" not in keys and {"alpha"} & {*keys}:
        raise ModelError(f"{file}: {keys['alpha']} stands alone; there is no LoRA of that layer")
    inputs, out, kernel = _sizes(layer)
    wanted: dict[str, Shape] = {"bias": (out,), "full": (out, inputs, *kernel)}
    if "down" in keys:
        row.rank = shapes[keys["down"]][0] if shapes[keys["down"]] else 0
        wanted |= {"down": (row.rank, inputs, *kernel), "up": (out, row.rank, *(1 for _ in kernel))}
    elif "full" in keys:
        row.rank = out
    if not 1 <= row.rank <= MAX_RANK:
        raise ModelError(f"{file}: {name} is of rank {row.rank}; possible: 1 to {MAX_RANK}")
    for kind, key in keys.items():
        if kind == "alpha" and math.prod(shapes[key]) != 1:
            raise ModelError(f"{file}: {key} is of shape {list(shapes[key])}; an alpha is one number")
        if kind in wanted and shapes[key] != wanted[kind]:
            raise ModelError(
                f"{file}: {key} is of shape {list(shapes[key])}, "
                f"layer {name} of the model asks for {list(wanted[kind])}"
            )
    if "bias" in keys and getattr(layer, "bias", None) is None:
        raise ModelError(f"{file}: {keys['bias']} changes a bias that layer {name} of the model has not")


def _sizes(layer: nn.Module) -> tuple[int, int, Shape]:
    """Inputs, outputs, and the kernel, which is empty for a linear layer."""
    if isinstance(layer, nn.Conv3d):
        return layer.in_channels, layer.out_channels, tuple(layer.kernel_size)
    assert isinstance(layer, nn.Linear), f"no target: {type(layer).__name__}"
    return layer.in_features, layer.out_features, ()


def _tensors(row: _Row, held: dict[str, Tensor], layer: nn.Module, scale: float) -> dict[str, Tensor]:
    """Down, up and bias; a full difference is a LoRA whose up is the identity, a bias alone one that is zero."""
    keys = row.keys
    inputs, out, kernel = _sizes(layer)
    ones = [1 for _ in kernel]
    bias = held[keys["bias"]].float() if "bias" in keys else torch.zeros(out)
    if "down" in keys:
        down, up = held[keys["down"]], held[keys["up"]].float() * scale
        bias = bias if keys.get("bias", ".diff_b").endswith(".diff_b") else bias * scale  # PEFT's is scaled too
    elif "full" in keys:
        down, up = held[keys["full"]], torch.eye(out).reshape(out, out, *ones)
    else:
        down, up = torch.zeros(1, inputs, *kernel), torch.zeros(out, 1, *ones)
    return {"lora_A.weight": down, "lora_B.weight": up, "lora_B.bias": bias}


def _pattern_value(name: str, by_pattern: dict[str, float], usual: float | None) -> float | None:
    """The value of the first pattern that is the end of a layer's name."""
    for pattern, value in by_pattern.items():
        end = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if name == end or (not pattern.startswith("^") and name.endswith(f".{end}")):
            return value
    return usual


def _settings(file: Path, peft: bool) -> dict[str, Any]:
    """PEFT's config of the file: in its header, as diffusers writes it, or beside it, as PEFT does."""
    if peft:
        if not (file.parent / PEFT_CONFIG).is_file():
            raise ModelError(f"{file}: is of PEFT, whose {PEFT_CONFIG} says the alpha; put that beside it")
        found = read_json(file.parent / PEFT_CONFIG)
    else:
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(METADATA)
        try:
            found = {} if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{file}: its header's {METADATA} is not JSON") from error
        if not isinstance(found, dict):
            raise ModelError(f"{file}: its header's {METADATA} is no mapping")
        found = {key.removeprefix("transformer."): value for key, value in found.items()}
    return _checked_settings(file, found)


def _checked_settings(file: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Of PEFT's config what changes the result; whatever else does is refused."""
    asked = [key for key in CHANGES if found.get(key)]
    if asked:
        raise ModelError(f"{file}: its config sets {asked[0]}, which is not supported; possible: plain LoRA")
    settings = {key: found[key] for key in HONOURED if found.get(key) is not None}
    alphas = settings.get("alpha_pattern", {})
    if not isinstance(alphas, dict) or not all(PATTERN.fullmatch(pattern) for pattern in alphas):
        raise ModelError(f"{file}: its config's alpha_pattern is no mapping of layer names to numbers")
    for value in (settings.get("lora_alpha", 1), *alphas.values()):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelError(f"{file}: its config's alpha is a number, got {value!r:.40}")
    return settings
