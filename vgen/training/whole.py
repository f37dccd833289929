"""A Wan autoencoder over a whole clip at once, for training.

diffusers' `AutoencoderKLWan` walks a clip in chunks of four frames and keeps a cache per convolution; its result is
that of causal convolutions over the whole clip, with the first frame treated on its own where time is halved or
doubled. Written so, one pass has a fifth of the kernel calls and can be compiled. `tests/training/test_whole.py` holds
both to the stock result. Leaves tiling, slicing and caches to the stock class, which inference uses.
"""

from typing import cast

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanResample,
    WanResidualDownBlock,
    WanResidualUpBlock,
    WanUpBlock,
    patchify,
    unpatchify,
)
from torch import Tensor, nn

__all__ = ["channels_last", "decode_whole", "encode_whole"]


def encode_whole(vae: AutoencoderKLWan, video_BCFYX: Tensor) -> tuple[Tensor, Tensor]:
    """What `vae.encode` finds, in one pass.

    Args:
        vae: stock autoencoder.
        video_BCFYX: RGB in -1..1; 4 k + 1 frames, rows and columns in multiples of 8.

    Returns:
        mean_BCTHW and logvar_BCTHW of the posterior, logvar clamped to -30..20 as the stock class does.
    """
    assert video_BCFYX.shape[2] % 4 == 1, f"a clip has 4 k + 1 frames, got {video_BCFYX.shape[2]}"
    encoder = vae.encoder
    x = _patched(vae, video_BCFYX)
    x = encoder.conv_in(x)
    for layer in encoder.down_blocks:
        x = _down(layer, x)
    x = encoder.conv_out(encoder.nonlinearity(encoder.norm_out(encoder.mid_block(x))))
    mean_BCTHW, logvar_BCTHW = vae.quant_conv(x).chunk(2, dim=1)
    return mean_BCTHW, logvar_BCTHW.clamp(-30.0, 20.0)


def decode_whole(vae: AutoencoderKLWan, latents_BCTHW: Tensor) -> Tensor:
    """What `vae.decode` makes, in one pass and before its clamp to -1..1, so that gradients survive.

    Returns:
        video_BCFYX with F = 4 (T - 1) + 1.
    """
    decoder = vae.decoder
    x = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(latents_BCTHW)))
    for block in decoder.up_blocks:
        x = _up(block, x)
    x = decoder.conv_out(decoder.nonlinearity(decoder.norm_out(x)))
    patch = vae.config.patch_size
    return x if patch is None else cast(Tensor, unpatchify(x, patch))


def _patched(vae: AutoencoderKLWan, video_BCFYX: Tensor) -> Tensor:
    patch = vae.config.patch_size
    return video_BCFYX if patch is None else cast(Tensor, patchify(video_BCFYX, patch))


def _down(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, WanResample):
        x = _each_frame(layer.resample, x)
        if layer.mode == "downsample3d":  # the first frame stands alone, then two become one
            x = torch.cat([x[:, :, :1], layer.time_conv(x)], dim=2) if x.shape[2] > 1 else x
        return x
    if isinstance(layer, WanResidualDownBlock):
        shortcut = layer.avg_shortcut(x)
        for block in layer.resnets:
            x = block(x)
        if layer.downsampler is not None:
            x = _down(layer.downsampler, x)
        return x + shortcut
    return cast(Tensor, layer(x))


def _up(block: WanUpBlock | WanResidualUpBlock, x: Tensor) -> Tensor:
    skip = x
    for resnet in block.resnets:
        x = resnet(x)
    if isinstance(block, WanResidualUpBlock):
        if block.upsampler is None:
            return x
        return _upsample(block.upsampler, x) + block.avg_shortcut(skip, first_chunk=True)
    return x if block.upsamplers is None else _upsample(block.upsamplers[0], x)


def _upsample(layer: WanResample, x: Tensor) -> Tensor:
    if layer.mode == "upsample3d" and x.shape[2] > 1:  # the first frame stays one, each later one becomes two
        later = layer.time_conv(x[:, :, 1:]).unflatten(1, (2, -1))
        later = torch.stack((later[:, 0], later[:, 1]), dim=3).flatten(2, 3)
        x = torch.cat([x[:, :, :1], later], dim=2)
    return _each_frame(layer.resample, x)


def _each_frame(layer: nn.Module, x: Tensor) -> Tensor:
    batch = x.shape[0]
    frames = layer(x.permute(0, 2, 1, 3, 4).flatten(0, 1))
    return cast(Tensor, frames.unflatten(0, (batch, -1)).permute(0, 2, 1, 3, 4))


def channels_last(vae: AutoencoderKLWan) -> None:
    """Convolution weights in the layout that CPU and GPU kernels like best here (a tenth faster on a CPU)."""
    for weight in vae.parameters():
        if weight.ndim >= 4:
            layout = torch.channels_last_3d if weight.ndim == 5 else torch.channels_last
            weight.data = weight.data.contiguous(memory_format=layout)
