"""From a merged config and a loaded stock model to a `StockJob`: every number decided, checked and explained."""

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vgen.config import require_prompt
from vgen.errors import ConfigError, InputError
from vgen.images import fit_image
from vgen.job import SEED_BITS, asked_frames, size_of
from vgen.layouts import check_images
from vgen.models.stock.family import Shape, Shot
from vgen.models.stock.model import StockModel
from vgen.schema import GenerateConfig
from vgen.sparsity import AttentionSettings, resolve_attention
from vgen.story import story_of

__all__ = ["StockJob", "layers_of", "resolve_stock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StockJob(Shot):
    """One clip to make by a pipeline of diffusers.

    Args:
        fit: how the image was fitted; None where there is none.
        asked_frames: before rounding up.
        latent_shape: channels, frames, rows and columns of the noise, padding included.
        frames: latent frames that are decoded.
        levels: noise level of each step, as an attention is told it.
        branched: whether steps run a second branch.
        guided: whether its guidance scale has an effect.
        attention: of the model's self-attention.
        notes: what the user should know, one line each.
    """

    fit: str | None
    asked_frames: int
    latent_shape: Shape
    frames: int
    levels: tuple[float, ...]
    branched: bool
    guided: bool
    attention: AttentionSettings
    notes: tuple[str, ...]
    sampler: str = "full"
    in_chunks: bool = False
    last_image_YX3: None = None
    guidance_scale_2: None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """The one prompt."""
        return (self.prompt,)

    @property
    def num_steps(self) -> int:
        """Noise levels."""
        return self.num_inference_steps

    def resolved(self) -> dict[str, Any]:
        """Dotted config keys that ask for exactly this job whatever the defaults become; out of RESOLVED_KEYS."""
        names = (
            "prompt", "negative_prompt", "seed", "width", "height", "num_frames", "fps", "num_inference_steps",
            "guidance_scale",
        )  # fmt: skip
        resolved = {f"request.{name}": getattr(self, name) for name in names} | {"sampler.name": self.sampler}
        fit = {} if self.fit is None else {"request.fit": self.fit}
        return resolved | fit | self.attention.resolved()

    def seen(self) -> list[dict[str, Any]]:
        """Which frames saw which prompt, for the record."""
        return [{"prompt": self.prompt, "latent_frames": [0, self.frames - 1], "frames": [0, self.num_frames - 1]}]


def resolve_stock(
    config: GenerateConfig,
    said: list[str],
    model: StockModel,
    image_YX3: NDArray[np.uint8] | None = None,
    last_image_YX3: NDArray[np.uint8] | None = None,
) -> StockJob:
    """Decides everything that the config leaves open, by the model card.

    Args:
        config, said: the merged config, and the keys that somebody set; nothing of `refusals.py` among them.
        model: what will run it.
        image_YX3, last_image_YX3: as loaded, any size.

    Raises:
        InputError, ConfigError, ModelError: what was asked cannot be done with this model.
    """
    request, card, grid, family = config.request, model.card, model.grid, model.family
    prompts, _ = story_of(config)
    if len(prompts) > 1:
        raise ConfigError(
            f"model '{model.id}' runs through diffusers' {model.pipeline}, which reads one prompt; "
            f"{len(prompts)} were given"
        )
    require_prompt(prompts[0])
    if image_YX3 is None and "request.fit" in said:
        raise ConfigError("fit says how an image is fitted, and there is none")
    check_images(model, image_YX3, last_image_YX3, None)
    height, width = size_of(config, model, image_YX3)
    fps = request.fps or card.fps
    asked = asked_frames(config, card.num_frames, fps)
    made = 1 + -(-(asked - 1) // grid.frames) * grid.frames
    rounded = [f"{asked} frames asked, {made} made: lengths are 1 + {grid.frames} n"] if made != asked else []
    shot = Shot(
        prompt=prompts[0],
        negative_prompt=request.negative_prompt,
        image_YX3=None if image_YX3 is None else fit_image(image_YX3, height=height, width=width, fit=request.fit),
        height=height,
        width=width,
        num_frames=made,
        fps=fps,
        num_inference_steps=request.num_inference_steps or card.num_inference_steps,
        guidance_scale=card.guidance_scale if request.guidance_scale is None else request.guidance_scale,
        text_length=card.text_length,
        seed=secrets.randbits(SEED_BITS) if request.seed is None else request.seed,
    )
    notes = rounded + _read(model, shot)
    levels, branched = _levels(model, shot), family.branched(model.pipe, shot)
    attention, more = resolve_attention(config.attention, levels, layers_of(model))
    return StockJob(
        **{name: getattr(shot, name) for name in Shot.__slots__},
        fit=None if shot.image_YX3 is None else request.fit,
        asked_frames=asked,
        latent_shape=grid.latents(shot),
        frames=1 + (made - 1) // grid.temporal,
        levels=tuple(levels),
        branched=branched,
        guided=branched if family.guided is None else family.guided(model.pipe, shot),
        attention=attention,
        notes=(*notes, *more),
    )


def layers_of(model: StockModel) -> int:
    """Self-attention layers of the transformer."""
    from vgen.models.families import FAMILIES

    return len(FAMILIES[type(model.dit).__name__].layers(model.dit))


def _read(model: StockModel, shot: Shot) -> list[str]:
    """Notes on how the texts are read; refuses one that would not be read whole, or not at all."""
    family, pipe = model.family, model.pipe
    family.check_shot(pipe, shot)
    if shot.negative_prompt and not family.branched(pipe, shot):
        raise ConfigError(
            f"a negative prompt works through guidance; guidance_scale={shot.guidance_scale:g} is not above 1"
        )
    for which, text in (("prompt", shot.prompt), ("negative prompt", shot.negative_prompt)):
        tokens = family.read(pipe, text) if text else 0
        if tokens > shot.text_length:
            raise InputError(
                f"the {which} is {tokens} tokens long, model '{model.id}' reads {shot.text_length}; shorten it"
            )
    return family.notes(pipe, shot)


def _levels(model: StockModel, shot: Shot) -> list[float]:
    family = model.family
    if shot.num_inference_steps < family.min_steps:
        raise InputError(
            f"num_inference_steps={shot.num_inference_steps}: the noise levels of {model.pipeline} need at least "
            f"{family.min_steps}"
        )
    scheduler = type(model.scheduler).from_config(model.scheduler.config)
    with torch.no_grad():
        return family.levels(scheduler, shot, model.grid.tokens(shot), model.dit.dtype)
