"""`ModelCard`: what a checkpoint is right with by default.

From `vgen.yaml` in the model's folder (diffusers ignores the file), else from the `configs/models/*.yaml` whose
`match` agrees with the folder's configs; the one that names most keys wins. A variant's card says what differs.
"""

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vgen.errors import ConfigError, ModelError
from vgen.presets import sampler_presets
from vgen.schema import SOLVERS, OneOf, Range, sigmas_problem
from vgen.yaml_text import load_yaml

__all__ = ["CARD_FILE", "TRAININGS", "ModelCard", "card_for"]

CARD_FILE = "vgen.yaml"
CARD_LIMIT_BYTES = 64 << 10
SMALL_PX = 832 * 480  # what the models call 480p
TRAININGS = ("full", "causal", "forcing")
CHECKS: dict[str, Range | OneOf] = {
    "height": Range(16, 8192, " px"),
    "width": Range(16, 8192, " px"),
    "num_frames": Range(1, 100_000, " frames"),
    "fps": Range(1, 240),
    "num_inference_steps": Range(1, 1000),
    "guidance_scale": Range(0, 100),
    "guidance_scale_2": Range(0, 100),
    "flow_shift": Range(0.01, 100),
    "flow_shift_480p": Range(0.01, 100),
    "text_length": Range(1, 4096, " tokens"),
    "causal_block": Range(1, 1024, " latent frames"),
    "trained_window": Range(1, 100_000, " latent frames"),
    "image": OneOf(("channels", "first_latent", "none")),
    "last_image": OneOf(("none", "optional", "required")),
}


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
        samplers: ways of noising it was trained for, each of which serves several samplers: `full` (one level for all
            frames), `causal` (clean frames behind a mask), `forcing` (a level of its own for each frame).
        sampler: the preset that runs where none is asked for; `full` where None.
        solver: its solver where none is asked for; the folder's scheduler's where None.
        sigmas: falling noise levels that it was distilled for, one for each step; the scheduler's where empty.
        causal_block: latent frames per block of causal sampling.
        trained_window: latent frames seen at once in training; the default causal window.
        closed_vocabulary: whether words outside its tokenizer mean nothing to it.
        image: how it takes a first frame: `first_latent` (level 0, as Wan2.2-TI2V), `channels` (beside the noisy ones,
            as the I2V models, which make nothing without), or `none`.
        last_image: whether it takes a last frame too: `none`, `optional` or `required`.
        guidance_scale_2: of the second of two experts, for low noise; `guidance_scale` where None.
        flow_shift: how far the sigma table is shifted towards noise; as the folder's scheduler says where None.
        flow_shift_480p: the same for sizes up to 832x480, where it differs.
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
    sampler: str | None = None
    solver: str | None = None
    sigmas: list[float] = field(default_factory=list)
    causal_block: int = 3
    trained_window: int = 21
    closed_vocabulary: bool = False
    image: str = "none"
    last_image: str = "none"
    guidance_scale_2: float | None = None
    flow_shift: float | None = None
    flow_shift_480p: float | None = None

    def shift_for(self, *, height: int, width: int) -> float | None:
        """The flow shift that it names for a size in pixels; None where it leaves that to the folder's scheduler."""
        small = height * width <= SMALL_PX
        return self.flow_shift_480p if small and self.flow_shift_480p is not None else self.flow_shift


def card_for(folder: Path, configs: dict[str, dict[str, Any]], variant: Path | None = None) -> ModelCard:
    """The card of a model folder, or of a variant in it.

    Args:
        folder: the diffusers-format folder.
        configs: its parsed configs by component ("pipeline" is model_index.json), which presets are matched with.
        variant: the variant's folder.

    Raises:
        ModelError: the card is malformed, or there is none and no preset matches.
    """
    content, where = _content(folder, configs)
    card = _card(content, where)
    if variant is None:
        return card
    own = variant / CARD_FILE
    said = _parse(_text(own), str(own)) if own.is_file() else {}
    return _card(content | {"name": f"{card.name}:{variant.name}"} | said, str(own))


def _content(folder: Path, configs: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """What the card of a folder says, unchecked, and where."""
    own = folder / CARD_FILE
    if own.is_file():
        return _parse(_text(own), str(own)), str(own)
    fits = []
    for preset in files("vgen").joinpath("configs", "models").iterdir():
        content = yaml.safe_load(preset.read_text(encoding="utf-8"))
        match = content.pop("match")
        if _agrees(match, configs):
            fits.append((sum(len(keys) for keys in match.values()), preset.name, content))
    if not fits:
        raise ModelError(
            f"{folder}: no {CARD_FILE} beside the weights, and no preset in configs/models fits its config"
        )
    _, name, content = max(fits, key=lambda fit: fit[:2])
    return content, name


def _agrees(match: dict[str, dict[str, Any]], configs: dict[str, dict[str, Any]]) -> bool:
    return all(
        configs.get(component, {}).get(key) == value for component, keys in match.items() for key, value in keys.items()
    )


def _text(path: Path) -> str:
    if path.stat().st_size > CARD_LIMIT_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size} bytes are no model card; at most {CARD_LIMIT_BYTES}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a model card: not readable as text: {error}") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    """Scalars and lists of scalars by name. Interpolation is refused: OmegaConf, which checks types, would do it."""
    try:
        content = load_yaml(text, where)
    except ConfigError as error:
        raise ModelError(f"{error}; this is not a model card") from error
    if not isinstance(content, dict):
        raise ModelError(f"{where}: not a model card: a mapping is needed, got {type(content).__name__}")
    for key, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | int | float | None):
                raise ModelError(f"{where}: not a model card: {key} holds a {type(item).__name__}")
            if isinstance(item, str) and "${" in item:
                raise ModelError(f"{where}: {key} holds an interpolation {item!r}; write the value itself")
    return content


def _card(content: dict[str, Any], where: str) -> ModelCard:
    try:
        card = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelCard), content))
    except OmegaConfBaseException as error:
        raise ModelError(f"{where}: not a model card: {str(error).splitlines()[0]}") from error
    assert isinstance(card, ModelCard), f"{where} became {type(card).__name__}"
    for name, check in CHECKS.items():
        value = getattr(card, name)
        _refuse(where, name, value, None if value is None else check.problem(value))
    samplers = OneOf(TRAININGS)
    for sampler in card.samplers:
        _refuse(where, "samplers", sampler, samplers.problem(sampler))
    _refuse(where, "samplers", [], None if card.samplers else "at least one is needed")
    _check_sampling(card, where)
    named = card.name.strip() and card.name.isprintable()
    _refuse(where, "name", card.name, None if named else "a name that can be printed is needed")
    if card.causal_block > card.trained_window:
        _refuse(where, "causal_block", card.causal_block, f"possible: up to trained_window, {card.trained_window}")
    return card


def _check_sampling(card: ModelCard, where: str) -> None:
    """Refuses defaults of sampling that the card itself speaks against."""
    if card.sampler is not None:
        able = tuple(name for name, row in sampler_presets().items() if row["sampler.needs"] in card.samplers)
        _refuse(where, "sampler", card.sampler, OneOf(able).problem(card.sampler))
    if card.solver is not None:
        _refuse(where, "solver", card.solver, OneOf(SOLVERS).problem(card.solver))
    _refuse(where, "sigmas", card.sigmas, sigmas_problem(card.sigmas) if card.sigmas else None)
    if card.sigmas and len(card.sigmas) != card.num_inference_steps:
        wrong = f"there is one for each of num_inference_steps, {card.num_inference_steps}"
        _refuse(where, "sigmas", card.sigmas, wrong)


def _refuse(where: str, name: str, value: object, problem: str | None) -> None:
    if problem is not None:
        raise ModelError(f"{where}: {name}={value!r} is not possible in a model card; {problem}")
