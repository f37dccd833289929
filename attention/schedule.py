"""Where attention stays dense though a pattern is set: in chosen layers, and at the highest and lowest noise levels.

The first steps of a sampler lay out the scene and bear sparsity badly, so published settings keep them dense (12 of 50
for Radial Attention on Wan). Here a step is known by its noise level, which also holds where frames of one window stand
at different levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from vgen.errors import ConfigError

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Dense calls.

    Args:
        layers: so many leading layers are dense at all noise levels.
        above: dense where the highest noise level of the query's frames is above this; None for nowhere.
        below: dense where it is below this; None for nowhere.
    """

    layers: int = 0
    above: float | None = None
    below: float | None = None

    @classmethod
    def of_steps(cls, sigmas: Sequence[float], *, first: int = 0, last: int = 0, layers: int = 0) -> Self:
        """Dense in the first and last steps.

        Args:
            sigmas: noise level of each step, falling.
            first, last: how many steps.
            layers: leading layers.

        Raises:
            ConfigError: more dense steps than there are steps.
        """
        steps = len(sigmas)
        if not 0 <= first + last <= steps or min(first, last) < 0:
            raise ConfigError(
                f"dense_first_steps={first} and dense_last_steps={last} do not fit into {steps} steps; "
                f"possible: 0 to {steps} together"
            )
        # between two levels, so that rounding of one of them does not matter
        ends = (2.0, *sigmas, -1.0)
        above = None if first == 0 else (ends[first] + ends[first + 1]) / 2
        below = None if last == 0 else (ends[-last - 1] + ends[-last - 2]) / 2
        return cls(layers=layers, above=above, below=below)

    def dense(self, layer: int, sigma: float | None) -> bool:
        """Whether a call is dense."""
        if layer < self.layers:
            return True
        if self.above is None and self.below is None:
            return False
        assert sigma is not None, "a schedule by noise level needs a caller that says its noise level"
        return (self.above is not None and sigma > self.above) or (self.below is not None and sigma < self.below)
