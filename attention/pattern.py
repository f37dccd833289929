"""What a token may attend to: static patterns, predicates on places that compose by `&` and `|`; and adaptive ones.

A new pattern is a frozen dataclass with `keeps` and `order`, and a row of `PATTERNS` in `catalogue.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from vgen.attention.blocks import BlockMap
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.place import Place
from vgen.shapes import TokenGrid

__all__ = ["AdaptivePattern", "Either", "Full", "Pattern", "Shared"]


class Pattern(ABC):
    """A static pattern: which pairs are kept depends on places alone, not on the data."""

    @abstractmethod
    def keeps(self, query: Place, key: Place) -> Tensor:
        """Whether each query may see each key; THE definition of the pattern.

        Args:
            query, key: video tokens; their coordinates broadcast. Text is always visible, and no concern of patterns.

        Returns:
            Booleans in the shape that the coordinates broadcast to.
        """

    @abstractmethod
    def order(self) -> TokenOrder:
        """The order of tokens in which the fewest blocks touch what is kept."""

    def __and__(self, other: "Pattern") -> "Shared":
        return Shared(self, other)

    def __or__(self, other: "Pattern") -> "Either":
        return Either(self, other)


class AdaptivePattern(ABC):
    """A pattern that looks at queries and keys and chooses anew in each call."""

    @abstractmethod
    def select(self, q_BLNK: Tensor, k_BMNK: Tensor, *, query: TokenGrid, key: TokenGrid, block: int) -> BlockMap:
        """What is kept.

        Args:
            q_BLNK, k_BMNK: in the order of computation, text included; rotary embedding applied.
            query, key: lattices of the tokens.
            block: tokens per block, for selections by blocks.
        """

    @abstractmethod
    def order(self) -> TokenOrder:
        """The order of tokens that its blocks are made of."""


@dataclass(frozen=True, slots=True)
class Full(Pattern):
    """Every token sees every token."""

    def keeps(self, query: Place, key: Place) -> Tensor:
        return (query.t == query.t) & (key.t == key.t)

    def order(self) -> TokenOrder:
        return RASTER


@dataclass(frozen=True, slots=True)
class Shared(Pattern):
    """What both keep, in the order of the first."""

    first: Pattern
    second: Pattern

    def keeps(self, query: Place, key: Place) -> Tensor:
        return self.first.keeps(query, key) & self.second.keeps(query, key)

    def order(self) -> TokenOrder:
        return self.first.order()


@dataclass(frozen=True, slots=True)
class Either(Pattern):
    """What at least one of them keeps, in the order of the first."""

    first: Pattern
    second: Pattern

    def keeps(self, query: Place, key: Place) -> Tensor:
        return self.first.keeps(query, key) | self.second.keeps(query, key)

    def order(self) -> TokenOrder:
        return self.first.order()
