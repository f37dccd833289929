"""Rotary position embedding over (t, h, w), computed for any positions instead of read from a table.

Su et al. 2021, arXiv:2104.09864, with Wan's split of the head width: a third each for rows and columns, rounded down
to even, and the rest for time. Positions are explicit, so a window of a long clip, a cache or a sink can stand where
the sampler wants it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Rotation", "apply_rotation", "rotation"]

THETA = 10000.0


class Rotation(NamedTuple):
    """Cosine and sine of each token's angles, fp32 [L, 1, K/2]; P below is K/2."""

    cos_LNP: Tensor
    sin_LNP: Tensor


def _axis_angles(positions: Tensor, width: int) -> Tensor:
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device) / width
    return torch.outer(positions.to(torch.float64), THETA**-exponents)


def rotation(frames_T: Tensor, height: int, width: int, head_width: int) -> Rotation:
    """The rotation of each token of a T x height x width grid, in raster order.

    Args:
        frames_T: position of each frame; absolute latent indices, or any other, not necessarily contiguous.
        height, width: tokens per column and row of a frame.
        head_width: K, even.
    """
    device = frames_T.device
    space = 2 * (head_width // 6)
    frames = frames_T.shape[0]
    angles_t = _axis_angles(frames_T, head_width - 2 * space)
    angles_h = _axis_angles(torch.arange(height, device=device), space)
    angles_w = _axis_angles(torch.arange(width, device=device), space)
    angles = torch.cat(
        [
            angles_t[:, None, None].expand(frames, height, width, -1),
            angles_h[None, :, None].expand(frames, height, width, -1),
            angles_w[None, None, :].expand(frames, height, width, -1),
        ],
        dim=-1,
    ).reshape(frames * height * width, 1, head_width // 2)
    return Rotation(angles.cos().float(), angles.sin().float())


def apply_rotation(x_BLNK: Tensor, by: Rotation) -> Tensor:
    """Rotates neighbouring pairs of channels by each token's angles, in fp32; returns the dtype of x."""
    even, odd = x_BLNK.unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack((even * by.cos_LNP - odd * by.sin_LNP, even * by.sin_LNP + odd * by.cos_LNP), dim=-1)
    return rotated.flatten(-2).type_as(x_BLNK)
