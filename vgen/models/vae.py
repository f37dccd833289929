"""Pixels to latents and back, for Wan's causal video VAE, one latent frame at a time.

A Wan VAE turns 1 + 4 n frames into 1 + n latents; each convolution looks back on what came before. The decoder here
carries those features from push to push, so that any chunking equals the full decode bit for bit; decoding chunks
on their own would lose frames and show seams.
"""

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["StreamingDecoder", "as_pixels", "encode_frames", "latent_frames", "pixel_frames"]


def latent_frames(num_frames: int, per_latent: int = 4) -> int:
    """Latent frames that hold `num_frames` pixel frames: the least T with 1 + 4 (T - 1) >= num_frames."""
    return 1 + -(-(num_frames - 1) // per_latent)


def pixel_frames(frames: int, per_latent: int = 4) -> int:
    """Pixel frames of `frames` latent frames: 1 + 4 (T - 1)."""
    return 1 + per_latent * (frames - 1)


def as_pixels(vae: AutoencoderKLWan, frames_FYX3: NDArray[np.uint8]) -> Tensor:
    """Frames as the VAE takes them, in -1..1 on its device: frames_BCFYX with B = 1."""
    pixels_BCFYX = torch.tensor(frames_FYX3, device=vae.device).permute(3, 0, 1, 2)[None].to(vae.dtype)
    return pixels_BCFYX / 127.5 - 1.0


def _per_channel(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1, 1)


@torch.no_grad()
def encode_frames(vae: AutoencoderKLWan, frames_BCFYX: Tensor) -> Tensor:
    """Latents of frames in -1..1: the mode of the posterior, normalised by the folder's own mean and deviation.

    Args:
        vae: the folder's VAE.
        frames_BCFYX: F = 1 + 4 n frames in the VAE's dtype; an image is one frame.

    Returns:
        latents_BCTHW in the VAE's dtype.
    """
    assert frames_BCFYX.shape[2] % vae.config.scale_factor_temporal == 1, "a Wan VAE encodes 1 + 4 n frames"
    latents = vae.encode(frames_BCFYX).latent_dist.mode()
    return (latents - _per_channel(vae.config.latents_mean, latents)) * (
        1.0 / _per_channel(vae.config.latents_std, latents)
    )


class StreamingDecoder:
    """Decodes latents as they are finished; `push` in any portions equals one full decode.

    Args:
        vae: the folder's VAE; its own caches are not touched, so several decoders may share it.
    """

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae = vae
        self._features: list[Tensor | str | None] = [None] * vae._cached_conv_counts["decoder"]
        self._started = False

    def fork(self) -> "StreamingDecoder":
        """One that goes on from here by itself; what is remembered is replaced by a push, never written to."""
        copy = StreamingDecoder(self.vae)
        copy._features, copy._started = list(self._features), self._started
        return copy

    @torch.no_grad()
    def push(self, latents_BCTHW: Tensor) -> Tensor:
        """Frames of the next latents.

        Args:
            latents_BCTHW: normalised latents that follow those pushed before.

        Returns:
            frames_BCFYX in -1..1, fp32; F is 4 T, or 4 T - 3 where the clip's first latent is among them.
        """
        config = self.vae.config
        z = latents_BCTHW.to(self.vae.device, self.vae.dtype)
        mean, std = _per_channel(config.latents_mean, z), _per_channel(config.latents_std, z)
        z = self.vae.post_quant_conv(z / (1.0 / std) + mean)  # the stock pipeline's order of operations
        decoded = [self._decode_one(z[:, :, i : i + 1]) for i in range(z.shape[2])]
        frames = torch.cat(decoded, dim=2)
        if config.patch_size is not None:
            frames = unpatchify(frames, patch_size=config.patch_size)
        return frames.float().clamp(-1.0, 1.0)

    def _decode_one(self, z_BCTHW: Tensor) -> Tensor:
        first, self._started = not self._started, True
        frames: Tensor = self.vae.decoder(z_BCTHW, feat_cache=self._features, feat_idx=[0], first_chunk=first)
        return frames
