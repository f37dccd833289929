"""The recipes of `vgen train playground` as structured configs, mirrored by `configs/training/playground.yaml`.

A recipe's digest names what the weights were trained with. Time budgets, device and folders are no part of a recipe:
they are arguments of the stages.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vgen.errors import ConfigError, nearest
from vgen.playground.worlds import WORLDS

__all__ = [
    "DiTRecipe",
    "FewStepRecipe",
    "LatentsRecipe",
    "PlaygroundTraining",
    "VAERecipe",
    "read_training_config",
    "recipe_digest",
    "stage_digest",
]


@dataclass(kw_only=True)
class VAERecipe:
    """The autoencoder and its training on crops of rendered clips."""

    base_dim: int = 32
    dim_mult: list[int] = field(default_factory=lambda: [1, 2, 2])
    num_res_blocks: int = 1
    is_residual: bool = True
    z_dim: int = 16
    patch_size: int = 2
    batch: int = 8
    frames: int = 17
    crop: int = 48
    image_every: int = 8  # each n-th step takes single whole pictures
    whole_every: int = 8  # each n-th step takes whole frames: attention and borders see what they will see
    lr: float = 1e-3
    matrix_lr: float = 0.02
    weight_decay: float = 0.01
    average: float = 0.99
    kl_weight: float = 1e-4
    body_weight: float = 6.0  # extra loss weight per unit of distance from the picture's mean colour


@dataclass(kw_only=True)
class LatentsRecipe:
    """What is encoded once, before the transformer trains."""

    clips: int = 3072
    held_out: int = 64  # of each kind


@dataclass(kw_only=True)
class DiTRecipe:
    """Text encoder and transformer, trained together by flow matching with a noise level per latent frame."""

    text_length: int = 32
    text_dim: int = 192
    text_layers: int = 2
    text_heads: int = 4
    heads: int = 5
    head_width: int = 64
    ffn_dim: int = 1280
    layers: int = 7
    window: int = 9  # latent frames
    causal_block: int = 3
    causal: float = 0.35  # share of steps with block-causal attention
    mid_clip_full: float = 0.2  # share of windows that start after latent 0, in steps with full attention
    mid_clip_causal: float = 0.8  # and in block-causal ones, whose sampler slides; half of all windows together
    shift: float = 3.0
    dropout: float = 0.1  # share of empty prompts
    colour_dropout: float = 0.15  # share without colours: an event is learnt apart from what colour it was seen in
    batch: int = 16
    lr: float = 1e-3
    matrix_lr: float = 0.01
    weight_decay: float = 0.01
    average: float = 0.998
    num_inference_steps: int = 24
    guidance_scale: float = 5.0


@dataclass(kw_only=True)
class FewStepRecipe:
    """The causal student of few steps, a LoRA over the transformer, trained on its own rollouts."""

    sigmas: list[float] = field(default_factory=lambda: [1.0, 0.9, 0.75, 0.5])  # 1000, 750, 500, 250 at shift 3
    rank: int = 32
    batch: int = 8
    blocks: int = 2  # of a clip's causal blocks that learn in a step
    teacher_steps: int = 12  # from pure noise
    mid_clip: float = 0.3  # share of steps whose clips go on from known blocks
    image: float = 0.15  # share, of the others, whose clips begin with a known frame
    lr: float = 5e-4  # AdamW
    average: float = 0.98


@dataclass(kw_only=True)
class PlaygroundTraining:
    """All stages of the embedded model."""

    seed: int = 0
    world: str = "first"  # of the playground, a key of WORLDS
    size: int = 96  # rows and columns, pixels
    num_frames: int = 33  # native length
    vae: VAERecipe = field(default_factory=VAERecipe)
    latents: LatentsRecipe = field(default_factory=LatentsRecipe)
    dit: DiTRecipe = field(default_factory=DiTRecipe)
    few_step: FewStepRecipe = field(default_factory=FewStepRecipe)


def read_training_config(path: Path | None = None) -> PlaygroundTraining:
    """The recipe in a YAML file, over the defaults; the packaged `configs/training/playground.yaml` where None.

    Raises:
        ConfigError: unreadable, an unknown key or world, or a value of the wrong type.
    """
    source = path or files("vgen").joinpath("configs", "training", "playground.yaml")
    try:
        given = OmegaConf.create(source.read_text())
        if not OmegaConf.is_dict(given):
            raise ConfigError(f"training config {source}: a recipe is a mapping such as `size: 96`")
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PlaygroundTraining), given))
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"training config {source}: {str(error).splitlines()[0]}") from error
    assert isinstance(config, PlaygroundTraining), "a structured merge keeps its schema"
    if config.world not in WORLDS:
        raise ConfigError(f"training config {source}: unknown world '{config.world}'; {nearest(config.world, WORLDS)}")
    return config


def stage_digest(config: PlaygroundTraining, recipe: object, *more: str) -> str:
    """Names what one stage trains with; that of the first world is as it was before there were others."""
    other = [] if config.world == "first" else [config.world]
    return recipe_digest(config.seed, config.size, recipe, *more, *other)


def recipe_digest(*parts: object) -> str:
    """Twelve hex digits that name a recipe: numbers, and recipe dataclasses."""
    plain = [asdict(p) if hasattr(p, "__dataclass_fields__") else p for p in parts]  # type: ignore[call-overload]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
