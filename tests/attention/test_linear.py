"""Linear attention against its formula pair by pair, alone and beside a sparse branch."""

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.attention.oracle import draw_qkv, oracle, visible_LM
from vgen.attention.blocks import NONE
from vgen.attention.executors.reference import Reference
from vgen.attention.linear import EPSILON, FEATURES, LinearAttention
from vgen.attention.order import TokenOrder
from vgen.attention.pattern import BlockPattern, Full, Pattern
from vgen.attention.planning import order_of, plan
from vgen.attention.radial import Radial, RadialBlocks
from vgen.attention.windows import Window
from vgen.errors import ConfigError
from vgen.shapes import TokenGrid

GRID = TokenGrid(frames=tuple(range(4)), height=3, width=5, text_before=2, text_after=3)
SPARSE: dict[str, Pattern | BlockPattern] = {
    "frames": Window(frames=0),
    "tiles": Window(rows=0, columns=1, tiles=TokenOrder(2, 2, 2)),
    "whole blocks": RadialBlocks(Radial(min_reach=2, sink=0)),
}


def by_pairs(attention: LinearAttention, grid: TokenGrid, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Weight exp(q.k / sqrt(K)) where the sparse branch keeps, phi(q).phi(k) in blocks it does not touch; float64."""
    phi = FEATURES[attention.feature]
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    weight = phi(q) @ phi(k).mT
    if isinstance(attention.sparse, Pattern | BlockPattern):
        kept, open_ = _pairs(attention.sparse, grid, attention.block)
        weight = (q @ k.mT / q.shape[-1] ** 0.5).exp() * kept + weight * open_
    return (weight @ v / (weight.sum(-1, keepdim=True) + EPSILON)).transpose(1, 2)


def _pairs(pattern: Pattern | BlockPattern, grid: TokenGrid, block: int) -> tuple[Tensor, Tensor]:
    """Which pairs softmax and linear attention compute, in raster order."""
    back = order_of(pattern, grid, grid, block=block).inverse(grid)
    device = torch.device("cpu")
    if isinstance(pattern, Pattern):
        blocks = plan(pattern, grid, grid, block=block, device=device)
        kept = visible_LM(pattern, grid, grid)
    else:
        blocks = pattern.blocks(grid, grid, block=block, device=device)
        kept = blocks.dense()[0, 0]
    state = blocks.state_BNUV[0, 0].repeat_interleave(block, 0).repeat_interleave(block, 1)
    return kept, (state == NONE)[: grid.tokens, : grid.tokens][back][:, back]


@given(st.sampled_from(sorted(FEATURES)), st.integers(1, 20), st.integers(1, 20))
def test_the_formula(feature: Literal["softmax", "elu", "relu"], queries: int, keys: int) -> None:
    q, k, v = draw_qkv(queries, keys, batch=2, width=8)
    query, key = (TokenGrid(frames=(0,), height=1, width=tokens) for tokens in (queries, keys))
    out = LinearAttention(feature=feature)(q, k, v, query=query, key=key, layer=0)
    phi_q, phi_k = (FEATURES[feature](x.double()).transpose(1, 2) for x in (q, k))
    weight = phi_q @ phi_k.mT
    wanted = weight @ v.double().transpose(1, 2) / (weight.sum(-1, keepdim=True) + EPSILON)
    torch.testing.assert_close(out.double(), wanted.transpose(1, 2), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("feature", ["softmax", "elu"])
@pytest.mark.parametrize("pattern", SPARSE)
def test_each_key_counts_once_beside_a_sparse_branch(pattern: str, feature: Literal["softmax", "elu"]) -> None:
    attention = LinearAttention(feature=feature, sparse=SPARSE[pattern], executor=Reference(), block=4)
    q, k, v = draw_qkv(GRID, GRID, batch=2, width=8)
    _, open_ = _pairs(SPARSE[pattern], GRID, 4)
    assert open_.any(), "both branches have something to do"
    out = attention(q, k, v, query=GRID, key=GRID, layer=0)
    torch.testing.assert_close(out.double(), by_pairs(attention, GRID, q, k, v), atol=5e-4, rtol=1e-3)


def test_a_full_sparse_branch_is_softmax_attention() -> None:
    q, k, v = draw_qkv(GRID, GRID)
    out = LinearAttention(sparse=Full(), executor=Reference(), block=8)(q, k, v, query=GRID, key=GRID, layer=0)
    torch.testing.assert_close(out.double(), oracle(Full(), GRID, GRID, q, k, v)[0], atol=2e-6, rtol=0)


@pytest.mark.parametrize("sparse", [None, Window(frames=0)])
def test_text_reaches_every_token(sparse: Window | None) -> None:
    attention = LinearAttention(sparse=sparse, executor=Reference() if sparse else None, block=5)
    q, k, v = draw_qkv(GRID, GRID)
    before = attention(q, k, v, query=GRID, key=GRID, layer=0)
    v = v.clone()
    v[:, -3:] += 50
    after = attention(q, k, v, query=GRID, key=GRID, layer=0)
    assert (after - before > 0.1).all()


@pytest.mark.parametrize("feature", sorted(FEATURES))
@pytest.mark.parametrize("sparse", [None, Window(frames=0)])
def test_gradients(feature: Literal["softmax", "elu", "relu"], sparse: Window | None) -> None:
    q, k, v = (x.clone().requires_grad_() for x in draw_qkv(GRID, GRID, heads=1, width=4))
    attention = LinearAttention(feature=feature, sparse=sparse, executor=Reference() if sparse else None, block=8)
    probe = torch.randn(q.shape, generator=torch.Generator().manual_seed(1))
    (attention(q, k, v, query=GRID, key=GRID, layer=0) * probe).sum().backward()
    wanted = [x.detach().clone().requires_grad_() for x in (q, k, v)]
    (by_pairs(attention, GRID, *wanted) * probe).sum().backward()
    for x, y in zip((q, k, v), wanted, strict=True):
        assert x.grad is not None and y.grad is not None
        torch.testing.assert_close(x.grad, y.grad, atol=2e-3, rtol=2e-2)


def test_half_precision_is_kept() -> None:
    q, k, v = draw_qkv(GRID, GRID, dtype=torch.bfloat16)
    for attention in (LinearAttention(), LinearAttention(sparse=Window(frames=1), executor=Reference(), block=16)):
        out = attention(q, k, v, query=GRID, key=GRID, layer=0)
        wanted = by_pairs(attention, GRID, q, k, v)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.double(), wanted, atol=2e-2, rtol=2e-2)


def test_it_says_that_it_is_another_function() -> None:
    assert LinearAttention.changes_function
    with pytest.raises(ConfigError, match=r"linear: feature='cosine' .* softmax, elu, relu"):
        LinearAttention(feature="cosine")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="a pattern and an executor"):
        LinearAttention(sparse=Full())
