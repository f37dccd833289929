"""A pattern of one's own in one predicate: what it keeps at 480p, drawn; and a layer's attention with it."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.attention import Dense, Pattern, Place, Sink, SparseAttention, TokenOrder
from vgen.attention.show import draw, summary
from vgen.shapes import TokenGrid


@dataclass(frozen=True, slots=True)
class Diamond(Pattern):
    """What is near in rows and columns together, in all frames.

    Args:
        reach: rows plus columns.
    """

    reach: int

    def keeps(self, query: Place, key: Place) -> Tensor:
        return abs(query.h - key.h) + abs(query.w - key.w) <= self.reach

    def orders(self) -> tuple[TokenOrder, ...]:
        return TokenOrder(None, 4, 4), TokenOrder(2, 8, 8)  # patches over all frames, or cuboids


if __name__ == "__main__":
    pattern = Diamond(12) | Sink(1)
    grid = TokenGrid(frames=tuple(range(9)), height=30, width=52)
    found = summary(pattern, grid, block=128, heads=2, head_width=64)
    print(f"keeps {found.token_density:.3f} of the pairs of tokens, computes {found.block_density:.3f}")
    q, k, v = torch.randn(3, 1, grid.tokens, 2, 64)
    for name, attention in (("dense", Dense()), ("sparse", SparseAttention(pattern))):
        attention(q, k, v, query=grid, key=grid, layer=0)  # plans once
        since = time.perf_counter()
        attention(q, k, v, query=grid, key=grid, layer=0)
        print(f"{name}: {time.perf_counter() - since:.2f} s for {grid.tokens:,} tokens")
    draw(pattern, grid, found).save("sparse_attention.png")
    print("sparse_attention.png")
