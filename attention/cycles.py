"""Patterns in turn: over the layers of a model, over the heads of a layer, or heads within layers."""

from dataclasses import dataclass

from vgen.attention.pattern import AnyPattern, require

__all__ = ["PerHead", "PerLayer"]


@dataclass(frozen=True, slots=True)
class PerHead:
    """Head n takes patterns[n % len(patterns)]; computed once per pattern that differs.

    Args:
        patterns: at least one.
    """

    patterns: tuple[AnyPattern, ...]

    def __post_init__(self) -> None:
        require(bool(self.patterns), "per_head: of no pattern", "at least one")

    def groups(self, heads: int, first: int = 0) -> dict[AnyPattern, list[int]]:
        """Which of so many heads each pattern is for, counted from 0; of the model's they are those from `first` on."""
        found: dict[AnyPattern, list[int]] = {}
        for head in range(heads):
            found.setdefault(self.patterns[(first + head) % len(self.patterns)], []).append(head)
        return found


@dataclass(frozen=True, slots=True)
class PerLayer:
    """Layer l takes patterns[l % len(patterns)].

    Args:
        patterns: at least one.
    """

    patterns: tuple[AnyPattern | PerHead, ...]

    def __post_init__(self) -> None:
        require(bool(self.patterns), "per_layer: of no pattern", "at least one")

    def of(self, layer: int) -> AnyPattern | PerHead:
        return self.patterns[layer % len(self.patterns)]
