"""HunyuanVideo (Tencent 2024, arXiv:2412.03603): a Llama and a CLIP read the prompt, guidance is an input of its own.

A transformer without `guidance_embeds` is guided by a second branch instead, and reads a negative prompt there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoPipeline, HunyuanVideoTransformer3DModel
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE as TEMPLATE
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    LlamaModel,
    LlamaTokenizerFast,
    PreTrainedTokenizerFast,
)

from vgen.errors import InputError, ModelError
from vgen.models.stock.encoders import clip_config, llama_config
from vgen.models.stock.family import Configs, Family, Grid, Shape, Shot, agree, count_tokens
from vgen.models.stock.t5 import FLOW
from vgen.schema import Range

__all__ = ["HUNYUAN"]

CLIP_TOKENS = 77
SKIPPED = 2  # layers at the Llama's end that are not read


def _check(pipeline: str, configs: Configs, folder: Path) -> None:
    dit, vae = configs["transformer"], configs["vae"]
    llama, clip = configs["text_encoder"], configs["text_encoder_2"]
    agree(
        folder,
        {
            "the transformer's text_embed_dim": (dit["text_embed_dim"], llama["hidden_size"]),
            "the transformer's pooled_projection_dim": (dit["pooled_projection_dim"], clip["hidden_size"]),
            "the transformer's in_channels": (dit["in_channels"], vae["latent_channels"]),
            "the transformer's out_channels": (dit["out_channels"], vae["latent_channels"]),
            "the transformer's image_condition_type": (dit["image_condition_type"], None),
            "the transformer's rope_axes_dim in all": (sum(dit["rope_axes_dim"]), dit["attention_head_dim"]),
            "text_encoder_2's max_position_embeddings": (clip.get("max_position_embeddings", 77), CLIP_TOKENS),
        },
    )
    if llama["num_hidden_layers"] < SKIPPED:
        raise ModelError(
            f"{folder / 'text_encoder'}: num_hidden_layers is {llama['num_hidden_layers']}; the last {SKIPPED} are not "
            f"read, so at least {SKIPPED} are needed"
        )


def _grid(configs: Configs) -> Grid:
    dit, vae = configs["transformer"], configs["vae"]
    patch, spatial, temporal = dit["patch_size"], vae["spatial_compression_ratio"], vae["temporal_compression_ratio"]
    return Grid(
        px=max(16, spatial * patch),  # the pipeline asks for 16
        frames=temporal * dit["patch_size_t"],
        spatial_px=spatial,
        temporal=temporal,
        channels=dit["in_channels"],
        patch=(dit["patch_size_t"], patch, patch),
        width=dit["num_attention_heads"] * dit["attention_head_dim"],
    )


def _levels(scheduler: Any, shot: Shot, tokens: int, dtype: torch.dtype) -> list[float]:
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, shot.num_inference_steps + 1)[:-1])
    levels = scheduler.timesteps.to(dtype).float() / 1000  # rounded to the latents' dtype, which the first step sets
    return [float(level) for level in levels]


def _embedded(pipe: Any) -> bool:
    """Whether guidance is an input of the transformer."""
    return bool(pipe.transformer.config.guidance_embeds)


def _check_shot(pipe: Any, shot: Shot) -> None:
    if shot.negative_prompt and _embedded(pipe):
        raise InputError(
            "this model takes guidance as an input of its transformer and runs no second branch, so that a negative "
            "prompt would do nothing; leave negative_prompt out"
        )
    if _read(pipe, shot.prompt) < 1:
        raise InputError("the prompt ends within the template that the model puts before it; its tokenizer is another")


def _read(pipe: Any, prompt: str) -> int:
    whole = count_tokens(pipe.tokenizer, TEMPLATE["template"].format(prompt))
    return int(whole - TEMPLATE["crop_start"])


def _notes(pipe: Any, shot: Shot) -> list[str]:
    tokens = count_tokens(pipe.tokenizer_2, shot.prompt)
    if tokens <= CLIP_TOKENS:
        return []
    return [f"prompt: the second text encoder reads the first {CLIP_TOKENS} of {tokens} tokens, the first one all"]


def _encode(pipe: Any, shot: Shot) -> dict[str, Tensor]:
    texts = _encoded(pipe, shot.prompt, shot.text_length, "")
    if _branched(pipe, shot):
        texts |= _encoded(pipe, shot.negative_prompt, shot.text_length, "negative_")
    return texts


def _encoded(pipe: Any, prompt: str, length: int, which: str) -> dict[str, Tensor]:
    states, pooled, mask = pipe.encode_prompt(prompt=prompt, max_sequence_length=length)
    names = ("prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask")
    dtype = pipe.transformer.dtype
    return {which + name: value.to(dtype) for name, value in zip(names, (states, pooled, mask), strict=True)}


def _branched(pipe: Any, shot: Shot) -> bool:
    return not _embedded(pipe) and shot.guidance_scale > 1


def _arguments(pipe: Any, shot: Shot, noise_BCTHW: Tensor, generator: torch.Generator) -> dict[str, Any]:
    scale = "guidance_scale" if _embedded(pipe) else "true_cfg_scale"
    return {"latents": noise_BCTHW, scale: shot.guidance_scale}


def _unpacked(pipe: Any, given: Tensor, shape: Shape) -> Tensor:
    return given


def _decode(pipe: Any, shot: Shot, latents_BCTHW: Tensor) -> Tensor:
    z = latents_BCTHW.to(pipe.vae.device, pipe.vae.dtype) / pipe.vae.config.scaling_factor
    pixels_BCFYX: Tensor = pipe.vae.decode(z, return_dict=False)[0]
    return pixels_BCFYX


def _decoded_values(configs: Configs, shot: Shot) -> int:
    return shot.num_frames * shot.height * shot.width * int(configs["vae"]["block_out_channels"][0])


def _assemble(name: str, parts: Mapping[str, Any], flags: Mapping[str, bool]) -> Any:
    return HunyuanVideoPipeline(**parts)


HUNYUAN = Family(
    pipelines={"HunyuanVideoPipeline": "none"},
    assemble=_assemble,
    parts={
        "tokenizer": {
            "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
            "LlamaTokenizer": LlamaTokenizerFast,
            "LlamaTokenizerFast": LlamaTokenizerFast,
        },
        "text_encoder": {"LlamaModel": LlamaModel},
        "tokenizer_2": {
            "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
            "CLIPTokenizer": CLIPTokenizer,
            "CLIPTokenizerFast": CLIPTokenizer,
        },
        "text_encoder_2": {"CLIPTextModel": CLIPTextModel},
        "vae": {"AutoencoderKLHunyuanVideo": AutoencoderKLHunyuanVideo},
        "transformer": {"HunyuanVideoTransformer3DModel": HunyuanVideoTransformer3DModel},
        "scheduler": FLOW,
    },
    builders={LlamaModel: llama_config, CLIPTextModel: clip_config},
    scheduler={"shift": Range(0.01, 100)},
    check=_check,
    grid=_grid,
    levels=_levels,
    encode=_encode,
    arguments=_arguments,
    unpacked=_unpacked,
    decode=_decode,
    decoded_values=_decoded_values,
    check_shot=_check_shot,
    branched=_branched,
    guided=lambda pipe, shot: _embedded(pipe) or _branched(pipe, shot),
    read=_read,
    notes=_notes,
)
