"""Denoisers whose answer is known, for tests of samplers.

KnownTarget    answers with a fixed clip, so every sampler must end at it
GaussianMean   linear in x, so what a sampler makes of its noise can be computed
CausalMix      frames that read earlier ones through two layers, cached or shown again: what a causal model does
"""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vgen.samplers import Cue

__all__ = ["Call", "CausalMix", "FrameContext", "GaussianMean", "KnownTarget", "MixContext"]


@dataclass
class FrameContext:
    """Remembers which frames were committed and dropped; nothing else."""

    frames: list[int] = field(default_factory=list)

    def fork(self) -> "FrameContext":
        return FrameContext(list(self.frames))

    def drop(self, frames: Container[int]) -> None:
        self.frames = [f for f in self.frames if f not in frames]


@dataclass(frozen=True)
class Call:
    """What a denoiser was asked: one number per frame, of the first clip in the batch."""

    frames: tuple[int, ...]
    sigmas: list[float]
    labels: list[float]
    cues: tuple[Cue, ...]
    x_BCTHW: Tensor


@dataclass
class KnownTarget:
    """Always answers with a fixed clean clip, [C, T, H, W]; frames before the clip are its first."""

    target: Tensor
    calls: list[Call] = field(default_factory=list)
    commits: list[Call] = field(default_factory=list)

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: Any,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        labels = sigma_BT if label_BT is None else label_BT
        self.calls.append(Call(frames, sigma_BT[0].tolist(), labels[0].tolist(), cues, x_BCTHW))
        return self.target[None, :, [max(frame, 0) for frame in frames]].to(x_BCTHW)

    def commit(
        self,
        x0_BCTHW: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: FrameContext,
        label: float = 0.0,
    ) -> None:
        self.commits.append(Call(frames, [0.0] * len(frames), [label] * len(frames), cues, x0_BCTHW))
        context.frames += frames


@dataclass(frozen=True)
class GaussianMean:
    """The exact posterior mean where x0 ~ N(0, scale^2): linear in x, so the answer of every solver can be bounded."""

    scale: float

    def gain(self, sigma: Tensor | float) -> Tensor | float:
        """x0 / x."""
        alpha = 1 - sigma
        return alpha * self.scale**2 / (alpha**2 * self.scale**2 + sigma**2)

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: Any,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        return x_BCTHW * self.gain(sigma_BT.to(x_BCTHW)[:, None, :, None, None])

    def commit(
        self,
        x0_BCTHW: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: FrameContext,
        label: float = 0.0,
    ) -> None:
        context.frames += frames


@dataclass
class MixContext:
    """What later frames read of each remembered one, a value for each of two layers, and the order they came in."""

    values: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def fork(self) -> "MixContext":
        return MixContext(dict(self.values))

    def drop(self, frames: Container[int]) -> None:
        self.values = {f: value for f, value in self.values.items() if f not in frames}

    def same(self, other: "MixContext") -> bool:
        """The same frames in the same order, to the last bit."""
        return list(self.values) == list(other.values) and all(
            torch.equal(a, b) for f in self.values for a, b in zip(self.values[f], other.values[f], strict=True)
        )


@dataclass(frozen=True)
class CausalMix:
    """Two linear layers in which a frame reads its own block and all that is visible before it, near ones more.

    As in a transformer, a remembered frame keeps what it read when it was written, so frames that are gone still speak
    through it; a frame's prompt and the sigma that the model is told of it are part of what others read.

    Args:
        block: frames that read one another.
        words: what each prompt adds.
    """

    block: int = 1
    words: tuple[float, ...] = (0.0, 0.5, -0.4)

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: MixContext | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        label_T = (sigma_BT if label_BT is None else label_BT)[0]
        return self._layers(x_BCTHW, label_T, frames, cues, context)[2].to(x_BCTHW)

    def commit(
        self,
        x0_BCTHW: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: MixContext,
        label: float = 0.0,
    ) -> None:
        label_T = torch.full((len(frames),), label, dtype=torch.float64)
        first, second, _ = self._layers(x0_BCTHW, label_T, frames, cues, context)
        for i, frame in enumerate(frames):
            assert frame not in context.values, f"frame {frame} is written twice"
            context.values[frame] = first[:, :, i], second[:, :, i]

    def _layers(
        self,
        x_BCTHW: Tensor,
        label_T: Tensor,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: MixContext | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        past = {} if context is None else context.values
        words_T = torch.tensor([self.words[cue.prompt] for cue in cues], dtype=torch.float64)
        first = x_BCTHW.double() * (1 - label_T / 2).view(1, 1, -1, 1, 1) + words_T.view(1, 1, -1, 1, 1)
        second = first + self._read(first, [value for value, _ in past.values()], [*past], frames) / 2
        third = second + self._read(second, [value for _, value in past.values()], [*past], frames) / 2
        return first, second, third * 0.4

    def _read(self, shown_BCTHW: Tensor, past: list[Tensor], past_frames: list[int], frames: tuple[int, ...]) -> Tensor:
        """Mean over what each shown frame sees, halved with every frame of distance."""
        values = torch.cat([*(value[:, :, None] for value in past), shown_BCTHW], dim=2)
        key = torch.tensor([*past_frames, *frames])
        query = torch.tensor(frames)
        apart = (query[:, None] - key).abs()
        sees = (key // self.block <= query[:, None] // self.block) | (apart == 0)
        weight = sees * 0.5 ** apart.double()
        return torch.einsum("bcmhw,tm->bcthw", values, weight / weight.sum(1, keepdim=True))
