"""`Capped`: clean frames, then a short ramp of half-noisy ones, then the clip, all in one fall of the noise.

Temporal In-Context Fine-Tuning (Kim et al. 2025, arXiv:2506.00996): the buffer between a clean condition and the noisy
target starts from the condition at rising noise, and waits until the common level has come down to its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vgen.samplers.steps import Lift, Move, Step

__all__ = ["Capped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capped:
    """Frame f stands at min(level, caps[f]), and the model is told the common level for all frames.

    Args:
        num_steps: S, noise levels.
        caps: of the frames that follow the known ones, as levels 0..S; all later frames have none.
    """

    num_steps: int
    caps: tuple[int, ...]

    def __post_init__(self) -> None:
        assert all(0 <= cap <= self.num_steps for cap in self.caps), f"caps are levels 0..num_steps, got {self}"

    @property
    def uniform(self) -> bool:
        return all(cap in (0, self.num_steps) for cap in self.caps)

    @property
    def looks_back(self) -> int:
        return 0

    def in_flight(self, frames: int | None) -> int:
        """All of them."""
        assert frames is not None, "a clip with a ramp has an end"
        return frames

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Move]:
        """As `FrameSchedule.steps`; `frames` includes the known ones and the ramp."""
        assert frames is not None, "a clip with a ramp has an end"
        assert known >= 1 or not self.caps, "a ramp starts from a clean frame"
        ramp = range(known, min(known + len(self.caps), frames))
        caps = (0,) * known + self.caps[: len(ramp)] + (self.num_steps,) * (frames - known - len(ramp))
        if ramp:
            yield Lift(index=0, frames=ramp, sources=(known - 1,) * len(ramp), levels=caps[known : ramp.stop])
        for k in range(self.num_steps):
            level = self.num_steps - k
            yield Step(
                index=k + bool(ramp),
                frames=range(frames),
                level_from=tuple(min(level, cap) for cap in caps),
                level_to=tuple(min(level - 1, cap) for cap in caps),
                commit=range(frames) if level == 1 else range(0),
                told=(level,) * frames,
            )

    def total(self, frames: int, *, known: int = 0) -> int:
        """How many moves `steps` yields."""
        return self.num_steps + bool(self.caps and frames > known)
