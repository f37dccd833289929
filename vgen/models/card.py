"""`ModelCard`: what a checkpoint is right with by default.

From `vgen.yaml` in the model's folder (diffusers ignores the file), else from the `configs/models/*.yaml` whose
`match` agrees with the folder's configs; the one that names most keys wins.
"""

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vgen.errors import ModelError

__all__ = ["ModelCard", "card_for"]

CARD_FILE = "vgen.yaml"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Defaults and limits of one checkpoint.

    Args:
        name: for messages.
        height, width: native size in pixels.
        num_frames: native length in frames, 1 + 4 n.
        fps: frames per second of the material it was trained on.
        num_inference_steps, guidance_scale: what its figures were measured with.
        text_length: text tokens; part of the model, because Wan attends to padding.
        samplers: names of the samplers whose way of noising it was trained for.
        causal_block: latent frames per block of causal sampling.
        trained_window: latent frames seen at once in training; the default causal window.
        closed_vocabulary: whether words outside its tokenizer mean nothing to it.
        image: how it takes a first frame: `first_latent` (level 0, as Wan2.2-TI2V), or `none`.
    """

    name: str
    height: int
    width: int
    num_frames: int
    fps: int
    num_inference_steps: int
    guidance_scale: float
    text_length: int = 512
    samplers: list[str] = field(default_factory=lambda: ["full"])
    causal_block: int = 3
    trained_window: int = 21
    closed_vocabulary: bool = False
    image: str = "none"


def card_for(folder: Path, configs: dict[str, dict[str, Any]]) -> ModelCard:
    """The card of a model folder.

    Args:
        folder: the diffusers-format folder.
        configs: its parsed configs by component ("pipeline" is model_index.json), which presets are matched with.

    Raises:
        ModelError: the card is malformed, or there is none and no preset matches.
    """
    own = folder / CARD_FILE
    if own.is_file():
        return _read(own.read_text(), str(own))
    fits = []
    for preset in files("vgen").joinpath("configs", "models").iterdir():
        content = OmegaConf.to_container(OmegaConf.create(preset.read_text()))
        assert isinstance(content, dict), f"{preset.name} is no mapping"
        match = content.pop("match")
        if _agrees(match, configs):
            fits.append((sum(len(keys) for keys in match.values()), preset.name, content))
    if not fits:
        raise ModelError(
            f"{folder}: no {CARD_FILE} beside the weights, and no preset in configs/models fits its config"
        )
    _, name, content = max(fits, key=lambda fit: fit[:2])
    return _read(OmegaConf.to_yaml(OmegaConf.create(content)), name)


def _agrees(match: dict[str, dict[str, Any]], configs: dict[str, dict[str, Any]]) -> bool:
    return all(
        configs.get(component, {}).get(key) == value for component, keys in match.items() for key, value in keys.items()
    )


def _read(text: str, where: str) -> ModelCard:
    try:
        merged = OmegaConf.merge(OmegaConf.structured(ModelCard), OmegaConf.create(text))
        card = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ModelError(f"{where}: not a model card: {str(error).splitlines()[0]}") from error
    assert isinstance(card, ModelCard)
    return card
