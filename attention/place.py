"""Where tokens are, one by one or as ranges, so that one predicate answers for a token and for a whole block.

A pattern's `keeps(query, key)` is written with ordinary operators on the coordinates of two `Place`s. Given tensors of
coordinates it answers token by token. Given `Span`s, which are ranges of coordinates, the same lines answer for whole
boxes of tokens at once by interval arithmetic (Moore 1966): *may* some pair be kept, *must* every pair be kept. That is
how the map of 75,600 tokens is made without looking at 5.7e9 pairs; see `planning.py`.
"""

from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor

from vgen.shapes import TokenGrid

__all__ = ["Coordinate", "Place", "Possible", "Span", "lookup"]

Coordinate: TypeAlias = Tensor  # or a Span while a map is planned: a pattern need not know


@dataclass(frozen=True, slots=True)
class Place:
    """Coordinates of video tokens, integer tensors that broadcast against those of the other side.

    A predicate on places may add, subtract and compare coordinates, use `+ - * // %` with whole numbers, `abs`,
    `clamp`, `lookup`, and `& | ~` on what comparisons give.

    Args:
        t: absolute index of the latent frame.
        h, w: token row and column.
        grid: the lattice that the tokens belong to.
    """

    t: Coordinate
    h: Coordinate
    w: Coordinate
    grid: TokenGrid

    @property
    def p(self) -> Coordinate:
        """Raster index within the frame."""
        return self.h * self.grid.width + self.w


@dataclass(frozen=True, slots=True)
class Possible:
    """What a predicate says of a box of pairs.

    Args:
        may: False where no pair can be kept.
        must: True where every pair is kept.
    """

    may: Tensor
    must: Tensor

    def __and__(self, other: "Possible | bool") -> "Possible":
        other = _possible(other)
        return Possible(self.may & other.may, self.must & other.must)

    def __or__(self, other: "Possible | bool") -> "Possible":
        other = _possible(other)
        return Possible(self.may | other.may, self.must | other.must)

    def __invert__(self) -> "Possible":
        return Possible(~self.must, ~self.may)

    def __bool__(self) -> bool:
        raise TypeError("what a pattern says of a place is no single truth; use & | ~ in place of and, or, not, if")

    __rand__, __ror__ = __and__, __or__


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Whole numbers from `low` to `high`, both included; tensors that broadcast."""

    low: Tensor
    high: Tensor

    def __add__(self, other: "Span | int") -> "Span":
        other = _span(other, self)
        return Span(self.low + other.low, self.high + other.high)

    def __sub__(self, other: "Span | int") -> "Span":
        other = _span(other, self)
        return Span(self.low - other.high, self.high - other.low)

    def __rsub__(self, other: int) -> "Span":
        return _span(other, self) - self

    def __neg__(self) -> "Span":
        return Span(-self.high, -self.low)

    def __mul__(self, factor: int) -> "Span":
        if not isinstance(factor, int):
            return NotImplemented
        ends = self.low * factor, self.high * factor
        return Span(*ends) if factor >= 0 else Span(*ends[::-1])

    def __floordiv__(self, divisor: int) -> "Span":
        if not isinstance(divisor, int):
            return NotImplemented
        assert divisor > 0, f"a range is divided by a positive number, got {divisor}"
        return Span(self.low // divisor, self.high // divisor)

    def __mod__(self, divisor: int) -> "Span":
        if not isinstance(divisor, int):
            return NotImplemented
        assert divisor > 0, f"a range is divided by a positive number, got {divisor}"
        wraps = self.low // divisor != self.high // divisor
        return Span((self.low % divisor).masked_fill(wraps, 0), (self.high % divisor).masked_fill(wraps, divisor - 1))

    def __abs__(self) -> "Span":
        low = torch.maximum(self.low, -self.high).clamp(min=0)
        return Span(low, torch.maximum(self.low.abs(), self.high.abs()))

    def clamp(self, min: int | None = None, max: int | None = None) -> "Span":
        return Span(self.low.clamp(min, max), self.high.clamp(min, max))

    def __le__(self, other: "Span | int") -> Possible:
        other = _span(other, self)
        return Possible(self.low <= other.high, self.high <= other.low)

    def __lt__(self, other: "Span | int") -> Possible:
        return self + 1 <= other

    def __ge__(self, other: "Span | int") -> Possible:
        return ~(self < other)

    def __gt__(self, other: "Span | int") -> Possible:
        return ~(self <= other)

    def __eq__(self, other: object) -> Possible:  # type: ignore[override]  # as a tensor's, elementwise
        assert isinstance(other, Span | int), f"a range is compared with ranges and whole numbers, got {other!r}"
        return (self <= other) & (self >= other)

    def __ne__(self, other: object) -> Possible:  # type: ignore[override]
        return ~(self == other)

    __radd__, __rmul__ = __add__, __mul__


def lookup(table: Tensor, index: Coordinate) -> Coordinate:
    """`table[index]` for whole numbers, also over ranges of indices.

    Args:
        table: one axis, whole numbers, on the CPU.
        index: 0 <= index < len(table) throughout.
    """
    if isinstance(index, Tensor):
        return table.to(index.device)[index]
    if not isinstance(index, Span):
        return index  # left open, see counting.py
    ranges = cast(Span, index)
    low, high, width = table, table, 1
    smallest, largest = table[ranges.low], table[ranges.high]
    # ends first, then powers of two: the range is covered by two windows of the largest power that fits into it
    size = ranges.high - ranges.low + 1
    while width < int(size.max()):
        low = torch.minimum(low[:-width], low[width:])
        high = torch.maximum(high[:-width], high[width:])
        width *= 2
        wide = (size >= width).nonzero(as_tuple=True)
        starts = ranges.low[wide], ranges.high[wide] - width + 1
        smallest[wide] = torch.minimum(low[starts[0]], low[starts[1]])
        largest[wide] = torch.maximum(high[starts[0]], high[starts[1]])
        if len(low) <= width:
            break
    return cast(Coordinate, Span(smallest, largest))


def _span(value: "Span | int", like: Span) -> Span:
    if isinstance(value, Span):
        return value
    end = torch.full_like(like.low, value)
    return Span(end, end)


def _possible(value: "Possible | bool") -> Possible:
    return value if isinstance(value, Possible) else Possible(torch.tensor(value), torch.tensor(value))
