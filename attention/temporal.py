"""Patterns of whole frames: what is kept depends on time alone."""

from dataclasses import dataclass

from torch import Tensor

from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Pattern, require
from vgen.attention.place import Place

__all__ = ["CausalWindow", "Sink", "UniformFrames"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalWindow(Pattern):
    """Chunks of frames, each seeing itself and the past: all of it, or the latest frames and a sink.

    The mask that Self-Forcing (Huang et al. 2025, arXiv:2506.08009) trains with; with `sink`, LongLive (Yang et al.
    2025, arXiv:2509.22622), after the attention sinks of Xiao et al. 2023 (arXiv:2309.17453).

    Args:
        chunk: frames that are made together and see each other; at least 1.
        window: latest frames that are seen, up to the end of the query's chunk and without the sink; at least `chunk`;
            all where None.
        sink: leading frames that stay visible; at least 0.
        lead: frames of a shorter chunk in front of the first (1: a conditioning image stands alone); 0 to `chunk`.
    """

    chunk: int = 1
    window: int | None = None
    sink: int = 0
    lead: int = 0

    def __post_init__(self) -> None:
        require(self.chunk >= 1, f"causal: chunk={self.chunk}", "1 frame and more")
        require(
            self.window is None or self.window >= self.chunk,
            f"causal: window={self.window}",
            f"{self.chunk} frames (the chunk) and more, or all",
        )
        require(self.sink >= 0, f"causal: sink={self.sink}", "0 frames and more")
        require(0 <= self.lead <= self.chunk, f"causal: lead={self.lead}", f"0 to {self.chunk} frames (the chunk)")

    def keeps(self, query: Place, key: Place) -> Tensor:
        end = ((query.t - self.lead) // self.chunk + 1) * self.chunk + self.lead
        if self.window is None:
            return key.t < end
        return (key.t < end) & ((key.t >= end - self.window) | (key.t < self.sink))

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER,)


@dataclass(frozen=True, slots=True)
class Sink(Pattern):
    """Every query sees the leading frames, also later ones than itself; made to be joined with others by `|`.

    Args:
        frames: how many; at least 1.
    """

    frames: int = 1

    def __post_init__(self) -> None:
        require(self.frames >= 1, f"sink: frames={self.frames}", "1 frame and more")

    def keeps(self, query: Place, key: Place) -> Tensor:
        return (key.t < self.frames) & (query.t * 0 == 0)

    def orders(self) -> tuple[TokenOrder, ...]:
        return (TokenOrder(lead=self.frames),)


@dataclass(frozen=True, slots=True)
class UniformFrames(Pattern):
    """Every query sees some frames at even distances over all the time from the first to the last key.

    Args:
        count: how many, or all where there are fewer; at least 1.
    """

    count: int = 16

    def __post_init__(self) -> None:
        require(self.count >= 1, f"uniform: count={self.count}", "1 frame and more")

    def keeps(self, query: Place, key: Place) -> Tensor:
        first, last = min(key.grid.frames), max(key.grid.frames)
        extent = last - first + 1
        # a frame is one of floor(i extent / count) where a multiple of extent lies in [t count, t count + count)
        before = ((first - key.t) * self.count) % extent
        return (before < self.count) & (query.t * 0 == 0)

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER,)
