"""From pictures to the states that an image-to-video transformer reads beside the text: CLIP's layer before the last.

Wan2.1's I2V and FLF2V read them (Wan Team 2025, arXiv:2503.20314, section 5.1); Wan2.2 does without. CLIP: Radford et
al. 2021, arXiv:2103.00020.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from vgen.errors import ModelError
from vgen.models.settings import Config, count, is_list, number, unsupported
from vgen.schema import Range

__all__ = [
    "ImageEncoder",
    "check_processor",
    "check_vision",
    "image_tokens",
    "make_processor",
    "read_tensors",
    "vision_config",
]

PREFIX = "vision_model."  # in front of each tensor's name, unless transformers 5 has written the file
PROJECTION = "visual_projection.weight"  # of a whole CLIP; behind the layer that is read
Shape = tuple[int, ...]
SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
)
# what a config need not say
DEFAULTS: Config = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
ACTIVATIONS = ("gelu", "quick_gelu")
STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
STATISTICS = ("image_mean", "image_std")
SCALE = Range(1e-6, 1.0)
PIXELS = Range(1, 2048, " px")
FILTER = Range(0, 5)  # PIL's number of it


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """Image processor and encoder of one folder; they see pictures as they were fitted to the clip.

    Args:
        processor, encoder: as loaded.
    """

    processor: CLIPImageProcessorPil
    encoder: CLIPVisionModel

    @torch.no_grad()
    def __call__(self, images_YX3: Sequence[NDArray[np.uint8]]) -> Tensor:
        """States of each picture, image_BMD; where there are two, the transformer lays them one behind the other."""
        pictures = [Image.fromarray(image_YX3) for image_YX3 in images_YX3]
        pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self.encoder.device, self.encoder.dtype)
        states_BMD: Tensor = self.encoder(pixels, output_hidden_states=True).hidden_states[-2]
        return states_BMD


def check_vision(config: Config, where: Path) -> Config:
    """Holds the config of an image encoder to what is supported, and completes it.

    Raises:
        ModelError: names the key and what is possible.
    """
    told = DEFAULTS | config
    for key in SIZES:
        count(told, key, where)
    if told["hidden_size"] % told["num_attention_heads"]:
        raise ModelError(
            f"{where}: hidden_size {told['hidden_size']} is no multiple of num_attention_heads "
            f"{told['num_attention_heads']}"
        )
    if told["image_size"] < told["patch_size"]:
        raise ModelError(f"{where}: image_size {told['image_size']} holds no patch of {told['patch_size']}")
    number(told, "image_size", where, PIXELS, whole=True)
    number(told, "layer_norm_eps", where, Range(0, 1))
    for key, able in (("num_channels", (3,)), ("hidden_act", ACTIVATIONS)):
        if told[key] not in able:
            raise unsupported("CLIPVisionModel", key, told[key], able, where)
    return told


def vision_config(config: Config) -> CLIPVisionConfig:
    """The image encoder's config from the keys that it depends on; the rest is for training."""
    told = DEFAULTS | config
    return CLIPVisionConfig(**{key: told[key] for key in (*SIZES, "hidden_act", "layer_norm_eps")})


def read_tensors(shapes: dict[str, Shape]) -> dict[str, Shape]:
    """Of the tensors in an image encoder's files those that are read, by the names that the model gives them."""
    return {name.removeprefix(PREFIX): shape for name, shape in shapes.items() if name != PROJECTION}


def image_tokens(config: Config) -> int:
    """Tokens of one picture: its patches and the class token."""
    return int(config["image_size"] // config["patch_size"]) ** 2 + 1


def check_processor(config: Config, side: int, where: Path) -> None:
    """Holds the config of an image processor to what is supported, and to `side`, its encoder's image_size.

    Raises:
        ModelError: names the key and what is possible.
    """
    for key in STEPS:
        if config.get(key, True) is not True:
            raise unsupported("CLIPImageProcessor", key, config[key], (True,), where)
    for key, value, able in (
        ("size", _side(config.get("size", 224)), PIXELS),
        ("crop_size", _side(config.get("crop_size", 224)), Range(side, side, " px, as the image encoder's image_size")),
    ):
        number({key: value}, key, where, able, whole=True)
    number({"resample": 3} | config, "resample", where, FILTER, whole=True)
    number({"rescale_factor": 1 / 255} | config, "rescale_factor", where, SCALE)
    for key in STATISTICS:
        values = config.get(key, [0.5] * 3)
        if not is_list(values, int, float) or len(values) != 3 or not all(abs(v) <= 10 for v in values):
            raise ModelError(f"{where}: {key} is a number for each of red, green and blue, got {short(values)}")
    if any(value <= 0 for value in config.get("image_std", ())):
        raise ModelError(f"{where}: image_std divides, so it is above 0, got {short(config['image_std'])}")


def make_processor(config: Config) -> CLIPImageProcessorPil:
    """The processor that a checked config describes."""
    values: dict[str, Any] = {key: config[key] for key in (*STATISTICS, "resample", "rescale_factor") if key in config}
    side = _side(config.get("crop_size", 224))
    return CLIPImageProcessorPil(
        size={"shortest_edge": _side(config.get("size", 224))}, crop_size={"height": side, "width": side}, **values
    )


def _side(size: Any) -> Any:
    """The side in pixels that a size names, whichever way it is written; as it stands where it names none."""
    if isinstance(size, dict) and {*size} == {"shortest_edge"}:
        return size["shortest_edge"]
    if isinstance(size, dict) and {*size} == {"height", "width"} and size["height"] == size["width"]:
        return size["height"]
    return size
