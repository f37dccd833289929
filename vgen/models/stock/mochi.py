"""Mochi (Genmo 2024, https://github.com/genmoai/mochi): its timesteps rise from noise, its text is in the sequence."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLMochi, MochiPipeline, MochiTransformer3DModel
from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule
from torch import Tensor

from vgen.errors import ModelError
from vgen.models.stock.family import Configs, Family, Grid, Shape, Shot, agree
from vgen.models.stock.t5 import BUILDERS, FLOW, TEXT_PARTS, encode
from vgen.schema import Range

__all__ = ["MOCHI"]

THRESHOLD = 0.025  # of the schedule, as the pipeline has it
SPATIAL_PX, TEMPORAL = 8, 6  # of the VAE, which says them nowhere
CHANNELS = 12  # the pipeline's own, in its decoding


def _check(pipeline: str, configs: Configs, folder: Path) -> None:
    dit, vae = configs["transformer"], configs["vae"]
    agree(
        folder,
        {
            "the transformer's text_embed_dim": (dit["text_embed_dim"], configs["text_encoder"]["d_model"]),
            "the transformer's in_channels": (dit["in_channels"], CHANNELS),
            "the transformer's out_channels": (dit["out_channels"] or dit["in_channels"], CHANNELS),
            "the VAE's latent_channels": (vae["latent_channels"], CHANNELS),
            "the VAE's temporal_expansions": (list(vae["temporal_expansions"]), [1, 2, 3]),
            "the VAE's spatial_expansions": (list(vae["spatial_expansions"]), [2, 2, 2]),
        },
    )
    for key in ("latents_mean", "latents_std"):
        if vae[key] is not None and len(vae[key]) != CHANNELS:
            raise ModelError(f"{folder / 'vae'}: {key} is a number for each of {CHANNELS} channels")


def _grid(configs: Configs) -> Grid:
    dit = configs["transformer"]
    patch = dit["patch_size"]
    return Grid(
        px=SPATIAL_PX * patch,
        frames=TEMPORAL,
        spatial_px=SPATIAL_PX,
        temporal=TEMPORAL,
        channels=CHANNELS,
        patch=(1, patch, patch),
        width=dit["num_attention_heads"] * dit["attention_head_dim"],
    )


def _levels(scheduler: Any, shot: Shot, tokens: int, dtype: torch.dtype) -> list[float]:
    scheduler.set_timesteps(sigmas=linear_quadratic_schedule(shot.num_inference_steps, THRESHOLD))
    noise = 1 - scheduler.timesteps.to(dtype).float() / 1000  # the pipeline rounds them to its latents' dtype
    return [float(level) for level in noise]


def _arguments(pipe: Any, shot: Shot, noise_BCTHW: Tensor, generator: torch.Generator) -> dict[str, Any]:
    return {"latents": noise_BCTHW, "guidance_scale": shot.guidance_scale}


def _unpacked(pipe: Any, given: Tensor, shape: Shape) -> Tensor:
    return given


def _decode(pipe: Any, shot: Shot, latents_BCTHW: Tensor) -> Tensor:
    config, z = pipe.vae.config, latents_BCTHW.to(pipe.vae.device, pipe.vae.dtype)
    if config.latents_mean is None or config.latents_std is None:
        z = z / config.scaling_factor
    else:
        mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1).to(z) for v in (config.latents_mean, config.latents_std))
        z = z * std / config.scaling_factor + mean
    pixels_BCFYX: Tensor = pipe.vae.decode(z, return_dict=False)[0]
    return pixels_BCFYX


def _decoded_values(configs: Configs, shot: Shot) -> int:
    return shot.num_frames * shot.height * shot.width * int(configs["vae"]["decoder_block_out_channels"][0])


MOCHI = Family(
    pipelines={"MochiPipeline": "none"},
    assemble=lambda name, parts, flags: MochiPipeline(**parts, **flags),
    parts={
        **TEXT_PARTS,
        "vae": {"AutoencoderKLMochi": AutoencoderKLMochi},
        "transformer": {"MochiTransformer3DModel": MochiTransformer3DModel},
        "scheduler": FLOW,
    },
    builders=BUILDERS,
    scheduler={"shift": Range(0.01, 100), "invert_sigmas": (True,)},
    check=_check,
    grid=_grid,
    levels=_levels,
    encode=encode,
    arguments=_arguments,
    unpacked=_unpacked,
    decode=_decode,
    decoded_values=_decoded_values,
    flags=("force_zeros_for_empty_prompt",),
    min_steps=2,
)
