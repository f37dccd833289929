"""LoRA files with random weights, in each of the ways in which they are named."""

from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor, nn

WAN = {
    "attn1.to_q": "self_attn.q",
    "attn1.to_k": "self_attn.k",
    "attn1.to_v": "self_attn.v",
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_q": "cross_attn.q",
    "attn2.to_k": "cross_attn.k",
    "attn2.to_v": "cross_attn.v",
    "attn2.to_out.0": "cross_attn.o",
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}  # written out here, as an oracle for the table of the package
Pairs = dict[str, tuple[Tensor, Tensor]]


def random_pairs(transformer: WanTransformer3DModel, *, rank: int = 3, seed: int = 0, size: float = 0.3) -> Pairs:
    """Down and up of every linear layer of the blocks, by its name in diffusers."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            size * torch.randn(rank, layer.in_features, generator=generator),
            size * torch.randn(layer.out_features, rank, generator=generator),
        )
        for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) and name.startswith("blocks.")
    }


def write_pairs(path: Path, pairs: Pairs, *, kind: str, alpha: float | None = None) -> Path:
    """A file of the kind `diffusers`, `wan` or `musubi`."""
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in pairs.items():
        _, block, rest = name.split(".", 2)
        if kind == "diffusers":
            base, ends = f"transformer.{name}", ("lora_A", "lora_B")
        else:
            base, ends = f"diffusion_model.blocks.{block}.{WAN[rest]}", ("lora_down", "lora_up")
        if kind == "musubi":
            base = "lora_unet_" + base.removeprefix("diffusion_model.").replace(".", "_")
        tensors |= {f"{base}.{ends[0]}.weight": down, f"{base}.{ends[1]}.weight": up}
        if alpha is not None:
            tensors[f"{base}.alpha"] = torch.tensor(alpha)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    return path


def added(weights: dict[str, Tensor], pairs: Pairs, scale: float) -> dict[str, Tensor]:
    """W + scale B A, by hand, in double."""
    deltas = {f"{name}.weight": scale * (up.double() @ down.double()) for name, (down, up) in pairs.items()}
    return {
        name: (value.double() + deltas[name]).to(value.dtype) if name in deltas else value
        for name, value in weights.items()
    }
