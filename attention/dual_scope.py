"""Near frames, and frames from everywhere: Video-Infinity (Tan et al. 2024, arXiv:2406.16260), from its description.

Near is what lies around each frame; or, as published, around each of the clips that a video is cut into, so that a
device that holds one of them needs no more than a few frames of the others: `vgen/parallel/clips.py`. In the published
code the neighbours that the first and the last clip lack are zeros that take a share of the softmax; here they are not
there.
"""

from dataclasses import dataclass

from torch import Tensor

from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Either, Pattern, require
from vgen.attention.place import Place
from vgen.attention.temporal import UniformFrames
from vgen.attention.windows import Window

__all__ = ["ClipWindow", "dual_scope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipWindow(Pattern):
    """All the time from the first to the last key is cut into clips; a query sees its own and some frames around it.

    Clip i of n begins at frame ceil(i T / n), so their lengths differ by one frame at most.

    Args:
        clips: how many; at least 1.
        reach: frames to each side of the clip; at least 0.
    """

    clips: int
    reach: int

    def __post_init__(self) -> None:
        require(self.clips >= 1, f"dual_scope: clips={self.clips}", "1 clip and more")
        require(self.reach >= 0, f"dual_scope: reach={self.reach}", "0 frames and more")

    def keeps(self, query: Place, key: Place) -> Tensor:
        first, last = min(key.grid.frames), max(key.grid.frames)
        extent = last - first + 1
        own = (query.t - first) * self.clips // extent
        start, stop = (-(clip * -extent // self.clips) + first for clip in (own, own + 1))
        return (key.t >= start - self.reach) & (key.t < stop + self.reach)

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER,)


def dual_scope(*, reach: int = 8, count: int = 16, clips: int | None = None) -> Either:
    """What is near, and frames from everywhere.

    Args:
        reach: near frames to each side; at least 0.
        count: frames from everywhere; at least 1.
        clips: of which all frames see the same; each frame is one of its own where None.
    """
    near = Window(frames=reach) if clips is None else ClipWindow(clips=clips, reach=reach)
    return near | UniformFrames(count)
