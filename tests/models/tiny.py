"""What tests of the video transformer share: a tiny one with random weights, noise, and the sizes of its latents."""

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from tests.folders import tiny_transformer
from vgen.models.dit import VideoDiT

CHANNELS, HEIGHT, WIDTH = 16, 4, 6  # of a latent frame
TOKENS = 6  # of a frame, with patches of 2 x 2
LAYERS = 2
TEXT_TOKENS, TEXT_WIDTH = 8, 32


def ours_of(stock: WanTransformer3DModel) -> VideoDiT:
    dit = VideoDiT.from_config(stock.config)
    dit.load_state_dict(stock.state_dict())
    return dit.eval()


def tiny_dit(**config: int) -> VideoDiT:
    return ours_of(tiny_transformer(**config))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def latents(frames: int, *, batch: int = 1, seed: int = 0) -> Tensor:
    """x_BCTHW"""
    return noise(batch, CHANNELS, frames, HEIGHT, WIDTH, seed=seed)


def words(seed: int = 1, *, batch: int = 1) -> Tensor:
    """States of a text encoder, text_BMD."""
    return noise(batch, TEXT_TOKENS, TEXT_WIDTH, seed=seed)
