"""Tiny random-weight folders of the families that run through diffusers' own pipelines, written by their stock classes.

A new layout is a row of LAYOUTS.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    AutoencoderKLMochi,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    LTXImageToVideoPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MochiPipeline,
    MochiTransformer3DModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaModel, T5Config, T5EncoderModel

from tests.folders import tiny_tokenizer

CARD = """
name: tiny-{name}
height: {height}
width: {width}
num_frames: {num_frames}
fps: 8
num_inference_steps: 3
guidance_scale: {guidance_scale}
text_length: {text_length}
image: {image}
"""
WIDTH = 16  # of what text encoders make
VOCABULARY = 16
TEXT = 12  # tokens that CogVideoX reads


def t5() -> T5EncoderModel:
    config = T5Config(
        vocab_size=VOCABULARY, d_model=WIDTH, d_kv=8, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0
    )
    return T5EncoderModel(config).eval()


def llama() -> LlamaModel:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    return LlamaModel(config).eval()


def clip() -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    return CLIPTextModel(config).eval()


def hunyuan(*, guidance_embeds: bool = True) -> HunyuanVideoPipeline:
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=WIDTH,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        guidance_embeds=guidance_embeds,
    )
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    )
    return HunyuanVideoPipeline(
        text_encoder=llama(),
        tokenizer=tiny_tokenizer(),
        transformer=transformer.eval(),
        vae=vae.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=clip(),
        tokenizer_2=tiny_tokenizer(),
    )


def mochi() -> MochiPipeline:
    transformer = MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=WIDTH,
        in_channels=12,
        text_embed_dim=WIDTH,
        time_embed_dim=4,
        max_sequence_length=16,
    )
    nn.init.normal_(transformer.pos_frequencies)  # zeros as made
    vae = AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return MochiPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        vae=vae.eval(),
        text_encoder=t5(),
        tokenizer=tiny_tokenizer(),
        transformer=transformer.eval(),
    )


def _cogvideox(pipeline: Any, scheduler: Any, *, in_channels: int, **config: Any) -> Any:
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=WIDTH,
        num_layers=2,
        sample_width=6,
        sample_height=4,
        sample_frames=9,
        max_text_seq_length=TEXT,
        **config,
    )
    vae = AutoencoderKLCogVideoX(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=2
    )
    return pipeline(
        tokenizer=tiny_tokenizer(), text_encoder=t5(), vae=vae.eval(), transformer=transformer.eval(),
        scheduler=scheduler,
    )  # fmt: skip


PUBLISHED = {
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def cogvideox() -> CogVideoXPipeline:
    return _cogvideox(CogVideoXPipeline, CogVideoXDDIMScheduler(**PUBLISHED), in_channels=4)


def cogvideox_dpm() -> CogVideoXPipeline:
    scheduler = CogVideoXDPMScheduler(**PUBLISHED | {"snr_shift_scale": 1.0})
    return _cogvideox(CogVideoXPipeline, scheduler, in_channels=4, use_rotary_positional_embeddings=True)


def cogvideox15() -> CogVideoXPipeline:
    rotary = {"patch_size_t": 2, "use_rotary_positional_embeddings": True, "patch_bias": False}
    return _cogvideox(CogVideoXPipeline, CogVideoXDDIMScheduler(**PUBLISHED), in_channels=4, **rotary)


def cogvideox_i2v() -> CogVideoXImageToVideoPipeline:
    positions = {"use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": True}
    scheduler = CogVideoXDPMScheduler(**PUBLISHED)
    return _cogvideox(CogVideoXImageToVideoPipeline, scheduler, in_channels=8, **positions)


def cogvideox15_i2v() -> CogVideoXImageToVideoPipeline:
    rotary = {"patch_size_t": 2, "use_rotary_positional_embeddings": True, "patch_bias": False, "ofs_embed_dim": 2}
    scheduler = CogVideoXDPMScheduler(**PUBLISHED)
    return _cogvideox(CogVideoXImageToVideoPipeline, scheduler, in_channels=8, **rotary)


def _ltx(pipeline: Any, **config: Any) -> Any:
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=2,
        caption_channels=WIDTH,
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        **config,
    )
    vae.latents_mean.copy_(torch.linspace(-0.3, 0.3, 8))
    vae.latents_std.copy_(torch.linspace(0.5, 1.5, 8))
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024, shift_terminal=0.1
    )
    return pipeline(
        scheduler=scheduler, vae=vae.eval(), text_encoder=t5(), tokenizer=tiny_tokenizer(),
        transformer=transformer.eval(),
    )  # fmt: skip


def ltx() -> LTXPipeline:
    return _ltx(LTXPipeline)


def ltx_i2v() -> LTXImageToVideoPipeline:
    return _ltx(LTXImageToVideoPipeline)


def ltx_timestep() -> LTXPipeline:
    return _ltx(LTXPipeline, timestep_conditioning=True)


# layout -> how it is made, and what its card says: height, width, frames, guidance, text tokens, image
LAYOUTS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "hunyuan": (hunyuan, {"text_length": 256, "num_frames": 5, "guidance_scale": 6.0}),
    "hunyuan-cfg": (lambda: hunyuan(guidance_embeds=False), {"text_length": 256, "num_frames": 5}),
    "mochi": (mochi, {"text_length": 16, "num_frames": 7, "guidance_scale": 4.5}),
    "cogvideox": (cogvideox, {"num_frames": 9}),
    "cogvideox-dpm": (cogvideox_dpm, {"num_frames": 9}),
    "cogvideox1.5": (cogvideox15, {"num_frames": 9}),
    "cogvideox-i2v": (cogvideox_i2v, {"num_frames": 9, "image": "channels"}),
    "cogvideox1.5-i2v": (cogvideox15_i2v, {"num_frames": 9, "image": "channels"}),
    "ltx": (ltx, {"num_frames": 9, "height": 64, "width": 96, "image": "first_latent", "text_length": 16}),
    "ltx-i2v": (ltx_i2v, {"num_frames": 9, "height": 64, "width": 96, "image": "first_latent", "text_length": 16}),
    "ltx-timestep": (ltx_timestep, {"num_frames": 9, "height": 64, "width": 96, "image": "first_latent"}),
}
SHARED = {"height": 32, "width": 48, "guidance_scale": 3.0, "text_length": TEXT, "image": "none"}


def stock_folder(folder: Path, layout: str, *, card: bool = True) -> Path:
    """Writes one folder, with a `vgen.yaml` unless `card` is false."""
    torch.manual_seed(0)
    make, own = LAYOUTS[layout]
    make().save_pretrained(folder)
    for tokenizer in folder.glob("tokenizer*"):
        renamed(folder / "model_index.json", tokenizer.name, ["transformers", "PreTrainedTokenizerFast"])
        renamed(tokenizer / "tokenizer_config.json", "tokenizer_class", "PreTrainedTokenizerFast")
    if card:
        (folder / "vgen.yaml").write_text(CARD.format(name=layout, **(SHARED | own)))
    return folder


def renamed(path: Path, key: str, value: object) -> None:
    """Sets one key of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}, indent=2))
