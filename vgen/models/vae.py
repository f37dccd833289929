"""Pixels to latents and back, for Wan's causal video VAE, one latent frame at a time.

A Wan VAE turns 1 + 4 n frames into 1 + n latents; each convolution looks back on what came before. The decoder here
carries those features from push to push, so that any chunking equals the full decode bit for bit; decoding chunks
on their own would lose frames and show seams.
"""

from dataclasses import dataclass

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


Features = list[Tensor | str | None]  # what a decoder's convolutions look back on


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiles:
    """How a frame is cut, as diffusers' `AutoencoderKLWan` cuts it: two numbers each, of rows and of columns.

    Args:
        size, stride: of tiles, in latents.
        out: what is kept of a decoded tile, and `blend` how far it runs into the next, in the decoder's outputs.
        frame: a whole frame, in the decoder's outputs.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    out: tuple[int, int]
    blend: tuple[int, int]
    frame: tuple[int, int]

    @classmethod
    def of(cls, vae: AutoencoderKLWan, z_BCTHW: Tensor) -> "_Tiles | None":
        """None where tiling is off, or a frame is not larger than a tile."""
        spatial, patch = vae.spatial_compression_ratio, vae.config.patch_size or 1
        size_px = (vae.tile_sample_min_height, vae.tile_sample_min_width)
        stride_px = (vae.tile_sample_stride_height, vae.tile_sample_stride_width)
        height, width = z_BCTHW.shape[3:]
        if not vae.use_tiling or (height <= size_px[0] // spatial and width <= size_px[1] // spatial):
            return None
        out = (stride_px[0] // patch, stride_px[1] // patch)
        return cls(
            size=(size_px[0] // spatial, size_px[1] // spatial),
            stride=(stride_px[0] // spatial, stride_px[1] // spatial),
            out=out,
            blend=(size_px[0] // patch - out[0], size_px[1] // patch - out[1]),
            frame=(height * spatial // patch, width * spatial // patch),
        )


class StreamingDecoder:
    """Decodes latents as they are finished; `push` in any portions equals one full decode.

    Where the VAE's tiling is enabled a frame is decoded in tiles, each with features of its own, and blended as
    diffusers does it; `push` then equals its tiled decode.

    Args:
        vae: the folder's VAE; its own caches are not touched, so several decoders may share it.
    """

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae = vae
        self._features: dict[tuple[int, int], Features] = {}  # by the first row and column of a tile
        self._started = False

    def fork(self) -> "StreamingDecoder":
        """One that goes on from here by itself; what is remembered is replaced by a push, never written to."""
        copy = StreamingDecoder(self.vae)
        copy._features, copy._started = dict(self._features), self._started
        return copy

    @torch.no_grad()
    def push(self, latents_BCTHW: Tensor) -> Tensor:
        """Frames of the next latents. A push that fails has not happened.

        Args:
            latents_BCTHW: normalised latents that follow those pushed before.

        Returns:
            frames_BCFYX in -1..1, fp32; F is 4 T, or 4 T - 3 where the clip's first latent is among them.
        """
        config = self.vae.config
        z = latents_BCTHW.to(self.vae.device, self.vae.dtype)
        mean, std = _per_channel(config.latents_mean, z), _per_channel(config.latents_std, z)
        z = z / (1.0 / std) + mean  # the stock pipeline's order of operations
        features = {corner: list(of) for corner, of in self._features.items()}
        decoded = [self._decode_one(z[:, :, i : i + 1], features, i) for i in range(z.shape[2])]
        frames = torch.cat(decoded, dim=2)
        if config.patch_size is not None:
            frames = unpatchify(frames, patch_size=config.patch_size)
        self._features, self._started = features, True
        return frames.float().clamp(-1.0, 1.0)

    def _decode_one(self, z_BCTHW: Tensor, features: dict[tuple[int, int], Features], index: int) -> Tensor:
        first, tiles = not self._started and index == 0, _Tiles.of(self.vae, z_BCTHW)
        if tiles is None:
            return self._decode(z_BCTHW, features, (0, 0), first)
        rows: list[list[Tensor]] = []
        for y in range(0, z_BCTHW.shape[3], tiles.stride[0]):
            row: list[Tensor] = []
            for x in range(0, z_BCTHW.shape[4], tiles.stride[1]):
                part = z_BCTHW[:, :, :, y : y + tiles.size[0], x : x + tiles.size[1]]
                tile = self._decode(part, features, (y, x), first)
                if rows:
                    tile = self.vae.blend_v(rows[-1][len(row)], tile, tiles.blend[0])
                if row:
                    tile = self.vae.blend_h(row[-1], tile, tiles.blend[1])
                row.append(tile)
            rows.append(row)
        kept = [torch.cat([tile[..., : tiles.out[0], : tiles.out[1]] for tile in row], dim=-1) for row in rows]
        return torch.cat(kept, dim=-2)[..., : tiles.frame[0], : tiles.frame[1]]

    def _decode(
        self, z_BCTHW: Tensor, features: dict[tuple[int, int], Features], corner: tuple[int, int], first: bool
    ) -> Tensor:
        if first:
            features[corner] = [None] * self.vae._cached_conv_counts["decoder"]
        z_BCTHW = self.vae.post_quant_conv(z_BCTHW)
        frames: Tensor = self.vae.decoder(z_BCTHW, feat_cache=features[corner], feat_idx=[0], first_chunk=first)
        return frames
