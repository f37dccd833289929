"""Noise keyed by what it is for, so that chunks, windows, devices, ranks and resumed runs draw the same.

One generator per hash of (seed, purpose, frame, step), on the CPU in fp32. Drawing a whole clip in one call instead
would give the first frames of a longer clip other noise.

    IndependentNoise   every frame its own
    GivenNoise         starts from latents that the caller brings
    RescheduledNoise   the frames of one window over and over, shuffled (FreeNoise)
    ProgressiveNoise   each frame resembles the one before it (PYoCo)
    FixedNoise         one noise per frame through all steps (SynCoS)

frequency.py has those that keep low frequencies. A new one is a frozen dataclass over a `NoiseSource`, or over another
policy, with the three methods of `NoisePolicy`.
"""

import hashlib
import math
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from vgen.errors import ConfigError
from vgen.samplers.protocols import NoisePolicy

__all__ = [
    "FixedNoise",
    "GivenNoise",
    "IndependentNoise",
    "NoiseSource",
    "ProgressiveNoise",
    "RescheduledNoise",
    "fresh_clip",
    "require",
]


@dataclass(frozen=True, slots=True)
class NoiseSource:
    """Standard normal tensors, one per key."""

    seed: int

    def draw(self, purpose: str, frame: int, step: int, shape: tuple[int, ...]) -> Tensor:
        """The tensor of this key, fp32 on the CPU; the same whenever and wherever it is asked for."""
        return torch.randn(shape, generator=self.generator(purpose, frame, step))

    def generator(self, purpose: str, frame: int = 0, step: int = 0) -> torch.Generator:
        """The generator of this key, on the CPU, for code of others that draws by itself."""
        key = hashlib.sha256(f"{self.seed}/{purpose}/{frame}/{step}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(key[:8]) >> 1)


def require(holds: bool, asked: str, possible: str) -> None:
    """Refuses a knob.

    Args:
        holds: whether the value makes sense.
        asked: policy, knob and value, as `progressive: alpha=-1`.
        possible: what the knob takes.

    Raises:
        ConfigError: it does not hold.
    """
    if not holds:
        raise ConfigError(f"noise {asked} is not possible; possible: {possible}")


def fresh_clip(noise: NoisePolicy, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
    """The fresh noise of all `frames`, [C, T, H, W]: what most policies answer to `again`, whatever the latents say."""
    channels, count, height, width = x0_CTHW.shape
    assert count == len(frames), f"{count} latents for the frames {frames}"
    return torch.stack([noise.fresh(frame, step, (channels, height, width)) for frame in frames], dim=1)


@dataclass(frozen=True, slots=True)
class IndependentNoise:
    """Every frame its own noise."""

    source: NoiseSource

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return self.source.draw("initial", frame, 0, shape)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("fresh", frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return fresh_clip(self, x0_CTHW, frames, step)


@dataclass(frozen=True, slots=True)
class GivenNoise:
    """Starts from latents that the caller brings; fresh noise is drawn.

    Args:
        latents_CTHW: the initial noise of frames 0..T-1; no others can be asked for.
        source: of fresh noise.
    """

    latents_CTHW: Tensor
    source: NoiseSource

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        count = self.latents_CTHW.shape[1]
        assert 0 <= frame < count, f"initial latents of {count} frames for a rollout that asks for frame {frame}"
        given = self.latents_CTHW[:, frame]
        assert given.shape == shape, f"initial latents of {tuple(given.shape)} for a rollout of {shape}"
        return given.to("cpu", torch.float32, copy=True)  # the caller may write to it

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("fresh", frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return fresh_clip(self, x0_CTHW, frames, step)


@dataclass(frozen=True, slots=True)
class RescheduledNoise:
    """The noise of one window over and over, shuffled (FreeNoise: Qiu et al. 2024, arXiv:2310.15169).

    The first `window` frames are independent; from there on every `stride` frames repeat, in random order, the `stride`
    frames that lie one window before them. So each window that starts at a multiple of the stride holds every base
    frame once. Clips have any length, or no end; frames below 0 are independent.

    Args:
        source: of everything.
        window: latent frames that have noise of their own; at least 1.
        stride: latent frames that are shuffled among themselves; 1 to `window`.
    """

    source: NoiseSource
    _: KW_ONLY
    window: int
    stride: int

    def __post_init__(self) -> None:
        require(self.window >= 1, f"rescheduled: window={self.window}", "1 frame and more")
        require(
            1 <= self.stride <= self.window, f"rescheduled: stride={self.stride}", f"1 to the window, {self.window}"
        )

    def base_frame(self, frame: int) -> int:
        """The frame below `window` whose noise this one has: itself, or found by going back from shuffle to shuffle.

        One look-up where the stride divides the window, else about `frame / window`.
        """
        while frame >= self.window:
            group, place = divmod(frame - self.window, self.stride)
            place = _shuffle(self.source, self.stride, group)[place]
            if self.window % self.stride == 0:  # always the same frames together, so all shuffles but the last are idle
                group %= self.window // self.stride
            frame = group * self.stride + place
        return frame

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return self.source.draw("initial", self.base_frame(frame), 0, shape)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("fresh", frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return fresh_clip(self, x0_CTHW, frames, step)


@lru_cache(maxsize=1 << 16)
def _shuffle(source: NoiseSource, stride: int, group: int) -> tuple[int, ...]:
    return tuple(source.draw("shuffle", group, 0, (stride,)).argsort().tolist())


@dataclass(frozen=True, slots=True)
class ProgressiveNoise:
    """Each frame resembles the one before it (PYoCo: Ge et al. 2023, arXiv:2305.10474).

    eps_i = (alpha eps_{i-1} + eta_i) / sqrt(1 + alpha^2) from eps_0 = eta_0 on, eta independent: unit variance, and
    frames d apart correlate by (alpha / sqrt(1 + alpha^2))^d. A frame is one draw after the one before it, and as many
    as lie in front of it otherwise. Frames below 0 are independent.

    Args:
        source: of everything.
        alpha: weight of the frame before; 0 is `IndependentNoise`.
    """

    source: NoiseSource
    alpha: float
    # by shape the frame asked for last and its noise: saves the way from frame 0, changes no result
    _last: dict[tuple[int, int, int], tuple[int, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        require(0 <= self.alpha < math.inf, f"progressive: alpha={self.alpha}", "0 and more, finite")

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        if frame <= 0:
            return self.source.draw("initial", frame, 0, shape)
        at, eps_CHW = self._last.get(shape, (0, None))
        if eps_CHW is None or at > frame:
            at, eps_CHW = 0, self.source.draw("initial", 0, 0, shape)
        scale = math.hypot(1, self.alpha)
        for i in range(at + 1, frame + 1):
            eps_CHW = (self.alpha / scale) * eps_CHW + self.source.draw("initial", i, 0, shape) / scale
        self._last[shape] = frame, eps_CHW
        return eps_CHW.clone()  # the caller may write to it

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("fresh", frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return fresh_clip(self, x0_CTHW, frames, step)


@dataclass(frozen=True, slots=True)
class FixedNoise:
    """One noise per frame, whatever the step (the baseline noise of SynCoS: Kim et al. 2025, arXiv:2503.08605)."""

    source: NoiseSource

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return self.source.draw("initial", frame, 0, shape)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return self.source.draw("initial", frame, 0, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return fresh_clip(self, x0_CTHW, frames, step)
