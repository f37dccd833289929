"""Noise keyed by what it is for, so that chunks, windows, devices, ranks and resumed runs draw the same.

One generator per hash of (seed, purpose, frame, step), on the CPU in fp32. Drawing a whole clip in one call instead
would give the first frames of a longer clip other noise.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GivenNoise", "IndependentNoise", "NoiseSource"]


@dataclass(frozen=True, slots=True)
class NoiseSource:
    """Standard normal tensors, one per key."""

    seed: int

    def draw(self, purpose: str, frame: int, step: int, shape: tuple[int, ...]) -> Tensor:
        """The tensor of this key, fp32 on the CPU; the same whenever and wherever it is asked for."""
        key = hashlib.sha256(f"{self.seed}/{purpose}/{frame}/{step}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8]) >> 1)
        return torch.randn(shape, generator=generator)


@dataclass(frozen=True, slots=True)
class IndependentNoise:
    """Every frame its own noise."""

    source: NoiseSource

    def initial(self, frame: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("initial", frame, 0, shape)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("fresh", frame, step, shape)


@dataclass(frozen=True, slots=True)
class GivenNoise:
    """Starts from latents that the caller brings; fresh noise is drawn.

    Args:
        latents_CTHW: the initial noise of frames 0..T-1.
        source: of fresh noise.
    """

    latents_CTHW: Tensor
    source: NoiseSource

    def initial(self, frame: int, shape: tuple[int, int, int]) -> Tensor:
        given = self.latents_CTHW[:, frame]
        assert given.shape == shape, f"initial latents of {tuple(given.shape)} for a rollout of {shape}"
        return given.float().cpu()

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("fresh", frame, step, shape)
