"""LTX-Video (HaCohen et al. 2024, arXiv:2501.00103): latents as a row of tokens, a frame rate as an input.

Text and image run through two pipelines of the same components, so that either folder serves both; an image is the
first latent frame, clean from the start.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLLTXVideo, LTXImageToVideoPipeline, LTXPipeline, LTXVideoTransformer3DModel
from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift
from torch import Tensor

from vgen.errors import ModelError
from vgen.models.stock.family import Configs, Family, Grid, Shape, Shot, agree, first_frame
from vgen.models.stock.t5 import BUILDERS, FLOW, TEXT_PARTS, encode
from vgen.schema import Range

__all__ = ["DECODE_NOISE", "DECODE_TIMESTEP", "LTX"]

CLASSES = {"LTXPipeline": LTXPipeline, "LTXImageToVideoPipeline": LTXImageToVideoPipeline}
# of VAEs that take a timestep (0.9.1 and later), as diffusers' guide for them has it
DECODE_TIMESTEP, DECODE_NOISE = 0.05, 0.025


def _check(pipeline: str, configs: Configs, folder: Path) -> None:
    dit, vae = configs["transformer"], configs["vae"]
    width = dit["num_attention_heads"] * dit["attention_head_dim"]
    agree(
        folder,
        {
            "the transformer's caption_channels": (dit["caption_channels"], configs["text_encoder"]["d_model"]),
            "the transformer's cross_attention_dim": (dit["cross_attention_dim"], width),
            "the transformer's in_channels": (dit["in_channels"], vae["latent_channels"]),
            "the transformer's out_channels": (dit["out_channels"], vae["latent_channels"]),
        },
    )
    halvings = sum(vae["spatio_temporal_scaling"])
    plain = {*vae["down_block_types"]} == {"LTXVideoDownBlock3D"}  # later ones halve less and say by how much
    for key, made in (
        ("spatial_compression_ratio", vae["patch_size"] * 2**halvings),
        ("temporal_compression_ratio", vae["patch_size_t"] * 2**halvings),
    ):
        if vae[key] not in ((None, made) if plain else (vae[key] or -1,)):
            raise ModelError(f"{folder / 'vae'}: {key} is {vae[key]!r}, its levels make {made if plain else 'none'}")
    for key in ("patch_size", "patch_size_t"):
        if dit[key] != 1:
            raise ModelError(f"{folder / 'transformer'}: {key} is {dit[key]!r}; possible: 1")


def _grid(configs: Configs) -> Grid:
    dit, vae = configs["transformer"], configs["vae"]
    halvings = sum(vae["spatio_temporal_scaling"])
    spatial = vae["spatial_compression_ratio"] or vae["patch_size"] * 2**halvings
    temporal = vae["temporal_compression_ratio"] or vae["patch_size_t"] * 2**halvings
    return Grid(
        px=max(32, spatial),  # the pipeline asks for 32
        frames=temporal,
        spatial_px=spatial,
        temporal=temporal,
        channels=dit["in_channels"],
        patch=(1, 1, 1),
        width=dit["num_attention_heads"] * dit["attention_head_dim"],
    )


def _levels(scheduler: Any, shot: Shot, tokens: int, dtype: torch.dtype) -> list[float]:
    steps, config = shot.num_inference_steps, scheduler.config
    mu = calculate_shift(
        tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
    )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    return [float(level) for level in scheduler.timesteps.float() / 1000]


def _for_shot(pipe: Any, shot: Shot) -> Any:
    cls = LTXPipeline if shot.image_YX3 is None else LTXImageToVideoPipeline
    return pipe if isinstance(pipe, cls) else cls(**pipe.components)


def _arguments(pipe: Any, shot: Shot, noise_BCTHW: Tensor, generator: torch.Generator) -> dict[str, Any]:
    latents_BCTHW, device = noise_BCTHW, pipe.vae.device
    image = first_frame(shot)
    if image is not None:
        pixels_BCYX = pipe.video_processor.preprocess(image, height=shot.height, width=shot.width)
        seen = pipe.vae.encode(pixels_BCYX[:, :, None].to(device, pipe.vae.dtype)).latent_dist.sample(generator)
        clean = pipe._normalize_latents(seen.float(), pipe.vae.latents_mean, pipe.vae.latents_std)
        latents_BCTHW = torch.cat((clean, noise_BCTHW[:, :, 1:].to(clean)), dim=2)
    return {
        "latents": pipe._pack_latents(latents_BCTHW),
        "guidance_scale": shot.guidance_scale,
        "frame_rate": shot.fps,
    }


def _unpacked(pipe: Any, given: Tensor, shape: Shape) -> Tensor:
    latents_BCTHW: Tensor = pipe._unpack_latents(given, *shape[1:])
    return latents_BCTHW


def _decode(pipe: Any, shot: Shot, latents_BCTHW: Tensor) -> Tensor:
    vae = pipe.vae
    z = latents_BCTHW.to(vae.device, vae.dtype)
    z = pipe._denormalize_latents(z, vae.latents_mean, vae.latents_std, vae.config.scaling_factor)
    timestep = None
    if vae.config.timestep_conditioning:
        shape = z.shape[1:2] + z.shape[3:]
        noise = torch.stack([shot.noise.draw("decode", t, 0, tuple(shape)) for t in range(z.shape[2])], dim=1)[None]
        z = (1 - DECODE_NOISE) * z + DECODE_NOISE * noise.to(z)
        timestep = torch.tensor([DECODE_TIMESTEP], device=z.device, dtype=z.dtype)
    pixels_BCFYX: Tensor = vae.decode(z, timestep, return_dict=False)[0]
    return pixels_BCFYX


def _decoded_values(configs: Configs, shot: Shot) -> int:
    vae = configs["vae"]
    pixels = shot.num_frames * shot.height * shot.width // vae["patch_size"] ** 2
    return pixels * int(vae["decoder_block_out_channels"][0])


def _assemble(name: str, parts: Mapping[str, Any], flags: Mapping[str, bool]) -> Any:
    return CLASSES[name](**parts)


LTX = Family(
    pipelines={name: "first_latent" for name in CLASSES},
    assemble=_assemble,
    parts={
        **TEXT_PARTS,
        "vae": {"AutoencoderKLLTXVideo": AutoencoderKLLTXVideo},
        "transformer": {"LTXVideoTransformer3DModel": LTXVideoTransformer3DModel},
        "scheduler": FLOW,
    },
    builders=BUILDERS,
    scheduler={
        "shift": Range(0.01, 100),
        "use_dynamic_shifting": (True, False),
        "base_shift": Range(0.01, 100),
        "max_shift": Range(0.01, 100),
        "base_image_seq_len": Range(1, 1 << 20),
        "max_image_seq_len": Range(1, 1 << 20),
        "shift_terminal": Range(0.001, 0.999),
        "time_shift_type": ("exponential", "linear"),
    },
    check=_check,
    grid=_grid,
    levels=_levels,
    encode=encode,
    arguments=_arguments,
    unpacked=_unpacked,
    decode=_decode,
    decoded_values=_decoded_values,
    for_shot=_for_shot,
    min_steps=2,
)
