"""What a request becomes by the layout of a model: the images that it takes, one guidance or two, the flow shift."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vgen.clip import Clip
from vgen.errors import ConfigError, InputError, ModelError
from vgen.models.loaded import AnyModel, LoadedModel
from vgen.models.schedulers import shift_of
from vgen.sampling import Sampling
from vgen.schema import GenerateConfig, RequestConfig

__all__ = ["check_images", "check_whole", "flow_shift_of", "guidance_of", "interval_of"]


def check_images(
    model: AnyModel,
    image_YX3: NDArray[np.uint8] | None,
    last_image_YX3: NDArray[np.uint8] | None,
    base: Clip | None,
) -> None:
    """Holds the pictures and the clip that a request begins and ends with to what the model takes.

    Raises:
        ModelError: it takes none of that kind, or makes nothing without.
    """
    card = model.card
    if (image_YX3 is not None or base is not None) and card.image == "none":
        raise ModelError(f"model '{model.id}' makes video from text alone; an image needs one that takes a first frame")
    if base is not None and card.image == "channels":
        raise ModelError(
            f"model '{model.id}' takes one first frame and cannot go on from a clip; begin from that clip's last frame "
            "with --image"
        )
    if card.image == "channels" and image_YX3 is None:
        raise ModelError(f"model '{model.id}' makes video from an image; give one with --image")
    if last_image_YX3 is not None and card.last_image == "none":
        raise ModelError(
            f"model '{model.id}' takes no last image; one that does is a first-and-last-frame model such as "
            "Wan2.1-FLF2V"
        )
    if last_image_YX3 is None and card.last_image == "required":
        raise ModelError(f"model '{model.id}' makes video between two images; give the other with --last-image")


def check_whole(model: LoadedModel, sampling: Sampling, has_last: bool) -> None:
    """Refuses what a model of two experts, or one that takes images in channels, cannot run; not even by force.

    Raises:
        ModelError: a sampler that makes a clip part by part.
        InputError: a clip too short for a first and a last image.
    """
    why = "has two transformers that share the steps" if model.dit_2 is not None else None
    why = "takes its image in channels of the whole clip" if model.card.image == "channels" else why
    if why is not None and not sampling.whole:
        raise ModelError(
            f"model '{model.id}' {why}, and sampler '{sampling.name}' makes a clip part by part; possible: one that "
            "lowers all frames together, such as full"
        )
    if has_last and sampling.frames < 2:
        raise InputError("one latent frame is asked for, which cannot be a first and a last image; ask for more frames")


def guidance_of(request: RequestConfig, model: LoadedModel) -> tuple[float, float | None]:
    """The guidance scales of the first and the second transformer; what is said of the first holds for both.

    Raises:
        ConfigError: one for a second transformer that is not there.
    """
    card = model.card
    first = card.guidance_scale if request.guidance_scale is None else request.guidance_scale
    if model.dit_2 is None:
        if request.guidance_scale_2 is not None:
            raise ConfigError(
                f"guidance_scale_2 is of a second transformer, and model '{model.id}' has one; say guidance_scale"
            )
        return first, None
    if request.guidance_scale_2 is not None:
        return first, request.guidance_scale_2
    if request.guidance_scale is not None or card.guidance_scale_2 is None:
        return first, first
    return first, card.guidance_scale_2


def interval_of(config: GenerateConfig, guided: bool, levels: Sequence[float]) -> tuple[float, float] | None:
    """The noise levels within which guidance works; None where that is all of them.

    Args:
        guided: whether there is any guidance.
        levels: of the steps, falling.

    Raises:
        ConfigError: no interval, one without a step in it, or nothing that it could bound.
    """
    asked, cache = config.request.guidance_interval, config.step_cache.name
    if asked is None:
        return None
    numbers = len(asked) == 2 and all(isinstance(end, int | float) and not isinstance(end, bool) for end in asked)
    if not numbers or not 0 <= asked[0] < asked[1] <= 1:
        raise ConfigError(f"guidance_interval={asked} is not possible; possible: [low, high] with 0 <= low < high <= 1")
    low, high = float(asked[0]), float(asked[1])
    if not guided:
        raise ConfigError(f"guidance_interval=[{low:g}, {high:g}] bounds guidance, and there is none: no scale above 1")
    if not any(low < level <= high for level in levels):
        near = ", ".join(f"{level:.3g}" for level in levels)
        raise ConfigError(f"guidance_interval=[{low:g}, {high:g}] holds none of the steps, which are at {near:.200}")
    if cache not in ("none", "first-block"):
        raise ConfigError(
            f"step cache '{cache}' counts the steps of each branch from the first, which guidance_interval leaves out; "
            "possible with it: none, first-block"
        )
    return low, high


def flow_shift_of(request: RequestConfig, model: LoadedModel, *, height: int, width: int) -> tuple[float, list[str]]:
    """The flow shift: as asked for, or the card's for this size, or the folder's; with a note where those two part."""
    own = shift_of(model.scheduler)
    if request.flow_shift is not None:
        return request.flow_shift, []
    named = model.card.shift_for(height=height, width=width)
    if named is None or named == own:
        return own, []
    return named, [
        f"flow shift {named:g}, as the model card says for {width}x{height}; the folder's scheduler has {own:g}"
    ]
