"""Rotary position embedding over (t, h, w), computed for any positions instead of read from a table.

Su et al. 2021, arXiv:2104.09864, with Wan's split of the head width: a third each for rows and columns, rounded down
to even, and the rest for time. Where a frame stands in time is a choice (`Rope`), so a window of a long clip, a cache
or a sink can stand where the sampler wants it. Leaves out which choices there are: samplers/positions.py.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vgen.errors import ConfigError
from vgen.samplers.protocols import PositionScheme

__all__ = ["Riflex", "Rope", "Rotation", "apply_rotation", "intrinsic_frequency", "rotation"]

THETA = 10000.0
MARGIN = 0.9  # of a period, which a clip is held below; published, for the few that repeat at their tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Riflex:
    """A clip longer than trained that does not repeat: one temporal frequency is lowered to less than a period of it.

    RIFLEx: Zhao et al. 2025, arXiv:2502.15894, equation 8. Changes nothing where the clip fits into the period already.

    Args:
        k: which temporal frequency, the fastest being 1; `intrinsic_frequency` finds it.
        length: latent frames from the first position to the last.
    """

    k: int
    length: int

    def __post_init__(self) -> None:
        assert self.k >= 1 and self.length >= 1, f"frequencies and frames are counted from 1, got {self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """How a pass of the model embeds time.

    Args:
        positions: of the visible frames; their absolute indices where None.
        riflex: the change of one frequency; none where None.
    """

    positions: PositionScheme | None = None
    riflex: Riflex | None = None

    def places(self, frames: tuple[int, ...]) -> dict[int, int]:
        """Position of each visible frame, whatever order the frames come in."""
        visible = tuple(sorted(set(frames)))
        positions = visible if self.positions is None else self.positions(visible)
        return dict(zip(visible, positions, strict=True))


class Rotation(NamedTuple):
    """Cosine and sine of each token's angles, fp32 [L, 1, K/2], and both as one complex number; P below is K/2."""

    cos_LNP: Tensor
    sin_LNP: Tensor
    turn_LNP: Tensor


def _widths(head_width: int) -> tuple[int, int]:
    """Channels of a head for time, and for each of rows and columns."""
    space = 2 * (head_width // 6)
    return head_width - 2 * space, space


def _frequencies(width: int, device: torch.device | None = None) -> Tensor:
    """Radians per position of each pair of channels, fp64 [width/2], falling from 1."""
    return THETA ** -(torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)


def intrinsic_frequency(repeat: int, head_width: int) -> tuple[int, int]:
    """The temporal frequency that makes a model repeat itself, and its period (RIFLEx, equations 4 and 7).

    Periods are rounded to whole frames, and the one closest to `repeat` is taken. Wan's (K = 128) are 6, 10, 14, 22,
    34, 51, 78, ..., so that the k = 6 in use for it means a repetition at frames 43 to 64.

    Args:
        repeat: the first latent frame at which clips of the model are seen to repeat.
        head_width: K.

    Returns:
        k, counted from 1, and N_k in latent frames.
    """
    periods = [round(2 * math.pi / frequency) for frequency in _frequencies(_widths(head_width)[0]).tolist()]
    k = min(range(len(periods)), key=lambda j: abs(periods[j] - repeat))
    return k + 1, periods[k]


def _temporal_frequencies(width: int, riflex: Riflex | None, device: torch.device) -> Tensor:
    frequencies = _frequencies(width, device)
    if riflex is None:
        return frequencies
    if riflex.k > len(frequencies):
        raise ConfigError(f"riflex: k={riflex.k}, possible for this model: 1 to {len(frequencies)}")
    if riflex.length > round(2 * math.pi / float(frequencies[riflex.k - 1])):
        frequencies[riflex.k - 1] = MARGIN * 2 * math.pi / riflex.length
    return frequencies


def rotation(positions_T: Tensor, height: int, width: int, head_width: int, riflex: Riflex | None = None) -> Rotation:
    """The rotation of each token of a T x height x width grid, in raster order.

    Args:
        positions_T: of each frame; not necessarily contiguous or rising.
        height, width: tokens per column and row of a frame.
        head_width: K, even.
        riflex: the change of one temporal frequency.

    Raises:
        ConfigError: a frequency for `riflex` that the head is too narrow for.
    """
    device, frames = positions_T.device, positions_T.shape[0]
    time, space = _widths(head_width)
    frequencies, spatial = _temporal_frequencies(time, riflex, device), _frequencies(space, device)
    angles_t = torch.outer(positions_T.double(), frequencies)
    angles_h = torch.outer(torch.arange(height, device=device).double(), spatial)
    angles_w = torch.outer(torch.arange(width, device=device).double(), spatial)
    angles = torch.cat(
        [
            angles_t[:, None, None].expand(frames, height, width, -1),
            angles_h[None, :, None].expand(frames, height, width, -1),
            angles_w[None, None, :].expand(frames, height, width, -1),
        ],
        dim=-1,
    ).reshape(frames * height * width, 1, head_width // 2)
    cos, sin = angles.cos().float(), angles.sin().float()
    return Rotation(cos, sin, torch.complex(cos, sin))


def apply_rotation(x_BLNK: Tensor, by: Rotation) -> Tensor:
    """Rotates neighbouring pairs of channels by each token's angles, in fp32; returns the dtype of x."""
    if not torch.compiler.is_compiling():  # a compiler fuses what follows, and has no complex numbers
        turned = torch.view_as_complex(x_BLNK.float().unflatten(-1, (-1, 2))) * by.turn_LNP
        return torch.view_as_real(turned).flatten(-2).type_as(x_BLNK)
    even, odd = x_BLNK.unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack((even * by.cos_LNP - odd * by.sin_LNP, even * by.sin_LNP + odd * by.cos_LNP), dim=-1)
    return rotated.flatten(-2).type_as(x_BLNK)
