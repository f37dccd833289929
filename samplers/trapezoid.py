"""`Trapezoid`: both ends of a clip come first and the middle last, for filling in between two ends.

Diffusion Forcing (Chen et al. 2024, arXiv:2407.01392) has it; its released index writes the first column twice and
gives the last frame the lag of its neighbour. Here both ends have lag 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vgen.samplers.steps import Step

__all__ = ["Trapezoid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trapezoid:
    """Frame f of F starts after lag * min(f, F - 1 - f) steps; all frames are shown in every step.

    Args:
        num_steps: S, noise levels.
        lag: steps between a frame and its neighbour nearer to an end; 0..S.
    """

    num_steps: int
    lag: int

    def __post_init__(self) -> None:
        assert 0 <= self.lag <= self.num_steps, f"0 <= lag <= num_steps, got {self}"

    @property
    def uniform(self) -> bool:
        return self.lag in (0, self.num_steps)

    @property
    def looks_back(self) -> int:
        return 0

    def in_flight(self, frames: int | None) -> int:
        """All of them."""
        assert frames is not None, "a clip with two ends has an end"
        return frames

    def level(self, k: int, frame: int, frames: int) -> int:
        """Level of a frame after k steps."""
        start = self.lag * min(frame, frames - 1 - frame)
        return self.num_steps - min(max(k - start, 0), self.num_steps)

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Step]:
        """As `FrameSchedule.steps`."""
        assert frames is not None, "a clip with two ends has an end"
        total = self.total(frames)
        for k in range(total):
            before, after = (
                tuple(0 if f < known else self.level(at, f, frames) for f in range(frames)) for at in (k, k + 1)
            )
            commit = range(frames) if k == total - 1 else range(0)  # all stay in sight until the middle is done
            yield Step(index=k, frames=range(frames), level_from=before, level_to=after, commit=commit)

    def total(self, frames: int, *, known: int = 0) -> int:
        """How many steps `steps` yields."""
        return self.num_steps + self.lag * ((frames - 1) // 2)
