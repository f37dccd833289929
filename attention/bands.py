"""The two bands of Sparse VideoGen (Xi et al. 2025, arXiv:2502.01776): heads that look around in space, and in time."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from torch import Tensor

from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Pattern, require
from vgen.attention.place import Place

__all__ = ["TokenBand"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBand(Pattern):
    """Tokens that stand close to each other when all of a clip stand in one line.

    Args:
        along: `space`: frame after frame, so that near frames are seen; `time`: position after position, each with all
            its frames, so that near positions are seen at all times.
        density: share of the pairs that the band keeps; above 0, at most 1.
    """

    along: Literal["space", "time"] = "space"
    density: float = 0.25

    def __post_init__(self) -> None:
        require(self.along in ("space", "time"), f"band: along={self.along!r}", "space, time")
        require(0 < self.density <= 1, f"band: density={self.density}", "above 0, at most 1")

    def keeps(self, query: Place, key: Place) -> Tensor:
        per_frame = key.grid.tokens_per_frame
        extent = max(key.grid.frames) - min(key.grid.frames) + 1
        later, further = query.t - key.t, query.p - key.p
        apart = later * per_frame + further if self.along == "space" else further * extent + later
        return abs(apart) <= ceil(extent * per_frame * (1 - (1 - self.density) ** 0.5))

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER if self.along == "space" else TokenOrder(None, 1, 1),)
