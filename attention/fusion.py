"""`WindowFusion`: overlapping windows of frames, attended to one by one and averaged. FreeNoise (Qiu et al. 2024,
arXiv:2310.15169, section 3.2): a long clip of which attention never sees more than the length that it was trained for.

Letter here: `P` tokens of a frame.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from vgen.attention.dense import VideoAttention
from vgen.attention.pattern import require
from vgen.shapes import TokenGrid, window_starts

__all__ = ["WindowFusion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFusion:
    """A `VideoAttention` of windows. The last one is moved back where it would reach past the end.

    Each window sees all text and all cached context beside its own frames. What text tokens become is the plain mean.

    Args:
        inner: what each window is attended to by.
        window: latent frames; at least 1.
        stride: latent frames from one window to the next; 1 to `window`.
        weights: of the frames of a window in the mean: `triangle` rises to its middle, as published, or `flat`.
    """

    inner: VideoAttention
    window: int
    stride: int
    weights: Literal["triangle", "flat"] = "triangle"

    def __post_init__(self) -> None:
        require(self.window >= 1, f"window fusion: window={self.window}", "1 frame and more")
        require(
            1 <= self.stride <= self.window, f"window fusion: stride={self.stride}", f"1 to {self.window} (the window)"
        )
        require(self.weights in ("triangle", "flat"), f"window fusion: weights={self.weights!r}", "triangle, flat")

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        """As `VideoAttention`; the mean is taken in fp32 at least."""
        frames, context = len(query.frames), len(key.frames) - len(query.frames)
        assert key.frames[context:] == query.frames, f"keys end with the query's frames, got {key} for {query}"
        if self.window >= frames:
            return self.inner(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, layer=layer, sigma=sigma)
        starts, device = self.starts(frames), q_BLNK.device
        fused_BLNK = torch.zeros_like(q_BLNK, dtype=torch.promote_types(q_BLNK.dtype, torch.float32))
        for start, share_T in zip(starts, self.shares(frames), strict=True):
            seen = range(start, start + self.window)
            rows = _tokens(query, seen).to(device)
            columns = _tokens(key, [*range(context), *(context + frame for frame in seen)]).to(device)
            out_BLNK = self.inner(
                q_BLNK[:, rows],
                k_BMNK[:, columns],
                v_BMNK[:, columns],
                query=replace(query, frames=query.frames[start : start + self.window]),
                key=replace(key, frames=key.frames[:context] + query.frames[start : start + self.window]),
                layer=layer,
                sigma=sigma,
            )
            share_L = _by_token(query, share_T[start : start + self.window], text=1 / len(starts)).to(device)
            fused_BLNK.index_add_(1, rows, out_BLNK.to(fused_BLNK.dtype) * share_L[:, None, None])
        return fused_BLNK.to(q_BLNK.dtype)

    def starts(self, frames: int) -> list[int]:
        """First frame of each window over a clip that is longer than one."""
        return window_starts(frames, self.window, self.stride)

    def shares(self, frames: int) -> Tensor:
        """Share of each window in each frame, fp32 [windows, frames]; over the windows they add up to 1."""
        rising = torch.arange(1, self.window + 1, dtype=torch.float32)
        weights = torch.minimum(rising, rising.flip(0)) if self.weights == "triangle" else torch.ones(self.window)
        starts = self.starts(frames)
        table = torch.zeros(len(starts), frames)
        for window, start in enumerate(starts):
            table[window, start : start + self.window] = weights
        return table / table.sum(0)


def _tokens(grid: TokenGrid, frames: range | list[int]) -> Tensor:
    """Indices of the text tokens and of those of some frames, in the order of the sequence."""
    index = torch.arange(grid.tokens)
    video_TP = index[grid.text_before : grid.text_before + grid.video_tokens].view(len(grid.frames), -1)
    after = index[grid.text_before + grid.video_tokens :]
    return torch.cat((index[: grid.text_before], video_TP[list(frames)].flatten(), after))


def _by_token(grid: TokenGrid, share_T: Tensor, *, text: float) -> Tensor:
    """A value per frame as one per token; `text` for those of text."""
    video = share_T.repeat_interleave(grid.tokens_per_frame)
    return torch.cat((torch.full((grid.text_before,), text), video, torch.full((grid.text_after,), text)))
