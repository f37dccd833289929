"""The autoencoder over a whole clip equals diffusers' chunked walk."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from vgen.training.whole import decode_whole, encode_whole

LAYOUTS = {
    "residual": {"is_residual": True, "dim_mult": [1, 2, 2], "temperal_downsample": [True, True]},
    "plain": {"is_residual": False, "dim_mult": [1, 2, 4], "temperal_downsample": [True, True]},
    "space first": {"is_residual": False, "dim_mult": [1, 2, 2, 2], "temperal_downsample": [False, True, True]},
}


def small_vae(layout: str) -> AutoencoderKLWan:
    torch.manual_seed(0)
    patch = None if layout == "space first" else 2
    channels = 3 if patch is None else 12
    return AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        num_res_blocks=1,
        patch_size=patch,
        in_channels=channels,
        out_channels=channels,
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
        **LAYOUTS[layout],
    ).eval()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("frames", [1, 5, 13])
@torch.no_grad()
def test_equals_the_stock_walk(layout: str, frames: int) -> None:
    vae = small_vae(layout)
    video_BCFYX = torch.rand(2, 3, frames, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    posterior = vae.encode(video_BCFYX).latent_dist
    mean_BCTHW, logvar_BCTHW = encode_whole(vae, video_BCFYX)
    assert mean_BCTHW.shape == (2, 4, (frames - 1) // 4 + 1, 2, 3)
    torch.testing.assert_close(mean_BCTHW, posterior.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(logvar_BCTHW, posterior.logvar, rtol=0, atol=1e-5)
    decoded_BCFYX = decode_whole(vae, posterior.mean)
    assert decoded_BCFYX.shape == video_BCFYX.shape
    torch.testing.assert_close(decoded_BCFYX.clamp(-1, 1), vae.decode(posterior.mean).sample, rtol=0, atol=2e-5)
