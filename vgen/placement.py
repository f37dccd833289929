"""Where the parts of a model are kept while a run uses them: a `Placement`.

How the parts of this relate: a placement is a value and does nothing. `vgen.plan.plan_of(job, model, placement)` says
what a run takes under one. `vgen.performance` turns what a user asked for into rungs, placements from the fastest to
the most frugal, and picks the first whose plan fits. `vgen.models.residence` moves weights as the placement in force
says. `vgen.ladder` goes on down the same rungs when memory runs out all the same. A rung changes where weights are,
never what is computed; what does change pixels or weights, `vae_tiling` and `storage`, is the same on all rungs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ENCODERS", "OFFLOADS", "STORAGES", "TRANSFORMERS", "Placement", "shares_on_device", "weights_on_device"]

OFFLOADS = ("none", "model", "group")
STORAGES = ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16")
ENCODERS = ("text_encoder", "image_encoder")
TRANSFORMERS = ("transformer", "transformer_2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where weights are kept, and in which form.

    Args:
        offload: `none`; `model`, one component on the device at a time; `group`, the transformer streamed block by
            block, with the rest as in `model`. Weights rest in the host's memory; on a disk where the device is a CPU.
        storage: dtype in which the transformer's weights are kept between its layers' calls; None: as computed.
        vae_tiling: whether the VAE works on overlapping tiles, which are blended: pixels change.
        keep_text_encoder: False frees the text encoder, and an image encoder, once the prompts are encoded.
    """

    offload: str = "none"
    storage: str | None = None
    vae_tiling: bool = False
    keep_text_encoder: bool = True

    def __str__(self) -> str:
        words = {"none": "all on the device", "model": "model offload", "group": "group offload"}[self.offload]
        if self.storage is not None:
            words += f", weights stored in {self.storage}"
        words += ", VAE in tiles" if self.vae_tiling else ""
        return words + ("" if self.keep_text_encoder else ", text encoder freed after use")


def weights_on_device(parts: Mapping[str, float], placement: Placement, blocks: int) -> float:
    """The most weights that are on the device at any one time, in the unit of `parts`.

    Args:
        parts: weights by component, as `model_index.json` names them.
        placement: where they are kept.
        blocks: of a transformer; two of them are there while it is streamed, with what belongs to none.
    """
    sizes = dict(parts)
    if placement.offload == "group":
        sizes |= {part: min(sizes[part], 2 * sizes[part] / blocks) for part in TRANSFORMERS if part in sizes}
    if placement.offload != "none":
        return max(sizes.values())
    encoders = sum(sizes[part] for part in ENCODERS if part in sizes)
    rest = sum(sizes.values()) - encoders
    return encoders + rest if placement.keep_text_encoder else max(encoders, rest)


def shares_on_device(parts: Mapping[str, float], ranks: int, blocks: int) -> dict[str, float]:
    """The most of each component that a device holds where ranks share the transformers' weights.

    Args:
        parts: weights by component, as `weights_on_device` takes them.
        ranks: that share them.
        blocks: of a transformer; beside its shares a rank has the block that runs and the next one whole.
    """
    shared = {part: parts[part] / ranks + 2 * parts[part] / blocks for part in TRANSFORMERS if part in parts}
    return dict(parts) | {part: min(parts[part], share) for part, share in shared.items()}
