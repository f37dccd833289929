"""How many pairs of tokens a pattern keeps, exactly.

Most pairs of frames look alike: a pattern that asks for time only in `abs(q.t - k.t) <= 3` treats all pairs of frames
alike for which that has one answer. So `keeps` runs once with its rows and columns left open, all that it makes of time
is written down, and of each kind of frame pair one is counted: token by token, where ranges do not say all or none.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from vgen.attention.pattern import Pattern
from vgen.attention.place import Coordinate, Place
from vgen.attention.planning import Corners, ask
from vgen.shapes import TokenGrid

__all__ = ["kept_pairs"]

_PAIRS_AT_ONCE = 1 << 22


@lru_cache(maxsize=64)
def kept_pairs(pattern: Pattern, query: TokenGrid, key: TokenGrid) -> int:
    """How many pairs of tokens are kept, text included (which is always visible)."""
    video = sum(times * _between(pattern, query, t, key, s) for t, s, times in _kinds(pattern, query, key))
    text_query, text_key = query.tokens - query.video_tokens, key.tokens - key.video_tokens
    return video + text_query * key.tokens + text_key * query.video_tokens


def _kinds(pattern: Pattern, query: TokenGrid, key: TokenGrid) -> list[tuple[int, int, int]]:
    """One pair of absolute frame indices of each kind, and how many pairs are like it."""
    query_T, key_S = torch.tensor(query.frames), torch.tensor(key.frames)
    pairs = torch.cartesian_prod(query_T, key_S).view(-1, 2)
    seen: list[Tensor] = []
    open_ = cast(Coordinate, _Open(seen))
    found = pattern.keeps(Place(pairs[:, 0], open_, open_, query), Place(pairs[:, 1], open_, open_, key))
    if isinstance(found, Tensor):
        seen.append(found)
    signs = [values.expand(len(pairs)).long() for values in seen]
    table = torch.stack(signs, dim=1) if signs else torch.zeros(len(pairs), 1, dtype=torch.long)
    _, kind, times = table.unique(dim=0, return_inverse=True, return_counts=True)
    first = torch.full((len(times),), len(pairs)).scatter_reduce(0, kind, torch.arange(len(pairs)), "amin")
    return [(*pairs[at].tolist(), count) for at, count in zip(first.tolist(), times.tolist(), strict=True)]


def _between(pattern: Pattern, query: TokenGrid, t: int, key: TokenGrid, s: int) -> int:
    """Kept pairs of tokens between a frame of the queries and one of the keys."""
    found = ask(pattern, _whole_frame(query, t), _whole_frame(key, s))
    if not found.may or found.must:
        return query.tokens_per_frame * key.tokens_per_frame if found.must else 0
    h, w = _inside(key)
    keys = Place(torch.tensor(s, dtype=torch.int32), h, w, key)
    h, w = (axis[:, None] for axis in _inside(query))
    rows, total = max(1, _PAIRS_AT_ONCE // key.tokens_per_frame), 0
    for start in range(0, query.tokens_per_frame, rows):
        chosen = slice(start, start + rows)
        queries = Place(torch.tensor(t, dtype=torch.int32), h[chosen], w[chosen], query)
        shape = len(h[chosen]), key.tokens_per_frame
        total += int(pattern.keeps(queries, keys).expand(shape).count_nonzero())
    return total


def _whole_frame(grid: TokenGrid, t: int) -> Corners:
    low, high = (t, 0, 0), (t, grid.height - 1, grid.width - 1)
    return torch.tensor(low, dtype=torch.int32)[:, None], torch.tensor(high, dtype=torch.int32)[:, None], grid


def _inside(grid: TokenGrid) -> tuple[Tensor, Tensor]:
    """Row and column of each token of a frame."""
    index = torch.arange(grid.tokens_per_frame, dtype=torch.int32)
    return index // grid.width, index % grid.width


class _Open:
    """A coordinate that is left open: takes part in everything, and notes the known values that it meets."""

    def __init__(self, seen: list[Tensor]) -> None:
        self._seen = seen

    def _meets(self, *others: object) -> "_Open":
        self._seen += [other for other in others if isinstance(other, Tensor)]
        return self

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> "_Open":
        values = [*args, *(kwargs or {}).values()]
        return next(value for value in values if isinstance(value, cls))._meets(*values)

    def __abs__(self) -> "_Open":
        return self

    def __eq__(self, other: object) -> "_Open":  # type: ignore[override]  # as a tensor's, elementwise
        return self._meets(other)

    def __ne__(self, other: object) -> "_Open":  # type: ignore[override]
        return self._meets(other)

    def clamp(self, min: object = None, max: object = None) -> "_Open":
        return self._meets(min, max)

    def to(self, device: object) -> "_Open":
        return self

    __neg__ = __invert__ = __abs__
    __add__ = __sub__ = __mul__ = __floordiv__ = __mod__ = __and__ = __or__ = _meets
    __radd__ = __rsub__ = __rmul__ = __rand__ = __ror__ = __le__ = __lt__ = __ge__ = __gt__ = _meets
