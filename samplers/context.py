"""Which finished frames a step may still see."""

from collections.abc import Container
from dataclasses import dataclass

__all__ = ["SinkWindow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkWindow:
    """The first `sink` frames, and the last `window` frames up to the end of the current block.

    Attention sinks: Xiao et al. 2024, arXiv:2309.17453. Sink and window of causal video: LongLive, arXiv:2509.22622.

    Args:
        window: latent frames, the current block included; at least one block.
        sink: leading latent frames that never expire.
    """

    window: int
    sink: int = 0

    @property
    def capacity(self) -> int:
        """Frames that a memory must hold."""
        return self.sink + self.window

    def expired(self, stop: int) -> Container[int]:
        return range(self.sink, max(self.sink, stop - self.window))
