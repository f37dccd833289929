"""A folder of transformers on this disk, checked before it is loaded, and pictures as its model wants them.

safetensors only, kinds of models from our own list, no code of the folder, nothing fetched. torchvision is not needed:
pictures are resized whole, without the usual crop, since what breaks a law may lie at the edge.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vgen.errors import ModelError
from vgen.frames import Frames
from vgen.models.files import check_links, check_own, read_json, tensor_shapes, weight_files

__all__ = ["Folder", "Sight", "load_weights", "open_folder", "read_sight", "stride_for"]

WEIGHTS = "model.safetensors"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
MAX_SIDE_PX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that holds a model of a kind that was asked for.

    Args:
        path: where it lies.
        kind: its `model_type`.
        config: of the model.
    """

    path: Path
    kind: str
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the folder, for the names of scores."""
        return self.path.resolve().name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a model sees pictures.

    Args:
        side_px: of the square that they are resized to.
        mean, std: of the colours, on a scale of 0 to 1.
    """

    side_px: int
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]

    def __call__(self, frames_FYX3: Frames, device: torch.device) -> Tensor:
        """fp32 [F, 3, side, side]."""
        pixels_F3YX = torch.from_numpy(frames_FYX3).to(device).permute(0, 3, 1, 2).float() / 255
        size = (self.side_px, self.side_px)
        small_F3YX = functional.interpolate(pixels_F3YX, size, mode="bilinear", antialias=True, align_corners=False)
        mean_311, std_311 = (torch.tensor(v, device=device)[:, None, None] for v in (self.mean, self.std))
        return (small_F3YX - mean_311) / std_311


def open_folder(folder: Path | str, kinds: tuple[str, ...]) -> Folder:
    """Looks at a folder without reading weights.

    Raises:
        ModelError: it is missing or incomplete, or holds another kind of model.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"no folder '{path}'; a critic needs a model of transformers on this disk: {', '.join(kinds)}")
    check_links(path)
    config = read_json(path / "config.json")
    check_own(path, config)
    kind = config.get("model_type")
    if kind not in kinds:
        raise ModelError(f"{path}: holds a model of type {kind!r:.60}; possible: {', '.join(kinds)}")
    tensor_shapes(weight_files(path, WEIGHTS))
    return Folder(path=path, kind=str(kind), config=config)


def load_weights(cls: Any, folder: Folder) -> tuple[Any, torch.device]:
    """The model in fp32, frozen, on the GPU where there is one; and where that is.

    Args:
        cls: a class of transformers with `from_pretrained`.
        folder: as `open_folder` returned it.

    Raises:
        ModelError: damaged, or some weights are missing, which transformers would draw at random.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    broken = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
    try:
        with _quiet():
            model, report = cls.from_pretrained(
                folder.path,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (*broken, SafetensorError, StrictDataclassError) as error:
        said = " ".join(str(error).split())
        raise ModelError(f"{folder.path}: cannot be loaded: {type(error).__name__}: {said:.300}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"{folder.path}: weights lack {missing[0]} ({len(missing)} tensors are missing)")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.requires_grad_(False).eval().to(device), device


def read_sight(folder: Folder, *, side_px: int, multiple: int) -> Sight:
    """How the folder's processor wants pictures.

    Args:
        folder: whose processor is read; ImageNet's colours where it has none.
        side_px: where the folder does not say.
        multiple: the side is one of this, rounded down.

    Raises:
        ModelError: the processor's settings are none.
    """
    file = next((folder.path / name for name in PROCESSORS if (folder.path / name).is_file()), None)
    told = {} if file is None else read_json(file)
    where = file or folder.path
    crop = told.get("crop_size", told.get("size", side_px))
    side = crop.get("height", crop.get("shortest_edge", side_px)) if isinstance(crop, dict) else crop
    if not isinstance(side, int) or not multiple <= side <= MAX_SIDE_PX:
        raise ModelError(f"{where}: crop_size should be {multiple} to {MAX_SIDE_PX} pixels, got {crop!r:.60}")
    mean, std = (
        _colour(told, key, usual, where) for key, usual in zip(("image_mean", "image_std"), IMAGENET, strict=True)
    )
    if min(std) <= 0:
        raise ModelError(f"{where}: image_std should be above 0, got {list(std)}")
    return Sight(side_px=side // multiple * multiple, mean=mean, std=std)


def stride_for(frames: int, most: int) -> int:
    """Every so many-th frame is taken, so that there are at most `most`, all equally far apart."""
    return -(-frames // most)


def _colour(told: dict[str, Any], key: str, usual: tuple[float, ...], where: Path) -> tuple[float, ...]:
    values = told.get(key, list(usual))
    if not (isinstance(values, list) and len(values) == 3 and all(isinstance(v, int | float) for v in values)):
        raise ModelError(f"{where}: {key} should be three numbers, got {values!r:.60}")
    return tuple(map(float, values))


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers draws a bar, and warns of missing weights, which is an error here; the caller's settings return."""
    from transformers.utils import logging

    drawing, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if drawing:
            logging.enable_progress_bar()
