"""Windows of captioned clips as a transformer reads them, encoded once and kept as safetensors.

A file is named by what is in it: the video, the window, the caption, the size, and the weights that encoded it. States
of the text end where the prompt does; the zeros behind it are put back on reading.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import pad

from vgen.errors import InputError
from vgen.files import os_errors, replacing
from vgen.frames import Frames
from vgen.models.conditioning import read_conditions
from vgen.models.files import sha256_of
from vgen.models.loaded import LoadedModel
from vgen.models.vae import as_pixels, encode_frames
from vgen.training.captioned import Captioned, windows
from vgen.training.config import recipe_digest
from vgen.training.loop import TrainingRecord

__all__ = ["Sample", "SampleFile", "empty_text", "encode_samples", "read_sample", "sample_files"]

ENCODERS = ("tokenizer/", "text_encoder/", "vae/", "image_encoder/", "image_processor/", "vgen.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One window.

    Args:
        x0_BCTHW: normalised latents, B = 1.
        text_BMD: states of the caption.
        image_BCTHW, image_BMD: the channels and states of its first frame, for models that take them.
    """

    x0_BCTHW: Tensor
    text_BMD: Tensor
    image_BCTHW: Tensor | None
    image_BMD: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """Where a window of a clip is kept."""

    clip: Captioned
    window: int
    path: Path


def sample_files(
    model: LoadedModel, clips: Sequence[Captioned], cache: Path, *, height: int, width: int
) -> list[SampleFile]:
    """A file for each window of each clip, in order, whether it is there or not."""
    encoders = {name: digest for name, digest in model.digests().items() if name.startswith(ENCODERS)}
    found = []
    for clip in clips:
        video = sha256_of(clip.path)
        for window, picked in enumerate(clip.picked):
            name = recipe_digest(encoders, video, picked, clip.caption, height, width)
            found.append(SampleFile(clip=clip, window=window, path=cache / f"{name}.safetensors"))
    return found


def encode_samples(
    model: LoadedModel, files: Sequence[SampleFile], *, height: int, width: int
) -> Iterator[TrainingRecord]:
    """Encodes what is not in the cache yet.

    Raises:
        InputError: a video is damaged, or the system refuses to write.
    """
    missing = [file for file in files if not file.path.is_file()]
    began, done = time.monotonic(), 0
    for clip in dict.fromkeys(file.clip for file in missing):
        wanted = {file.window: file.path for file in missing if file.clip is clip}
        for window, frames_FYX3 in enumerate(windows(clip, height=height, width=width)):
            if window not in wanted:
                continue
            _write(wanted[window], _encoded(model, clip.caption, frames_FYX3))
            done += 1
            eta_s = (time.monotonic() - began) / done * (len(missing) - done)
            yield TrainingRecord(stage="latents", step=done, done=done / len(missing), eta_s=eta_s)


def read_sample(path: Path, *, text_length: int) -> Sample:
    """A window as it was encoded.

    Raises:
        InputError: the file is damaged.
    """
    try:
        held = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged; remove it, so that it is made anew") from error
    return Sample(
        x0_BCTHW=held["latents"],
        text_BMD=_padded(held["text"], text_length),
        image_BCTHW=held.get("image_channels"),
        image_BMD=held.get("image_states"),
    )


@torch.no_grad()
def empty_text(model: LoadedModel) -> Tensor:
    """States of no caption, text_BMD."""
    return model.prompts("").float().cpu()


def _encoded(model: LoadedModel, caption: str, frames_FYX3: Frames) -> dict[str, Tensor]:
    images = []
    if model.card.image == "channels":
        last = [frames_FYX3[-1]] if model.card.last_image == "required" else []
        images = [frames_FYX3[0], *last]
    read = read_conditions(model, prompts=[caption], images_YX3=images, num_frames=len(frames_FYX3))
    tokens = min(model.prompts.tokens_of(caption), model.prompts.length)
    tensors = {
        "latents": encode_frames(model.vae, as_pixels(model.vae, frames_FYX3)),
        "text": read.states[caption][:, :tokens],
    }
    if read.image_CTHW is not None:
        tensors["image_channels"] = read.image_CTHW[None]
    if read.image_BMD is not None:
        tensors["image_states"] = read.image_BMD
    return {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}


def _padded(text_BMD: Tensor, length: int) -> Tensor:
    return pad(text_BMD, (0, 0, 0, length - text_BMD.shape[1]))


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise InputError(f"{path.name}: a clip became non-finite in encoding")
    with os_errors("make a folder for", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        save_file(tensors, partial)
