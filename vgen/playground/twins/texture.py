"""Keyed textures without pictures: noise and grids that any point of the plane can be asked for, at any scale."""

import torch
from torch import Tensor

__all__ = ["fractal_noise", "hashed", "value_noise"]

_MASK = 0xFFFFFFFF


def hashed(column: Tensor, row: Tensor, *, key: int) -> Tensor:
    """A number in 0..1 for each cell of a grid, the same on every machine.

    Rounds of multiplying and folding in 32 bits (after Wellons, "Prospecting for Hash Functions", 2018: lowbias32).
    """
    mixed = (column.long() * 0x9E3779B1 + row.long() * 0x85EBCA77 + (key * 0xC2B2AE3D & _MASK)) & _MASK
    for factor in (0x7FEB352D, 0x846CA68B):
        mixed = ((mixed ^ (mixed >> 16)) * factor) & _MASK
    return ((mixed ^ (mixed >> 16)) & 0xFFFFFF).float() / 0xFFFFFF


def value_noise(x: Tensor, y: Tensor, *, key: int) -> Tensor:
    """Smooth noise in 0..1 with one random value per unit cell; `x` and `y` are broadcast against each other."""
    column, row = x.floor(), y.floor()
    s, t = (3 * part**2 - 2 * part**3 for part in (x - column, y - row))
    low = torch.lerp(hashed(column, row, key=key), hashed(column + 1, row, key=key), s)
    high = torch.lerp(hashed(column, row + 1, key=key), hashed(column + 1, row + 1, key=key), s)
    return torch.lerp(low, high, t)


def fractal_noise(x: Tensor, y: Tensor, *, key: int, octaves: int) -> Tensor:
    """Value noise in 0..1 over `octaves` scales, each half as coarse and half as strong as the one before."""
    total = torch.zeros(())
    for octave in range(octaves):
        total = total + 0.5**octave * value_noise(x * 2**octave, y * 2**octave, key=key + octave)
    return total / (2 - 0.5 ** (octaves - 1))
