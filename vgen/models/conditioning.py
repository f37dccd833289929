"""What denoisers read beside the noisy latents: the states of texts and images, and an image in channels of its own.

Those channels are what the I2V line of Wan takes: of each latent frame a mask, one channel per frame that it stands
for, 1 where that frame is given; and the latents of a clip that shows the given frames and is grey in between (Wan Team
2025, arXiv:2503.20314, section 5.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from torch import Tensor

from vgen.models.loaded import LoadedModel
from vgen.models.vae import as_pixels, encode_frames, latent_frames

__all__ = ["Conditions", "image_channels", "read_conditions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What the denoisers of one run read.

    Args:
        states: of the text encoder, by prompt.
        image_BMD: of the image encoder, where there is one.
        image_CTHW: an image's channels beside the noisy latents, where the model takes them.
    """

    states: dict[str, Tensor]
    image_BMD: Tensor | None
    image_CTHW: Tensor | None


def read_conditions(
    model: LoadedModel, *, prompts: Sequence[str], images_YX3: Sequence[NDArray[np.uint8]], num_frames: int
) -> Conditions:
    """Encodes each text and image once.

    Args:
        model: whose encoders read them.
        prompts: of both guidance branches; what stands there twice is read once.
        images_YX3: the first frame, and the last one where it is given.
        num_frames: of the clip.
    """
    channels = image_BMD = None
    if model.card.image == "channels":
        model.residence.use("vae")
        first_CYX, *last_CYX = (as_pixels(model.vae, image_YX3[None])[0, :, 0] for image_YX3 in images_YX3)
        channels = image_channels(model.vae, first_CYX, *last_CYX, num_frames=num_frames)
    states = model.states(prompts)
    if model.images is not None:
        model.residence.use("image_encoder")
        image_BMD = model.images(images_YX3)
    model.residence.encoded()
    return Conditions(states=states, image_BMD=image_BMD, image_CTHW=channels)


@torch.no_grad()
def image_channels(
    vae: AutoencoderKLWan, first_CYX: Tensor, last_CYX: Tensor | None = None, *, num_frames: int
) -> Tensor:
    """The channels beside those of the noisy latents, [C, T, H, W]: the mask's, then the latents'.

    Args:
        vae: the folder's VAE.
        first_CYX, last_CYX: the given frames in -1..1, in the VAE's dtype and on its device.
        num_frames: of the clip, 1 + 4 n; with a last frame at least two latent frames.
    """
    per_latent = vae.config.scale_factor_temporal
    count = latent_frames(num_frames, per_latent)
    assert last_CYX is None or count > 1, f"a first and a last frame need two latent frames, got {num_frames} frames"
    clip_CFYX = first_CYX.new_zeros(first_CYX.shape[0], num_frames, *first_CYX.shape[1:])
    clip_CFYX[:, 0] = first_CYX
    if last_CYX is not None:
        clip_CFYX[:, -1] = last_CYX
    latents_CTHW = encode_frames(vae, clip_CFYX[None])[0]
    mask_CTHW = latents_CTHW.new_zeros(per_latent, *latents_CTHW.shape[1:])
    mask_CTHW[:, 0] = 1  # the first latent frame stands for one frame, in all of its channels
    if last_CYX is not None:
        mask_CTHW[-1, -1] = 1
    return torch.cat((mask_CTHW, latents_CTHW))
