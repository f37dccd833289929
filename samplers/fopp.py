"""FoPP: AR-Diffusion's draw of noise levels that never fall from one frame to the next.

Sun et al. 2025, arXiv:2503.07418. A frame and its timestep are drawn uniformly; given them, all non-decreasing
sequences through that point are equally likely. So each frame sees most timesteps, unlike under a uniform draw of
sequences. The numbers of sequences overflow float64 at 16 frames and 1000 timesteps, hence logarithms.
Letters here: `F` frames of a sequence, `S` timesteps.
"""

import torch
from torch import Tensor

__all__ = ["draw_rising", "log_endings", "log_openings", "log_pmf"]


def log_openings(timesteps: int, frames: int) -> Tensor:
    """log of how many non-decreasing openings end at timestep t in frame f: C(t + f, f). Shape [S, F], float64."""
    t, f = _axes(timesteps, frames)
    return _log_binomial(t + f, f)


def log_endings(timesteps: int, frames: int) -> Tensor:
    """log of how many non-decreasing endings start there: C(S-1-t + F-1-f, F-1-f). Shape [S, F], float64."""
    t, f = _axes(timesteps, frames)
    left_t, left_f = timesteps - 1 - t, frames - 1 - f
    return _log_binomial(left_t + left_f, left_f)


def log_pmf(sequence_BF: Tensor, timesteps: int) -> Tensor:
    """log probability of non-decreasing integer sequences, float64 [B]: (1 / F S) sum_f 1 / (openings * endings)."""
    frames = sequence_BF.shape[1]
    through = log_openings(timesteps, frames) + log_endings(timesteps, frames)
    points_BF = through[sequence_BF, torch.arange(frames)]
    return torch.logsumexp(-points_BF, dim=1) - torch.log(torch.tensor(float(frames * timesteps), dtype=torch.float64))


def draw_rising(batch: int, frames: int, timesteps: int, generator: torch.Generator) -> Tensor:
    """Non-decreasing integers in 0..S-1, int64 [B, F]."""
    openings, endings = log_openings(timesteps, frames), log_endings(timesteps, frames)
    ladder = torch.arange(timesteps)
    pivot_B = torch.randint(frames, (batch,), generator=generator)
    drawn_BF = torch.randint(timesteps, (batch, 1), generator=generator).repeat(1, frames)
    for f in range(1, frames):  # to the right of the pivot: no less than the frame before
        allowed = ladder >= drawn_BF[:, f - 1, None]
        drawn_BF[:, f] = torch.where(f > pivot_B, _pick(endings[:, f], allowed, generator), drawn_BF[:, f])
    for f in range(frames - 2, -1, -1):  # to the left: no more than the frame after
        allowed = ladder <= drawn_BF[:, f + 1, None]
        drawn_BF[:, f] = torch.where(f < pivot_B, _pick(openings[:, f], allowed, generator), drawn_BF[:, f])
    return drawn_BF


def _pick(log_weight: Tensor, allowed_BS: Tensor, generator: torch.Generator) -> Tensor:
    """One index per row, with probability proportional to the weight where allowed."""
    cumulative_BS = log_weight.masked_fill(~allowed_BS, -torch.inf).softmax(dim=1).cumsum(dim=1)
    # 1 - u lies in (0, 1], so an index of weight 0 in front of the allowed ones is never hit
    u_B = 1 - torch.rand(allowed_BS.shape[0], 1, generator=generator, dtype=torch.float64)
    index_B = torch.searchsorted(cumulative_BS, u_B * cumulative_BS[:, -1:]).squeeze(1)
    return index_B.clamp(max=allowed_BS.shape[1] - 1)


def _axes(timesteps: int, frames: int) -> tuple[Tensor, Tensor]:
    t = torch.arange(timesteps, dtype=torch.float64)[:, None].expand(-1, frames)
    return t, torch.arange(frames, dtype=torch.float64)


def _log_binomial(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
