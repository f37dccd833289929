"""What a stock pipeline has no place for, refused by name; what is not in these tables is served.

A pipeline of diffusers makes one whole clip of one prompt, by steps of its own.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from vgen.config import GenerateConfig, SamplerConfig, flat
from vgen.errors import ConfigError
from vgen.models.stock.model import StockModel

__all__ = ["refuse_foreign"]

# key -> what it is for, which the pipelines lack; refused where it is not its default
FOREIGN = {
    "request.guidance_scale_2": "a second transformer",
    "request.flow_shift": "a table of noise levels that vgen makes",
    "search.redo": "going back to an earlier piece of a clip",
    "search.prune": "guesses at clips under way",
    "output.preview": "guesses at clips under way",
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
    asked, usual = flat(config), flat(GenerateConfig())
    if config.sampler.name != "full":
        raise ConfigError(f"{how}, whose steps are its own: sampler '{config.sampler.name}' cannot run; possible: full")
    for item in fields(SamplerConfig):
        if getattr(config.sampler, item.name) != item.default:
            raise ConfigError(f"{how}, whose steps are its own: sampler.{item.name} has no place there; leave it out")
    for key, what in FOREIGN.items():
        if asked[key] != usual[key]:
            raise ConfigError(f"{how}, which lacks {what}: {key}={_short(asked[key])} has no place there; leave it out")
    if base is not None:
        raise ConfigError(f"{how}, which makes whole clips: --extend has no place there; leave it out")
    if draws is not None:
        raise ConfigError(f"{how}, which makes whole clips: the draws of a search have no place there")


def _short(value: Any) -> str:
    return f"{value!r:.40}"
