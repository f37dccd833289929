"""CogVideoX (Yang et al. 2024, arXiv:2408.06072), 1.0 and 1.5, from text or from an image in channels of its own.

Its VAE decodes an even number of latent frames to four frames each, an odd one to four less three: so lengths are
1 + 8 n. 1.5 pads latents at the front to whole patches of two frames, which are thrown away before decoding.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from torch import Tensor, nn

from vgen.errors import InputError, ModelError
from vgen.models.stock.family import Configs, Family, Grid, Shape, Shot, agree, first_frame
from vgen.models.stock.t5 import BUILDERS, TEXT_PARTS, encode
from vgen.schema import Range

__all__ = ["COGVIDEOX"]

CLASSES = {
    "CogVideoXPipeline": CogVideoXPipeline,
    "CogVideoXImageToVideoPipeline": CogVideoXImageToVideoPipeline,
}
LATENTS_AT_ONCE = 2  # that the VAE decodes


def _check(pipeline: str, configs: Configs, folder: Path) -> None:
    dit, vae = configs["transformer"], configs["vae"]
    inputs = 2 if pipeline == "CogVideoXImageToVideoPipeline" else 1
    temporal = vae["temporal_compression_ratio"]
    agree(
        folder,
        {
            "the transformer's text_embed_dim": (dit["text_embed_dim"], configs["text_encoder"]["d_model"]),
            "the transformer's in_channels": (dit["in_channels"], inputs * vae["latent_channels"]),
            "the transformer's out_channels": (dit["out_channels"], vae["latent_channels"]),
            "the transformer's temporal_compression_ratio": (dit["temporal_compression_ratio"], temporal),
            "the transformer's ofs_embed_dim": (dit["ofs_embed_dim"] or dit["time_embed_dim"], dit["time_embed_dim"]),
        },
    )
    if dit["patch_size_t"] not in (None, 1, 2):
        raise ModelError(f"{folder / 'transformer'}: patch_size_t is {dit['patch_size_t']!r}; possible: null, 1 or 2")
    if dit["ofs_embed_dim"] is not None and inputs == 1:
        raise ModelError(f"{folder / 'transformer'}: ofs_embed_dim is of image-to-video, and {pipeline} is from text")


def _grid(configs: Configs) -> Grid:
    dit, vae = configs["transformer"], configs["vae"]
    spatial, temporal = 2 ** (len(vae["block_out_channels"]) - 1), vae["temporal_compression_ratio"]
    return Grid(
        px=spatial * dit["patch_size"],
        frames=LATENTS_AT_ONCE * temporal,
        spatial_px=spatial,
        temporal=temporal,
        channels=vae["latent_channels"],
        patch=(dit["patch_size_t"] or 1, dit["patch_size"], dit["patch_size"]),
        width=dit["num_attention_heads"] * dit["attention_head_dim"],
    )


def _levels(scheduler: Any, shot: Shot, tokens: int, dtype: torch.dtype) -> list[float]:
    scheduler.set_timesteps(shot.num_inference_steps)
    return [float(level) for level in scheduler.timesteps.float() / 1000]


def _check_shot(pipe: Any, shot: Shot) -> None:
    """Learned positions are those of one size and length; the library puts sines in their place elsewhere."""
    config, ratio = pipe.transformer.config, pipe.vae_scale_factor_spatial
    if not config.use_learned_positional_embeddings:
        return
    size = (config.sample_width * ratio, config.sample_height * ratio)
    if (shot.width, shot.height, shot.num_frames) != (*size, config.sample_frames):
        raise InputError(
            f"this model has learned its positions at {size[0]}x{size[1]} and {config.sample_frames} frames, and makes "
            f"no other clips; asked for {shot.width}x{shot.height} and {shot.num_frames} frames"
        )


def _arguments(pipe: Any, shot: Shot, noise_BCTHW: Tensor, generator: torch.Generator) -> dict[str, Any]:
    given = {
        "latents": noise_BCTHW.transpose(1, 2).to(pipe.transformer.dtype),
        "guidance_scale": shot.guidance_scale,
        "generator": generator,
    }
    image = first_frame(shot)
    return given if image is None else given | {"image": image}


def _unpacked(pipe: Any, given: Tensor, shape: Shape) -> Tensor:
    return given.transpose(1, 2)[:, :, -shape[1] :]


def _decode(pipe: Any, shot: Shot, latents_BCTHW: Tensor) -> Tensor:
    z = 1 / pipe.vae.config.scaling_factor * latents_BCTHW.to(pipe.vae.device, pipe.vae.dtype)
    pixels_BCFYX: Tensor = pipe.vae.decode(z).sample
    return pixels_BCFYX


def _decoded_values(configs: Configs, shot: Shot) -> int:
    vae = configs["vae"]
    frames = (LATENTS_AT_ONCE + 1) * int(vae["temporal_compression_ratio"])
    return frames * shot.height * shot.width * int(vae["block_out_channels"][0])


def _assemble(name: str, parts: Mapping[str, Any], flags: Mapping[str, bool]) -> Any:
    """The pipeline hands pictures to the VAE in the transformer's dtype; the VAE stays in its own."""
    parts["vae"].encoder.register_forward_pre_hook(_in_own_dtype)
    return CLASSES[name](**parts)


def _in_own_dtype(encoder: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].to(next(encoder.parameters()).dtype), *args[1:])


COGVIDEOX = Family(
    pipelines={"CogVideoXPipeline": "none", "CogVideoXImageToVideoPipeline": "channels"},
    assemble=_assemble,
    parts={
        **TEXT_PARTS,
        "vae": {"AutoencoderKLCogVideoX": AutoencoderKLCogVideoX},
        "transformer": {"CogVideoXTransformer3DModel": CogVideoXTransformer3DModel},
        "scheduler": {
            "CogVideoXDDIMScheduler": CogVideoXDDIMScheduler,
            "CogVideoXDPMScheduler": CogVideoXDPMScheduler,
        },
    },
    builders=BUILDERS,
    scheduler={
        "beta_start": Range(1e-6, 0.1),
        "beta_end": Range(1e-6, 0.5),
        "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
        "clip_sample": (True, False),
        "clip_sample_range": Range(0.01, 100),
        "set_alpha_to_one": (True, False),
        "steps_offset": (0, 1),
        "prediction_type": ("epsilon", "sample", "v_prediction"),
        "timestep_spacing": ("leading", "linspace", "trailing"),
        "rescale_betas_zero_snr": (True, False),
        "sample_max_value": Range(0.01, 100),
        "snr_shift_scale": Range(0.01, 100),
        "trained_betas": (None,),
    },
    check=_check,
    grid=_grid,
    levels=_levels,
    encode=encode,
    arguments=_arguments,
    unpacked=_unpacked,
    decode=_decode,
    decoded_values=_decoded_values,
    text_length=lambda configs: configs["transformer"]["max_text_seq_length"],
    check_shot=_check_shot,
)
