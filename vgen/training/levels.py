"""Which noise level each latent frame of a training window gets, so that one checkpoint serves many samplers.

    together      one for all: full-sequence sampling
    independent   each its own (Diffusion Forcing: Chen et al. 2024, arXiv:2407.01392)
    rising        non-decreasing (AR-Diffusion's FoPP): rolling samplers
    prefix        some whole causal blocks clean, or none, the rest at one level: causal sampling with a cache
    continued     as prefix, with one clean block at least: a window that has moved on
    image         the first latent clean, the rest at one level: image to video

A window that starts mid-clip never comes without context: it would teach that clips begin in the middle of an event.
A new way is a function and an entry in `WAYS`, with its share in `MIX_FULL` or `MIX_CAUSAL`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vgen.samplers.fopp import draw_rising

__all__ = ["MIX_CAUSAL", "MIX_FULL", "WAYS", "draw_sigmas", "shifted"]

_RUNGS = 1000  # FoPP draws integers
_UNIFORM = 0.2  # share of levels drawn uniformly, so that both ends of the range are seen

MIX_FULL = {"together": 0.6, "image": 0.2, "prefix": 0.05, "independent": 0.05, "rising": 0.1}
MIX_CAUSAL = {"prefix": 0.6, "image": 0.15, "rising": 0.15, "independent": 0.1}
_NEED_START = ("together", "prefix", "image")


def draw_sigmas(
    from_start: list[bool], *, frames: int, block: int, mix: dict[str, float], shift: float, generator: torch.Generator
) -> Tensor:
    """Noise levels of a batch of windows.

    Args:
        from_start: of each window, whether it begins with the clip's latent 0, which alone encodes one picture; the
            others take `continued` in place of ways that need the start.
        frames: T.
        block: latent frames of a causal block.
        mix: shares of `WAYS`.
        shift: of the levels towards noise, as in the scheduler that samples.
        generator: of all draws.

    Returns:
        sigma_BT, fp32 in 0..1; 0 exactly where a frame is clean.
    """
    names = list(mix)
    shares = torch.tensor([mix[name] for name in names])
    chosen = torch.multinomial(shares, len(from_start), replacement=True, generator=generator).tolist()
    rows = []
    for first, index in zip(from_start, chosen, strict=True):
        name = names[index] if first or names[index] not in _NEED_START else "continued"
        rows.append(WAYS[name](frames, block, generator))
    return shifted(torch.stack(rows), shift)


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """s sigma / (1 + (s - 1) sigma): keeps 0 and 1 (Esser et al. 2024, arXiv:2403.03206)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def _unshifted(count: int, generator: torch.Generator) -> Tensor:
    """Levels before the shift: logit-normal, and some uniform."""
    normal = torch.randn(count, generator=generator).sigmoid()
    uniform = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < _UNIFORM, uniform, normal).clamp(1e-3, 1)


def _together(frames: int, block: int, generator: torch.Generator) -> Tensor:
    return _unshifted(1, generator).expand(frames)


def _independent(frames: int, block: int, generator: torch.Generator) -> Tensor:
    return _unshifted(frames, generator)


def _rising(frames: int, block: int, generator: torch.Generator) -> Tensor:
    return (draw_rising(1, frames, _RUNGS, generator)[0] + 1) / _RUNGS


def _prefix(frames: int, block: int, generator: torch.Generator) -> Tensor:
    return _with_clean(block * _blocks(0, frames, block, generator), frames, generator)


def _continued(frames: int, block: int, generator: torch.Generator) -> Tensor:
    return _with_clean(block * _blocks(1, frames, block, generator), frames, generator)


def _image(frames: int, block: int, generator: torch.Generator) -> Tensor:
    return _with_clean(1 if frames > 1 else 0, frames, generator)


def _blocks(least: int, frames: int, block: int, generator: torch.Generator) -> int:
    """How many blocks are clean; at least one frame stays noisy."""
    most = (frames - 1) // block
    return int(torch.randint(min(least, most), most + 1, (), generator=generator))


def _with_clean(clean: int, frames: int, generator: torch.Generator) -> Tensor:
    return torch.cat((torch.zeros(clean), _unshifted(1, generator).expand(frames - clean)))


WAYS: dict[str, Callable[[int, int, torch.Generator], Tensor]] = {
    "continued": _continued,
    "image": _image,
    "independent": _independent,
    "prefix": _prefix,
    "rising": _rising,
    "together": _together,
}
