"""`WindowFusion`: overlapping windows of frames, attended to one by one and averaged. FreeNoise (Qiu et al. 2024,
arXiv:2310.15169, section 3.2): a long clip of which attention never sees more than the length that it was trained for.

Letter here: `P` tokens of a frame.
"""

from collections.abc import Sequence
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
        frames: of the video where calls ask for some of them alone, known by their absolute index from 0, and bring the
            keys of all windows that those are in; without context. None where the queries are all frames, in order.
    """

    inner: VideoAttention
    window: int
    stride: int
    weights: Literal["triangle", "flat"] = "triangle"
    frames: int | None = None

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
        frames, at_query, at_key, context = self._places(query, key)
        if self.window >= frames:
            return self.inner(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, layer=layer, sigma=sigma)
        starts, device = self.starts(frames), q_BLNK.device
        fused_BLNK = torch.zeros_like(q_BLNK, dtype=torch.promote_types(q_BLNK.dtype, torch.float32))
        for start, share_T in zip(starts, self.shares(frames), strict=True):
            asking, seen = (_within(range(start, start + self.window), at) for at in (at_query, at_key))
            if not asking:
                continue
            seen = [*range(context), *(context + place for place in seen)]
            rows, columns = _tokens(query, asking).to(device), _tokens(key, seen).to(device)
            out_BLNK = self.inner(
                q_BLNK[:, rows],
                k_BMNK[:, columns],
                v_BMNK[:, columns],
                query=replace(query, frames=tuple(query.frames[place] for place in asking)),
                key=replace(key, frames=tuple(key.frames[place] for place in seen)),
                layer=layer,
                sigma=sigma,
            )
            share_T = share_T[[at_query[place] for place in asking]]
            share_L = _by_token(query, share_T, text=1 / len(starts)).to(device)
            fused_BLNK.index_add_(1, rows, out_BLNK.to(fused_BLNK.dtype) * share_L[:, None, None])
        return fused_BLNK.to(q_BLNK.dtype)

    def _places(self, query: TokenGrid, key: TokenGrid) -> tuple[int, Sequence[int], Sequence[int], int]:
        """How many frames windows are laid over, where on them the frames of queries and keys stand, and how many keys
        of context are in front."""
        if self.frames is not None:
            return self.frames, query.frames, key.frames, 0
        frames, context = len(query.frames), len(key.frames) - len(query.frames)
        assert key.frames[context:] == query.frames, f"keys end with the query's frames, got {key} for {query}"
        return frames, range(frames), range(frames), context

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


def _within(window: range, places: Sequence[int]) -> list[int]:
    """Those of some frames that are in a window, in its order."""
    return sorted((i for i, place in enumerate(places) if place in window), key=places.__getitem__)


def _tokens(grid: TokenGrid, frames: list[int]) -> Tensor:
    """Indices of the text tokens and of those of some frames, in the order of the sequence."""
    index = torch.arange(grid.tokens)
    video_TP = index[grid.text_before : grid.text_before + grid.video_tokens].view(len(grid.frames), -1)
    after = index[grid.text_before + grid.video_tokens :]
    return torch.cat((index[: grid.text_before], video_TP[frames].flatten(), after))


def _by_token(grid: TokenGrid, share_T: Tensor, *, text: float) -> Tensor:
    """A value per frame as one per token; `text` for those of text."""
    video = share_T.repeat_interleave(grid.tokens_per_frame)
    return torch.cat((torch.full((grid.text_before,), text), video, torch.full((grid.text_after,), text)))
