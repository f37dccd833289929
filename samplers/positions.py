"""Where in time the frames stand that a pass of the model sees, context and noisy ones alike.

Rotary embedding knows differences alone, so only what is moved against the rest matters. A scheme is a pure function of
the visible frames; keys are kept un-rotated, so it may give a frame another place in every pass.
"""

from dataclasses import dataclass

__all__ = ["AbsolutePositions", "CachePositions", "SinkPositions"]


@dataclass(frozen=True, slots=True)
class AbsolutePositions:
    """Each frame at its own index, however far that is."""

    def __call__(self, visible: tuple[int, ...]) -> tuple[int, ...]:
        return visible


@dataclass(frozen=True, slots=True)
class CachePositions:
    """Frames at 0, 1, 2, ... in their order, so that no distance is longer than what is visible.

    MotionStream, Shin et al. 2025, arXiv:2511.01266; StreamingLLM, Xiao et al. 2024, arXiv:2309.17453.
    """

    def __call__(self, visible: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(range(len(visible)))


@dataclass(frozen=True, slots=True)
class SinkPositions:
    """The sink right in front of the window, all else at its own index.

    Rolling Forcing, Liu et al. 2025, arXiv:2509.25161. The same as `CachePositions` where the window has no gaps.

    Args:
        sink: leading frames that are moved.
    """

    sink: int

    def __call__(self, visible: tuple[int, ...]) -> tuple[int, ...]:
        held = [frame for frame in visible if 0 <= frame < self.sink]
        behind = [frame for frame in visible if frame >= self.sink]
        if not held or not behind:
            return visible
        first = behind[0] - len(held)
        before = tuple(frame for frame in visible if frame < 0)
        return (*before, *range(first, behind[0]), *behind)
