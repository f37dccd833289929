"""Denoisers whose answer is known, for tests of samplers."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["FrameContext", "GaussianMean", "KnownTarget"]


@dataclass
class FrameContext:
    """Remembers which frames were committed and dropped; nothing else."""

    frames: list[int] = field(default_factory=list)

    def fork(self) -> "FrameContext":
        return FrameContext(list(self.frames))

    def drop(self, frames) -> None:  # type: ignore[no-untyped-def]
        self.frames = [f for f in self.frames if f not in frames]

    def state_dict(self) -> dict[str, Tensor]:
        return {"frames": torch.tensor(self.frames)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.frames = state["frames"].tolist()


@dataclass
class KnownTarget:
    """Always answers with a fixed clean clip, [C, T, H, W]."""

    target: Tensor
    calls: list[tuple[list[int], list[float]]] = field(default_factory=list)

    def __call__(self, x_BCTHW, sigma_BT, *, frames_T, text, context, label_BT=None):  # type: ignore[no-untyped-def]
        self.calls.append((frames_T.tolist(), sigma_BT[0].tolist()))
        return self.target[None, :, frames_T].to(x_BCTHW)

    def commit(self, x0_BCTHW, *, frames_T, text, context) -> None:  # type: ignore[no-untyped-def]
        context.frames += frames_T.tolist()


@dataclass
class GaussianMean:
    """The exact posterior mean where x0 ~ N(0, scale^2): linear in x, so the answer of every solver can be bounded."""

    scale: float

    def __call__(self, x_BCTHW, sigma_BT, *, frames_T, text, context, label_BT=None):  # type: ignore[no-untyped-def]
        sigma = sigma_BT.to(x_BCTHW)[:, None, :, None, None]
        alpha = 1 - sigma
        return x_BCTHW * alpha * self.scale**2 / (alpha**2 * self.scale**2 + sigma**2)

    def commit(self, x0_BCTHW, *, frames_T, text, context) -> None:  # type: ignore[no-untyped-def]
        context.frames += frames_T.tolist()
