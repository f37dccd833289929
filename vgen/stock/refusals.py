"""What a stock pipeline has no place for, refused by name: every key that is not in SERVED.

A pipeline of diffusers makes one whole clip of one prompt, by steps of its own.
"""

from collections.abc import Sequence
from dataclasses import fields

from vgen.errors import ConfigError
from vgen.models.stock.model import StockModel
from vgen.schema import GenerateConfig, ParallelConfig, flat, knob_of
from vgen.sparsity import ATTENTION_KEYS

__all__ = ["refuse_foreign"]

# keys that are served, or looked at by name where they are resolved; knobs of attention patterns come on top
SERVED = frozenset(
    {
        *(f"request.{name}" for name in ("prompt", "negative_prompt", "story", "image", "last_image", "extend", "fit")),
        *(f"request.{name}" for name in ("seconds", "num_frames", "width", "height", "fps", "seed", "num_videos")),
        *(f"request.{name}" for name in ("num_inference_steps", "guidance_scale")),
        *(ATTENTION_KEYS - {"attention.sdpa"}),
        "model.id",
        "search.best_of",
        "search.rules",
        "run.device",
        "run.dtype",
        *(f"parallel.{item.name}" for item in fields(ParallelConfig)),
        "output.path",
        "output.sheet",
    }
)
# why some of the others are not
LACKS = {
    "request.guidance_scale_2": "has one transformer",
    "attention.sdpa": "leaves the kernel to torch",
    "performance.compile": "runs its blocks as they stand",
    "performance.cuda_graphs": "launches every step anew",
    "request.guidance_interval": "guides every step",
    "request.flow_shift": "makes its noise levels by the folder's scheduler",
    "search.redo": "makes its clip as a whole, with no earlier piece to go back to",
    "search.prune": "shows no guess at a clip under way",
    "output.preview": "shows no guess at a clip under way",
}


def refuse_foreign(
    config: GenerateConfig, model: StockModel, *, base: object | None, draws: Sequence[int] | None
) -> None:
    """Refuses a request that no stock pipeline can serve.

    Args:
        config: as merged.
        model: of the request.
        base: a clip to go on from, however it is named.
        draws: of a recorded search.

    Raises:
        ConfigError: names the first such key, and what is possible.
    """
    how = f"model '{model.id}' runs through diffusers' {model.pipeline}"
    if config.sampler.name != "full":
        raise ConfigError(f"{how}, whose steps are its own: sampler '{config.sampler.name}' cannot run; possible: full")
    usual = flat(GenerateConfig())
    for key, value in flat(config).items():
        if key in SERVED or knob_of(key) is not None or value == usual[key]:
            continue
        why = "takes its steps by itself" if key.startswith("sampler.") else LACKS.get(key, "knows nothing of it")
        raise ConfigError(f"{how}, which {why}: {key}={value!r:.40} has no place there; leave it out")
    if base is not None:
        raise ConfigError(f"{how}, which makes whole clips: --extend has no place there; leave it out")
    if draws is not None:
        raise ConfigError(f"{how}, which makes whole clips: the draws of a search have no place there")
