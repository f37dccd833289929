"""What a token may attend to: static patterns, predicates on places that compose by `&` and `|`; rules of whole blocks;
and adaptive ones.

A new pattern is a frozen dataclass with `keeps` and `orders`, and a row of `PATTERNS` in `catalogue.py`. It raises
`ConfigError` for knobs that make no sense, by `require`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from vgen.attention.blocks import BlockMap
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.place import Place
from vgen.errors import ConfigError
from vgen.shapes import TokenGrid

__all__ = ["AdaptivePattern", "AnyPattern", "BlockPattern", "Either", "Full", "Pattern", "Shared", "require"]


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
    def orders(self) -> tuple[TokenOrder, ...]:
        """Orders of tokens worth trying; the one in which the least is computed on the grid at hand is taken."""

    def __and__(self, other: "Pattern") -> "Shared":
        return Shared(self, other)

    def __or__(self, other: "Pattern") -> "Either":
        return Either(self, other)


class BlockPattern(ABC):
    """A coarse rule that keeps or drops whole blocks; what it keeps has no definition but its map."""

    @abstractmethod
    def blocks(self, query: TokenGrid, key: TokenGrid, *, block: int, device: torch.device) -> BlockMap:
        """The map, of blocks in whole or not at all; remembered.

        Args:
            query, key: lattices of the queries and keys.
            block: tokens per block, on both sides; the last may be shorter.
            device: where the attention will run.
        """

    @abstractmethod
    def order(self) -> TokenOrder:
        """The order of tokens that its blocks are made of."""


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


AnyPattern: TypeAlias = Pattern | BlockPattern | AdaptivePattern


@dataclass(frozen=True, slots=True)
class Full(Pattern):
    """Every token sees every token."""

    def keeps(self, query: Place, key: Place) -> Tensor:
        return (query.t * 0 == 0) & (key.t * 0 == 0)  # true of ranges too, which `t == t` is not

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER,)


@dataclass(frozen=True, slots=True)
class Shared(Pattern):
    """What both keep."""

    first: Pattern
    second: Pattern

    def keeps(self, query: Place, key: Place) -> Tensor:
        return self.first.keeps(query, key) & self.second.keeps(query, key)

    def orders(self) -> tuple[TokenOrder, ...]:
        return _of_both(self.first, self.second)


@dataclass(frozen=True, slots=True)
class Either(Pattern):
    """What at least one of them keeps."""

    first: Pattern
    second: Pattern

    def keeps(self, query: Place, key: Place) -> Tensor:
        return self.first.keeps(query, key) | self.second.keeps(query, key)

    def orders(self) -> tuple[TokenOrder, ...]:
        return _of_both(self.first, self.second)


def _of_both(first: Pattern, second: Pattern) -> tuple[TokenOrder, ...]:
    """The orders of both, with the leads of both."""
    orders = first.orders() + second.orders()
    leads = dict.fromkeys(order.lead for order in orders)
    return tuple(dict.fromkeys(replace(order, lead=lead) for order in orders for lead in leads))


def require(holds: bool, asked: str, possible: str) -> None:
    """Refuses a knob.

    Args:
        holds: whether the value makes sense.
        asked: pattern, knob and value, as `radial: decay=0`.
        possible: what the knob takes.

    Raises:
        ConfigError: it does not hold.
    """
    if not holds:
        raise ConfigError(f"attention {asked} is not possible; possible: {possible}")
