"""Noise that keeps the low frequencies of something else: `LowPass`, `mix`, and two policies made of them.

What makes frames agree (layout, colour, slow motion) lies in the low spatial and temporal frequencies of a latent. A
new filter is an entry in `FILTERS`.

Letter here: `R` columns of the transform of a real frame, W // 2 + 1. Frequency 1 is the highest that the lattice
holds: the sign changes from one latent to the next.
"""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

import torch
from torch import Tensor

from vgen.errors import ConfigError, nearest
from vgen.samplers.noise import require
from vgen.samplers.protocols import NoisePolicy

__all__ = ["FILTERS", "CoherentTail", "FreeInitNoise", "LowPass", "mix"]

_ORDER = 4  # of the Butterworth filter, as FreeInit has it

# name -> which share of a frequency passes, from (frequency / stop frequency)^2
FILTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "all": torch.ones_like,
    "butterworth": lambda square: 1 / (1 + square**_ORDER),
    "gaussian": lambda square: torch.exp(-square / 2),
    "ideal": lambda square: (square <= 1).to(square.dtype),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LowPass:
    """A low-pass filter over clips, or over each frame by itself.

    The filters of FreeInit (Wu et al. 2023, arXiv:2312.07537), save for two places where the published code departs
    from their definition: it puts frequency 0 half a bin off on axes of odd length, and ends `ideal` at the square root
    of twice the stop frequency.

    Args:
        kind: a name in `FILTERS`; `all` passes everything.
        space: stop frequency of rows and columns, above 0; `butterworth` passes one half there.
        time: stop frequency of frames, above 0; None filters each frame by itself.
    """

    kind: str = "butterworth"
    space: float = 0.25
    time: float | None = 0.25

    def __post_init__(self) -> None:
        if self.kind not in FILTERS:
            raise ConfigError(f"noise low-pass: kind={self.kind!r} is unknown; {nearest(self.kind, FILTERS)}")
        require(self.space > 0, f"low-pass: space={self.space}", "a frequency above 0; 1 is the highest there is")
        if self.time is not None:
            require(self.time > 0, f"low-pass: time={self.time}", "a frequency above 0, or none to leave time alone")

    def share(self, shape: tuple[int, ...]) -> Tensor:
        """Which share of each frequency passes for latents of [..., T, H, W]: [T, H, R], or [H, R] without `time`."""
        stops = (self.space, self.space) if self.time is None else (self.time, self.space, self.space)
        sizes = shape[-len(stops) :]
        bins = [*map(torch.fft.fftfreq, sizes[:-1]), torch.fft.rfftfreq(sizes[-1])]
        axes = [(2 * at / stop) ** 2 for at, stop in zip(bins, stops, strict=True)]
        return FILTERS[self.kind](torch.stack(torch.meshgrid(axes, indexing="ij")).sum(0))


def mix(low: Tensor, high: Tensor, share: Tensor) -> Tensor:
    """The low frequencies of one and the high ones of the other: LPF(low) + (1 - LPF)(high).

    Args:
        low, high: real, [..., T, H, W].
        share: of each frequency that passes the filter, [T, H, R] or [H, R], as `LowPass.share` gives it.

    Returns:
        Real, in the shape of both. Independent standard normal inputs leave less than unit variance where the filter
        is between 0 and 1: s^2 + (1 - s)^2 at share s.
    """
    dims = tuple(range(-share.ndim, 0))
    moved = torch.fft.irfftn(share * torch.fft.rfftn(low - high, dim=dims), s=low.shape[-share.ndim :], dim=dims)
    return high + moved


@dataclass(frozen=True, slots=True)
class CoherentTail:
    """A new frame keeps the layout of the frame before it (Ouroboros-Diffusion: Chen et al. 2025, arXiv:2501.09019).

    LPF(before) + (1 - LPF)(eta), where `before` is the latent of the frame in front as it stands and eta the noise of
    `inner`. Along frames that are all pure noise the low frequencies would fade, see `mix`; in a queue the frame in
    front has begun to become picture. No code of the method is published; FreeInit's filter stands in. Left out:
    subject-aware cross-frame attention, which needs the attention maps of the subject's words, and self-recurrent
    guidance, which needs gradients through the model.

    Args:
        inner: where eta and all other noise comes from.
        low_pass: over each frame, so without `time`.
    """

    inner: NoisePolicy
    low_pass: LowPass = field(default_factory=lambda: LowPass(time=None))

    def __post_init__(self) -> None:
        require(self.low_pass.time is None, f"coherent tail: time={self.low_pass.time}", "none, it mixes single frames")

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        eta_CHW = self.inner.initial(frame, shape, before)
        return eta_CHW if before is None else mix(before.float().cpu(), eta_CHW, self.low_pass.share(shape))

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.inner.fresh(frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return self.inner.again(x0_CTHW, frames, step)


@dataclass(frozen=True, slots=True)
class FreeInitNoise:
    """A clip that starts anew keeps its low frequencies (FreeInit: Wu et al. 2023, arXiv:2312.07537).

    LPF(z) + (1 - LPF)(fresh noise), where z is the clip under its own initial noise. In the paper z stands at the last
    timestep of training, which leaves some of the clip in it: .040 of the noise's size for AnimateDiff, .068 for Stable
    Diffusion's schedule. Flow matching ends at sigma 1, where nothing of the clip is left and all runs would only share
    noise; hence `sigma`, at the former ratio, (1 - sigma) / sigma. z is brought back to unit variance, for latents of
    unit variance, because the model is to take it for pure noise. Made for a lift of a whole clip to the top level.

    Args:
        inner: where all noise comes from; its initial noise must not depend on the frame before.
        low_pass: over the clip.
        sigma: of z, 0 to 1; 1 keeps nothing of the clip but its initial noise.
    """

    inner: NoisePolicy
    _: KW_ONLY
    low_pass: LowPass = field(default_factory=LowPass)
    sigma: float = 0.96

    def __post_init__(self) -> None:
        require(0 <= self.sigma <= 1, f"freeinit: sigma={self.sigma}", "0 to 1")

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return self.inner.initial(frame, shape, before)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.inner.fresh(frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        channels, _, height, width = x0_CTHW.shape
        eps_CTHW = torch.stack([self.inner.initial(f, (channels, height, width), None) for f in frames], dim=1)
        z_CTHW = (1 - self.sigma) * x0_CTHW.float().cpu() + self.sigma * eps_CTHW
        z_CTHW /= math.hypot(1 - self.sigma, self.sigma)
        return mix(z_CTHW, self.inner.again(x0_CTHW, frames, step), self.low_pass.share(z_CTHW.shape))
