"""Checkpoints as their authors publish them, made from a tiny stock transformer by a table of their own."""

from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

# diffusers' name (of a module, or of a tensor by itself) and Wan's, as `nn.Module`s of its own code nest
MODULES = """
patch_embedding                                     patch_embedding
condition_embedder.text_embedder.linear_1           text_embedding.0
condition_embedder.text_embedder.linear_2           text_embedding.2
condition_embedder.time_embedder.linear_1           time_embedding.0
condition_embedder.time_embedder.linear_2           time_embedding.2
condition_embedder.time_proj                        time_projection.1
condition_embedder.image_embedder.pos_embed         img_emb.emb_pos
condition_embedder.image_embedder.norm1             img_emb.proj.0
condition_embedder.image_embedder.ff.net.0.proj     img_emb.proj.1
condition_embedder.image_embedder.ff.net.2          img_emb.proj.3
condition_embedder.image_embedder.norm2             img_emb.proj.4
blocks.#.scale_shift_table                          blocks.#.modulation
blocks.#.attn1.to_q                                 blocks.#.self_attn.q
blocks.#.attn1.to_k                                 blocks.#.self_attn.k
blocks.#.attn1.to_v                                 blocks.#.self_attn.v
blocks.#.attn1.to_out.0                             blocks.#.self_attn.o
blocks.#.attn1.norm_q                               blocks.#.self_attn.norm_q
blocks.#.attn1.norm_k                               blocks.#.self_attn.norm_k
blocks.#.norm2                                      blocks.#.norm3
blocks.#.attn2.to_q                                 blocks.#.cross_attn.q
blocks.#.attn2.to_k                                 blocks.#.cross_attn.k
blocks.#.attn2.to_v                                 blocks.#.cross_attn.v
blocks.#.attn2.to_out.0                             blocks.#.cross_attn.o
blocks.#.attn2.norm_q                               blocks.#.cross_attn.norm_q
blocks.#.attn2.norm_k                               blocks.#.cross_attn.norm_k
blocks.#.attn2.add_k_proj                           blocks.#.cross_attn.k_img
blocks.#.attn2.add_v_proj                           blocks.#.cross_attn.v_img
blocks.#.attn2.norm_added_k                         blocks.#.cross_attn.norm_k_img
blocks.#.ffn.net.0.proj                             blocks.#.ffn.0
blocks.#.ffn.net.2                                  blocks.#.ffn.2
scale_shift_table                                   head.modulation
proj_out                                            head.head
"""


def originals(stock: WanTransformer3DModel) -> dict[str, Tensor]:
    """The tensors of a stock model under Wan's names; fails on one that the table does not have."""
    left = dict(stock.state_dict())
    found = {}
    for line in MODULES.strip().splitlines():
        ours, theirs = line.split()
        for layer in range(stock.config.num_layers) if "#" in ours else (0,):
            for kind in ("", ".weight", ".bias"):
                name = ours.replace("#", str(layer)) + kind
                if name in left:
                    found[theirs.replace("#", str(layer)) + kind] = left.pop(name)
    assert not left, f"the table lacks {sorted(left)}"
    return found


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def save_pickled(content: Any, path: Path, *, old: bool = False) -> Path:
    """Writes as training does, in torch's own format; `old` is that before torch 1.6."""
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path
