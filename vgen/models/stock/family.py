"""What a family of models is, that runs through a pipeline of diffusers: its classes, its grid, its arguments.

A `Family` is an adapter without state; what it is asked about is a `Shot`, a clip to make with every number decided.
Latents are [B, C, T, H, W] outside of it, however its pipeline lays them out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vgen.errors import ModelError
from vgen.models.settings import Config, Settings
from vgen.samplers import NoiseSource

__all__ = [
    "Builder",
    "Configs",
    "Family",
    "Grid",
    "Shape",
    "Shot",
    "agree",
    "count_tokens",
    "first_frame",
    "stacked_noise",
]

Builder: TypeAlias = Callable[[Config], Any]
Configs: TypeAlias = Mapping[str, Mapping[str, Any]]
Shape: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Which clips a model makes.

    Args:
        px: height and width are multiples of it.
        frames: lengths are 1 + frames n.
        spatial_px: pixels of a row or column of latents.
        temporal: frames of a latent frame, but for the first.
        channels: of the noise.
        patch: latents per token: frames, rows and columns.
        width: of the transformer.
    """

    px: int
    frames: int
    spatial_px: int
    temporal: int
    channels: int
    patch: tuple[int, int, int]
    width: int

    def latents(self, shot: "Shot") -> Shape:
        """Channels, frames, rows and columns of a clip's latents; frames fill whole patches."""
        frames = 1 + (shot.num_frames - 1) // self.temporal
        whole = -(-frames // self.patch[0]) * self.patch[0]
        return self.channels, whole, shot.height // self.spatial_px, shot.width // self.spatial_px

    def tokens(self, shot: "Shot") -> int:
        """Tokens of a clip, without those of its text."""
        _, T, H, W = self.latents(shot)
        return (T // self.patch[0]) * (H // self.patch[1]) * (W // self.patch[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A clip to make.

    Args:
        prompt, negative_prompt: texts.
        image_YX3: the first frame, of the clip's size; None where none is given.
        height, width: pixels.
        num_frames, fps: of the clip.
        num_inference_steps: steps.
        guidance_scale: as the model takes it.
        text_length: text tokens.
        seed: of all noise.
    """

    prompt: str
    negative_prompt: str
    image_YX3: NDArray[np.uint8] | None
    height: int
    width: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    text_length: int
    seed: int

    @property
    def noise(self) -> NoiseSource:
        """Of initial latents, and of what a pipeline draws by itself."""
        return NoiseSource(self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one family is loaded, asked and decoded. `pipe` is one of its pipelines, configs are completed, by component.

    Args:
        pipelines: name in model_index.json -> how it takes a first frame, in the words of a model card.
        assemble: a pipeline of that name, of loaded components and flags.
        parts: component -> class name in model_index.json -> class that it is loaded with.
        builders: how the configs of its text encoders are built.
        scheduler: settings of its schedulers that may differ from the class's default.
        check: holds configs to each other; raises ModelError.
        grid: sizes and lengths.
        levels: the noise level of each step as an installed attention is told it; of a scheduler that may be written
            to, for a shot of so many tokens and latents of a dtype.
        encode: what the pipeline takes in place of prompts.
        arguments: what else it takes, of initial noise [1, C, T, H, W] and a generator for what it draws by itself.
        unpacked: what it hands out, as latents_BCTHW of a shape, without padding.
        decode: pixels_BCFYX in -1..1, of those.
        decoded_values: of the widest layers of the decoder that live at once, for an estimate of memory.
        flags: settings of the whole pipeline that model_index.json may set to true or false.
        text_length: text tokens where a config fixes them; None where the card says.
        for_shot: the pipeline that makes a clip, of the same components.
        check_shot: refuses what this model cannot make though its family can; raises InputError.
        branched: whether steps run a second branch, with the negative prompt.
        guided: whether a guidance scale has an effect; where None, with a second branch alone.
        read: tokens that a prompt takes of the text length.
        notes: what a user should know of how a prompt is read.
        min_steps: the fewest that its table of noise levels is made for.
    """

    pipelines: Mapping[str, str]
    assemble: Callable[[str, Mapping[str, Any], Mapping[str, bool]], Any]
    parts: Mapping[str, Mapping[str, Any]]
    builders: Mapping[Any, Builder]
    scheduler: Settings
    check: Callable[[str, Configs, Path], None]
    grid: Callable[[Configs], Grid]
    levels: Callable[[Any, Shot, int, torch.dtype], list[float]]
    encode: Callable[[Any, Shot], dict[str, Tensor]]
    arguments: Callable[[Any, Shot, Tensor, torch.Generator], dict[str, Any]]
    unpacked: Callable[[Any, Tensor, Shape], Tensor]
    decode: Callable[[Any, Shot, Tensor], Tensor]
    decoded_values: Callable[[Configs, Shot], int]
    flags: tuple[str, ...] = ()
    text_length: Callable[[Configs], int | None] = lambda configs: None
    for_shot: Callable[[Any, Shot], Any] = lambda pipe, shot: pipe
    check_shot: Callable[[Any, Shot], None] = lambda pipe, shot: None
    branched: Callable[[Any, Shot], bool] = lambda pipe, shot: shot.guidance_scale > 1
    guided: Callable[[Any, Shot], bool] | None = None
    read: Callable[[Any, str], int] = lambda pipe, prompt: count_tokens(pipe.tokenizer, prompt)
    notes: Callable[[Any, Shot], list[str]] = lambda pipe, shot: []
    min_steps: int = 1


def stacked_noise(source: NoiseSource, shape: Shape) -> Tensor:
    """Initial noise [1, C, T, H, W], each latent frame under its own key."""
    C, T, H, W = shape
    return torch.stack([source.draw("initial", frame, 0, (C, H, W)) for frame in range(T)], dim=1)[None]


def first_frame(shot: Shot) -> Image.Image | None:
    """The first frame as pipelines take it."""
    return None if shot.image_YX3 is None else Image.fromarray(shot.image_YX3)


def count_tokens(tokenizer: Any, text: str) -> int:
    """Tokens of a whole text, marks included; says nothing of those that are too long."""
    return len(tokenizer(text, verbose=False)["input_ids"])


def agree(folder: Path, values: Mapping[str, tuple[Any, Any]]) -> None:
    """Holds settings of components to each other.

    Args:
        folder: for the message.
        values: what is compared, in words -> what is there, what the others need.

    Raises:
        ModelError: names the first that differ.
    """
    for name, (found, wanted) in values.items():
        if found != wanted:
            raise ModelError(f"{folder}: {name} is {short(found)}, the other components need {short(wanted)}")
