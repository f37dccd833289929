"""Where the parts of a model are kept while a run uses them: a `Placement`.

A placement is a value and does nothing; `vgen.plan.plan_of(job, model, placement)` says what a run takes under it.
"""

from dataclasses import dataclass

__all__ = ["OFFLOADS", "STORAGES", "Placement"]

OFFLOADS = ("none", "model", "group")
STORAGES = ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where weights are kept, and in which form.

    Args:
        offload: `none`; `model`, one component on the device at a time; `group`, the transformer streamed block by
            block, with the rest as in `model`.
        storage: dtype in which the transformer's weights are kept between its layers' calls; None: as computed.
        vae_tiling: whether the VAE works on overlapping tiles, which are blended: pixels change slightly.
        keep_text_encoder: False frees the text encoder, and an image encoder, once the prompts are encoded.
    """

    offload: str = "none"
    storage: str | None = None
    vae_tiling: bool = False
    keep_text_encoder: bool = True
