"""Long clips from a model of short ones, by overlapping windows: denoisers that are made of a denoiser.

Each sees all frames at once and shows the model a window at a time, so they go with schedules that lower all frames
together and with no context. Letters here: `U` windows.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vgen.samplers.prompts import Cue
from vgen.samplers.protocols import Denoiser, NoisePolicy
from vgen.shapes import window_starts

__all__ = ["CoupledWindows", "Windowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed:
    """Windows that are denoised one by one and put together in every step.

    Args:
        denoise: the model, guided or not.
        window, stride: latent frames; stride at most window.
        merge: `mean` averages where windows overlap (MultiDiffusion, Bar-Tal et al. 2023, arXiv:2302.08113), `newest`
            takes the last.
    """

    denoise: Denoiser[Any]
    window: int
    stride: int
    merge: Literal["mean", "newest"] = "mean"

    def __post_init__(self) -> None:
        assert 1 <= self.stride <= self.window, f"windows leave no gaps, got {self}"

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: None = None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        pieces = self.pieces(x_BCTHW, sigma_BT, frames=frames, cues=cues, label_BT=label_BT)
        return self.merged(pieces, len(frames))

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: None, label: float = 0.0
    ) -> None:
        raise AssertionError("windows have no memory to commit to")

    def pieces(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        label_BT: Tensor | None,
    ) -> list[Tensor]:
        """The clean guess of each window."""
        return [
            self.denoise(
                x_BCTHW[:, :, part],
                sigma_BT[:, part],
                frames=frames[part],
                cues=cues[part],
                context=None,
                label_BT=None if label_BT is None else label_BT[:, part],
            )
            for part in self.parts(len(frames))
        ]

    def parts(self, frames: int) -> list[slice]:
        """Where each window lies."""
        return [slice(start, start + self.window) for start in window_starts(frames, self.window, self.stride)]

    def merged(self, pieces: list[Tensor], frames: int) -> Tensor:
        """One clip out of a piece per window."""
        batch, channels, _, height, width = pieces[0].shape
        whole = pieces[0].new_zeros((batch, channels, frames, height, width))
        share_T = pieces[0].new_zeros(frames)
        for part, piece in zip(self.parts(frames), pieces, strict=True):
            if self.merge == "newest":
                whole[:, :, part] = piece
            else:
                whole[:, :, part] += piece
                share_T[part] += 1
        return whole if self.merge == "newest" else whole / share_T.view(1, 1, -1, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoupledWindows:
    """SynCoS: windows that agree on one clip in every step (Kim et al. 2025, arXiv:2503.08605). Experimental.

    Three stages per step. The clean guesses of the windows are averaged; then, `iterations` times, the average is
    noised with the baseline noise at the present sigma (the grounded timestep) and denoised again, and every window
    moves by the residuals of all windows, weighted by how alike they are (an RBF kernel: collaborative score
    distillation, arXiv:2307.04787), and is averaged again; the solver then goes to the next level with the same
    baseline noise (`Renoise` over `FixedNoise`). Built from the paper's text, there is no public code. The kernel's
    gradient, which pushes windows apart in collaborative distillation, is left out: overlapping windows share frames.

    Args:
        windows: with `merge="mean"`.
        noise: its initial noise is the baseline.
        shape: of a latent frame.
        iterations: of the second stage; 0 is plain averaging. Each costs as much as the first stage.
        rate: of a move, 0..1; at 1 a window goes all the way.
    """

    windows: Windowed
    noise: NoisePolicy
    shape: tuple[int, int, int]
    iterations: int = 1
    rate: float = 0.5

    def __post_init__(self) -> None:
        assert self.iterations >= 0 and 0 <= self.rate <= 1, f"iterations from 0, rate in 0..1, got {self}"

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: None = None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        windows, count = self.windows, len(frames)
        guesses = windows.pieces(x_BCTHW, sigma_BT, frames=frames, cues=cues, label_BT=label_BT)
        x0_BCTHW = windows.merged(guesses, count)
        baseline_CTHW = torch.stack([self.noise.initial(frame, self.shape, None) for frame in frames], dim=1)
        sigma_BCTHW = sigma_BT.to(x_BCTHW)[:, None, :, None, None]
        for _ in range(self.iterations):
            noisy_BCTHW = (1 - sigma_BCTHW) * x0_BCTHW + sigma_BCTHW * baseline_CTHW.to(x_BCTHW)
            guesses = windows.pieces(noisy_BCTHW, sigma_BT, frames=frames, cues=cues, label_BT=label_BT)
            now = [x0_BCTHW[:, :, part] for part in windows.parts(count)]
            x0_BCTHW = windows.merged(self._moved(now, guesses), count)
        return x0_BCTHW

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: None, label: float = 0.0
    ) -> None:
        raise AssertionError("windows have no memory to commit to")

    def _moved(self, now: list[Tensor], guesses: list[Tensor]) -> list[Tensor]:
        """Each window, moved along the residuals of all."""
        residual_U = torch.stack([guess - at for guess, at in zip(guesses, now, strict=True)])
        kernel_UU = _likeness(torch.stack(now).flatten(1))
        step_U = torch.tensordot(kernel_UU / kernel_UU.sum(1, keepdim=True), residual_U, dims=1)
        return [at + self.rate * step for at, step in zip(now, step_U, strict=True)]


def _likeness(points_UD: Tensor) -> Tensor:
    """RBF kernel with the median of the distances as its width; [U, U]."""
    square_UU = torch.cdist(points_UD, points_UD).square()
    apart = square_UU[~torch.eye(len(points_UD), dtype=torch.bool, device=points_UD.device)]
    if not apart.numel() or float(apart.median()) == 0:
        return torch.ones_like(square_UU)
    return torch.exp(-square_UU / apart.median())
