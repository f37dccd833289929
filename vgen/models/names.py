"""Names of the tensors of a video transformer: those of Wan's own code, as diffusers' `WanTransformer3DModel` has them.

Two rows surprise: Wan's `norm3` stands before cross-attention and is diffusers' `norm2` (the other two norms have no
weights), and its `modulation` is diffusers' `scale_shift_table`, in a block as in the head. The facts are those of
diffusers' loaders/single_file_utils.py and scripts/convert_wan_to_diffusers.py.
"""

import re

__all__ = ["diffusers_module", "diffusers_name"]

BLOCK = re.compile(r"(blocks\.\d+\.)(.+)")
FLAT_BLOCK = re.compile(r"blocks_(\d+)_(.+)")

# modules, or tensors that stand alone
OUTSIDE_BLOCKS = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.emb_pos": "condition_embedder.image_embedder.pos_embed",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
}
IN_ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0", "norm_q": "norm_q", "norm_k": "norm_k"}
IN_CROSS_ATTENTION = IN_ATTENTION | {"k_img": "add_k_proj", "v_img": "add_v_proj", "norm_k_img": "norm_added_k"}
IN_BLOCK = {
    **{f"self_attn.{theirs}": f"attn1.{ours}" for theirs, ours in IN_ATTENTION.items()},
    **{f"cross_attn.{theirs}": f"attn2.{ours}" for theirs, ours in IN_CROSS_ATTENTION.items()},
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "modulation": "scale_shift_table",
}


def diffusers_name(name: str) -> str | None:
    """The name in diffusers of a tensor of Wan's own code; None where Wan has no such tensor."""
    block = BLOCK.fullmatch(name)
    start, rest = block.groups() if block else ("", name)
    table = IN_BLOCK if block else OUTSIDE_BLOCKS
    module, dot, kind = rest.rpartition(".")
    if kind in ("weight", "bias") and module in table:
        return f"{start}{table[module]}{dot}{kind}"
    return start + table[rest] if rest in table else None


def diffusers_module(name: str) -> str | None:
    """The name in diffusers of a module of Wan's own code; None where Wan has no such module.

    Args:
        name: with dots, or with underscores in their place, as musubi-tuner writes it.
    """
    named = diffusers_name(f"{name}.weight")
    if named is not None:
        return named.removesuffix(".weight")
    flat = FLAT_BLOCK.fullmatch(name)
    start, rest = (f"blocks.{flat[1]}.", flat[2]) if flat else ("", name)
    table = {theirs.replace(".", "_"): ours for theirs, ours in (IN_BLOCK if flat else OUTSIDE_BLOCKS).items()}
    return start + table[rest] if rest in table else None
