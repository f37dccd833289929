"""Writes the embedded model: one diffusers-format folder, through diffusers' and transformers' own classes."""

import json
from pathlib import Path

from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline
from omegaconf import OmegaConf
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from vgen.models.card import ModelCard
from vgen.models.dit import VideoDiT
from vgen.playground.worlds import world_named
from vgen.training.config import PlaygroundTraining
from vgen.training.state import MAX_SHARD
from vgen.training.text import name_tokenizer_class

__all__ = ["FAST", "forget_origin", "halved", "model_card", "save_folder"]

FAST = "fast"  # variant of a model folder: its student of few steps


def save_folder(
    folder: Path,
    *,
    config: PlaygroundTraining,
    vae: AutoencoderKLWan,
    tokenizer: PreTrainedTokenizerFast,
    encoder: UMT5EncoderModel,
    dit: VideoDiT,
) -> None:
    """Writes all components, the card, and nothing that is not safetensors or JSON.

    The transformer is stored in bfloat16, the autoencoder in float16 (half the size, and none of its decibels), the
    text encoder in float32, which it needs. Images follow Wan2.2-TI2V: `expand_timesteps`, a clean first latent.
    """
    stored = VideoDiT.from_config(dit.config)
    stored.load_state_dict({name: value.bfloat16() for name, value in dit.state_dict().items()}, assign=True)
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder,
        vae=halved(vae),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=config.dit.shift),
        transformer=stored.to_stock(),
        expand_timesteps=True,
    )
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size=MAX_SHARD)
    name_tokenizer_class(folder)
    forget_origin(folder)
    (folder / "vgen.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(model_card(config))))


def halved(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """An autoencoder as it is stored, in float16; what it encodes is encoded by these weights."""
    stored = AutoencoderKLWan.from_config(vae.config)
    stored.load_state_dict({name: value.half() for name, value in vae.state_dict().items()}, assign=True)
    return stored


def forget_origin(folder: Path) -> None:
    """Takes out of every config where it was once loaded from, which is nobody's business; all may read the files."""
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_text())
        told = [key for key in ("_name_or_path", "is_local", "local_files_only") if key in content]
        if told:
            path.write_text(json.dumps({k: v for k, v in content.items() if k not in told}, indent=2) + "\n")
    for path in folder.rglob("*.safetensors"):  # written through temporary files, which are private
        path.chmod(0o644)


def model_card(config: PlaygroundTraining) -> ModelCard:
    """What the embedded model is right with by default."""
    recipe = config.dit
    return ModelCard(
        name="playground",
        height=config.size,
        width=config.size,
        num_frames=config.num_frames,
        fps=world_named(config.world).fps,
        num_inference_steps=recipe.num_inference_steps,
        guidance_scale=recipe.guidance_scale,
        text_length=recipe.text_length,
        samplers=["full", "causal", "forcing"],
        causal_block=recipe.causal_block,
        trained_window=recipe.window,
        closed_vocabulary=True,
        image="first_latent",
    )
