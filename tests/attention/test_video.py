"""`SparseAttention` against the float64 oracle, what it says it did, and what it refuses."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.attention.oracle import draw_qkv, oracle
from vgen.attention import Dense, Schedule, SparseAttention
from vgen.attention.cycles import PerHead, PerLayer
from vgen.attention.order import TokenOrder
from vgen.attention.pattern import Full, Pattern
from vgen.attention.place import Place
from vgen.errors import ConfigError, InputError, ResourceError
from vgen.shapes import TokenGrid

GRID = TokenGrid(frames=(0, 1, 2, 3, 4), height=5, width=7)


@dataclass(frozen=True, slots=True)
class Near(Pattern):
    """Frames within `reach`; in tiles, so that tokens are moved."""

    reach: int

    def keeps(self, query: Place, key: Place) -> Tensor:
        return (abs(query.t - key.t) <= self.reach) & (abs(query.w - key.w) <= 2)

    def orders(self) -> tuple[TokenOrder, ...]:
        return (TokenOrder(2, 3, 2),)


def run(attention: SparseAttention, grid: TokenGrid = GRID, layer: int = 0, sigma: float | None = None, **drawn: Any):  # type: ignore[no-untyped-def]
    q, k, v = draw_qkv(grid, grid, **drawn)
    return attention(q, k, v, query=grid, key=grid, layer=layer, sigma=sigma), (q, k, v)


@pytest.mark.parametrize("text", [(0, 0), (3, 0), (0, 9)])
@pytest.mark.parametrize("executor", ["auto", "reference", "gather"])
def test_a_pattern_in_its_own_order_equals_the_oracle(executor: str, text: tuple[int, int]) -> None:
    grid = TokenGrid(frames=GRID.frames, height=5, width=7, text_before=text[0], text_after=text[1])
    out, qkv = run(SparseAttention(Near(1), executor=executor, block=16), grid, batch=2)
    torch.testing.assert_close(out.double(), oracle(Near(1), grid, grid, *qkv)[0], rtol=0, atol=2e-6)


def test_queries_that_follow_a_context() -> None:
    query = TokenGrid(frames=(7, 8), height=5, width=7)
    key = TokenGrid(frames=(0, 5, 6, 7, 8), height=5, width=7)
    q, k, v = draw_qkv(query, key)
    out = SparseAttention(Near(2), block=16)(q, k, v, query=query, key=key, layer=0)
    torch.testing.assert_close(out.double(), oracle(Near(2), query, key, q, k, v)[0], rtol=0, atol=2e-6)


def test_heads_and_layers_cycle_through_their_patterns() -> None:
    attention = SparseAttention(PerLayer((PerHead((Near(0), Full())), Near(1))), block=16)
    for layer in range(3):
        out, qkv = run(attention, layer=layer, heads=3, seed=layer)
        for head in range(3):
            pattern = Near(1) if layer == 1 else (Near(0), Full())[head % 2]
            one = tuple(x[:, :, head : head + 1] for x in qkv)
            torch.testing.assert_close(
                out[:, :, head : head + 1].double(), oracle(pattern, GRID, GRID, *one)[0], rtol=0, atol=2e-6
            )


def test_the_schedule_keeps_calls_dense_and_the_report_says_so() -> None:
    attention = SparseAttention(Near(0), block=16, schedule=Schedule.of_steps((1.0, 0.5), first=1, layers=1))
    for sigma in (1.0, 0.5):
        for layer in (0, 1):
            out, (q, k, v) = run(attention, layer=layer, sigma=sigma)
            dense = Dense()(q, k, v, query=GRID, key=GRID, layer=layer)
            assert torch.equal(out, dense) == (layer == 0 or sigma == 1.0)
    first, leading, sparse_row = sorted(attention.explain(), key=lambda row: (row.pattern != "dense", -row.calls))
    assert (first.pattern, first.layers, first.sigmas, first.calls, first.token_density) == (
        "dense",
        (0,),
        (1.0, 0.5),
        2,
        1.0,
    )
    assert (leading.pattern, leading.layers, leading.sigmas) == ("dense", (1,), (1.0,))
    assert (sparse_row.layers, sparse_row.sigmas, sparse_row.calls) == ((1,), (0.5,), 1)
    kept = oracle_density(Near(0))
    assert sparse_row.token_density == pytest.approx(kept) and sparse_row.block_density >= kept
    assert attention.effective_density() == pytest.approx((3 + sparse_row.block_density) / 4)


def oracle_density(pattern: Pattern) -> float:
    """Share of pairs that the oracle sees a key through: equal keys make every weight the same."""
    ones = torch.ones(1, GRID.tokens, 1, 4)
    _, lse = oracle(pattern, GRID, GRID, ones * 0, ones, ones)
    return float(lse.exp().sum()) / GRID.tokens**2


def test_gradients_reach_what_went_in() -> None:
    q, k, v = (x.clone().requires_grad_() for x in draw_qkv(GRID, GRID))
    SparseAttention(Near(1), block=16)(q, k, v, query=GRID, key=GRID, layer=0).square().sum().backward()
    want = [x.detach().clone().requires_grad_() for x in (q, k, v)]
    oracle(Near(1), GRID, GRID, *want)[0].square().sum().backward()
    for got, right in zip((q, k, v), want, strict=True):
        assert got.grad is not None and right.grad is not None
        torch.testing.assert_close(got.grad, right.grad, rtol=0, atol=2e-5)


def test_a_grid_of_other_tokens_is_refused() -> None:
    q, k, v = draw_qkv(GRID, GRID)
    wrong = TokenGrid(frames=GRID.frames, height=5, width=8)
    with pytest.raises(InputError, match="5x5x8 has 200 tokens, got 175"):
        SparseAttention(Full())(q, k, v, query=wrong, key=GRID, layer=0)


def test_a_block_larger_than_the_sequence_is_refused() -> None:
    with pytest.raises(ConfigError, match="block of 176 tokens over 175; possible: 1 to 175"):
        run(SparseAttention(Full(), block=176))


def test_an_executor_that_cannot_is_refused_and_named() -> None:
    with pytest.raises(ResourceError, match="executor 'xformers' cannot run on cpu"):
        run(SparseAttention(Near(1), executor="xformers"))
