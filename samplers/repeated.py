"""`Repeated`: the whole fall several times, each from noise that keeps what the last one found.

FreeInit (Wu et al. 2024, arXiv:2312.07537) with the noise policy `FreeInitNoise`, which says what is kept.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from vgen.samplers.steps import Lift, Move, Step

__all__ = ["Repeated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """All frames fall together, `passes` times; in between they go back to pure noise.

    Args:
        num_steps: S, noise levels.
        passes: falls; 1 is `Pyramid(lag=0)`.
        fast: pass i of n takes S i / n steps, rounded up.
    """

    num_steps: int
    passes: int
    fast: bool = False

    def __post_init__(self) -> None:
        assert self.num_steps >= 1 and self.passes >= 1, f"at least one step and one pass, got {self}"

    @property
    def uniform(self) -> bool:
        return True

    @property
    def looks_back(self) -> int:
        return 0

    def in_flight(self, frames: int | None) -> int:
        """All of them."""
        assert frames is not None, "frames that fall together have an end"
        return frames

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Move]:
        """As `FrameSchedule.steps`."""
        assert frames is not None, "frames that fall together have an end"
        index, passes = 0, self._passes(frames, known)
        for number in range(1, passes + 1):
            levels = self._levels(number)
            for level, to in itertools.pairwise(levels):
                yield Step(
                    index=index,
                    frames=range(frames),
                    level_from=_all(level, frames, known),
                    level_to=_all(to, frames, known),
                    commit=range(frames) if to == 0 and number == passes else range(0),
                )
                index += 1
            if number < passes:
                noisy = range(known, frames)
                yield Lift(index=index, frames=noisy, sources=tuple(noisy), levels=(self.num_steps,) * len(noisy))
                index += 1

    def total(self, frames: int, *, known: int = 0) -> int:
        """How many moves `steps` yields."""
        return sum(len(self._levels(number)) for number in range(1, self._passes(frames, known) + 1)) - 1

    def _passes(self, frames: int, known: int) -> int:
        """One where all frames are known: there is nothing to lift."""
        return self.passes if known < frames else 1

    def _levels(self, number: int) -> list[int]:
        """From S to 0 in the steps of one pass."""
        steps = -(-self.num_steps * number // self.passes) if self.fast else self.num_steps
        return [-(-self.num_steps * (steps - k) // steps) for k in range(steps + 1)]


def _all(level: int, frames: int, known: int) -> tuple[int, ...]:
    return (0,) * known + (level,) * (frames - known)
