"""Every executor gives what the definition of a pattern says, over patterns, grids, sizes, dtypes and maps."""

from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.attention.examples import GRIDS, PATTERNS
from tests.attention.oracle import draw_qkv, oracle, softmax_over, visible_LM
from vgen.attention.bias import frame_bias
from vgen.attention.blocks import FULL, NONE, BlockMap, edges_of
from vgen.attention.executors import EXECUTORS, Executor, Task, able, choose
from vgen.attention.executors.flex import Flex
from vgen.attention.lse import merged
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Full, Pattern
from vgen.attention.place import Place
from vgen.attention.planning import block_map
from vgen.attention.temporal import CausalWindow
from vgen.errors import ConfigError, ResourceError
from vgen.shapes import TokenGrid

CPU = torch.device("cpu")
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 2e-3}
LSE_TOLERANCE = 1e-4
EAGER = Flex(compiled=False)
QKV = tuple[Tensor, Tensor, Tensor]

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@dataclass(frozen=True)
class Scattered(Pattern):
    """Pairs without any order, about three in eleven."""

    def keeps(self, query: Place, key: Place) -> Tensor:
        return (query.t * 7 + query.p * 13 + key.t * 5 + key.p * 3) % 11 < 3

    def orders(self) -> tuple[TokenOrder, ...]:
        return (RASTER,)


def task(x_BLNK: Tensor, *, gradient: bool = False, lse: bool = False, bias: bool = False) -> Task:
    batch, _, heads, width = x_BLNK.shape
    return Task(
        device=x_BLNK.device,
        dtype=x_BLNK.dtype,
        head_width=width,
        heads=batch * heads,
        gradient=gradient,
        lse=lse,
        bias=bias,
    )


def placed(order: TokenOrder, query: TokenGrid, key: TokenGrid, qkv: QKV) -> QKV:
    """Queries, keys and values in the order of computation."""
    at_query, at_key = order.permutation(query), order.permutation(key)
    return qkv[0][:, at_query], qkv[1][:, at_key], qkv[2][:, at_key]


def assert_close(out: Tensor, wanted: Tensor, *, like: Tensor | None = None) -> None:
    """Within the tolerance of the dtype; where that is lower than fp32, or twice the error of torch's own masked
    attention `like` in it."""
    most, error = TOLERANCE[out.dtype], (out.double() - wanted).abs()
    mean = most / 10
    if like is not None:
        usual = (like.double() - wanted).abs()
        most, mean = max(most, 2 * usual.max().item()), max(mean, 2 * usual.mean().item())
    assert error.max() <= most
    assert error.mean() <= mean


def assert_lse(lse: Tensor, wanted: Tensor) -> None:
    assert torch.equal(lse == -torch.inf, wanted == -torch.inf)
    assert (lse - wanted).nan_to_num(0).abs().max() <= LSE_TOLERANCE


def kept_by(map_: BlockMap, visible: Tensor, dropped_BNUV: Tensor) -> Tensor:
    """kept_BNLM where whole blocks are dropped from what is visible."""
    rows, columns = (torch.tensor(edges).diff() for edges in (map_.query_edges, map_.key_edges))
    return visible & ~dropped_BNUV.repeat_interleave(rows, 2).repeat_interleave(columns, 3)


@pytest.mark.parametrize("grids", GRIDS)
@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name: str, grids: str) -> None:
    (query, key), pattern = GRIDS[grids], PATTERNS[name]
    qkv = draw_qkv(query, key)
    wanted, wanted_lse = oracle(pattern, query, key, *qkv)
    for order in pattern.orders():
        blocks = block_map(pattern, query, key, block=16, order=order, device=CPU)
        inputs, inverse = placed(order, query, key, qkv), order.inverse(query)
        for executor in ("reference", "gather"):
            out, lse = EXECUTORS[executor].with_lse(*inputs, blocks)
            assert_close(out[:, inverse], wanted)
            assert_lse(lse[:, :, inverse], wanted_lse)
    if grids in ("text", "slots of a ring"):
        assert_close(EAGER(*inputs, blocks)[:, inverse], wanted)


LENGTHS = {"multiple": (0, 4, 0, 0), "ragged": (0, 4, 0, 5), "text before": (19, 4, 3, 0), "text after": (0, 4, 3, 21)}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("block", [16, 64, 128])
@pytest.mark.parametrize("length", [*LENGTHS, "shorter than a block"])
def test_sizes(block: int, length: str, dtype: torch.dtype) -> None:
    """Lengths that blocks divide or not, text in front and behind, items and heads alike or each with a map."""
    if length == "shorter than a block":
        grid = TokenGrid(frames=(0,), height=1, width=block - 3)
    else:
        before, frames, more, after = LENGTHS[length]
        grid = TokenGrid(
            frames=tuple(range(frames)), height=2, width=block // 2 + more, text_before=before, text_after=after
        )
    blocks = block_map(Scattered(), grid, grid, block=block, order=RASTER, device=CPU)
    visible = visible_LM(Scattered(), grid, grid)
    for batch, items, heads in product((1, 2), (False, True), (False, True)):
        if items and batch == 1:
            continue
        sides = (batch if items else 1, 3 if heads else 1)
        generator = torch.Generator().manual_seed(block)
        dropped = torch.rand(*sides, *blocks.state_BNUV.shape[2:], generator=generator) < 0.3
        map_ = replace(blocks, state_BNUV=blocks.state_BNUV.masked_fill(dropped, NONE))
        qkv = draw_qkv(grid, grid, batch=batch, heads=3, width=24, dtype=dtype)
        kept = kept_by(map_, visible, dropped)
        wanted, wanted_lse = softmax_over(*qkv, kept)
        q, k, v = (x.transpose(1, 2) for x in qkv)
        usual = scaled_dot_product_attention(q, k, v, attn_mask=kept).transpose(1, 2)
        for executor in ("reference", "gather"):
            out, lse = EXECUTORS[executor].with_lse(*qkv, map_)
            assert out.dtype == dtype
            assert_close(out, wanted, like=None if dtype == torch.float32 else usual)
            assert_lse(lse, wanted_lse)


def whole_blocks(
    query_edges: tuple[int, ...], key_edges: tuple[int, ...], *, batch: int, heads: int, share: float = 0.4
) -> tuple[BlockMap, Tensor]:
    """A map that chooses whole blocks by chance, and what it keeps; the first block of queries keeps nothing."""
    sizes = (torch.tensor(query_edges).diff(), torch.tensor(key_edges).diff())
    generator = torch.Generator().manual_seed(3)
    chosen = torch.rand(batch, heads, len(sizes[0]), len(sizes[1]), generator=generator) < share
    chosen[:, :, 0] = False
    state = torch.where(chosen, FULL, NONE).to(torch.uint8)
    map_ = BlockMap(state_BNUV=state, query_edges=query_edges, key_edges=key_edges)
    return map_, chosen.repeat_interleave(sizes[0], 2).repeat_interleave(sizes[1], 3)


EDGES = {
    "even": (edges_of(90, 32), edges_of(70, 32)),
    "single queries": (edges_of(41, 1), (0, 7, 30, 31, 70)),
    "unequal": ((0, 1, 20, 64, 90), (0, 40, 43, 70)),
    "one block": ((0, 33), (0, 50)),
}


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize(("batch", "heads"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_whole_blocks(edges: str, batch: int, heads: int) -> None:
    map_, kept = whole_blocks(*EDGES[edges], batch=batch, heads=heads)
    qkv = draw_qkv(map_.queries, map_.keys, batch=2, heads=3)
    wanted, wanted_lse = softmax_over(*qkv, kept)
    assert {"reference", "gather", "varlen"} <= set(able(map_, task(qkv[0], lse=True)))
    for executor in ("reference", "gather", "varlen"):
        out, lse = EXECUTORS[executor].with_lse(*qkv, map_)
        assert_close(out, wanted)
        assert_lse(lse, wanted_lse)
        assert torch.equal(out, EXECUTORS[executor](*qkv, map_))
    if edges in ("even", "one block"):
        assert_close(EAGER(*qkv, map_), wanted)


def test_a_query_that_keeps_nothing_gives_zeros() -> None:
    """Also inside a partial block, where its neighbours keep something."""
    grid = TokenGrid(frames=(0, 1, 2), height=2, width=5)

    @dataclass(frozen=True)
    class OddOnly(Pattern):
        def keeps(self, query: Place, key: Place) -> Tensor:
            return (query.p % 2 == 1) & (key.t == 0)

        def orders(self) -> tuple[TokenOrder, ...]:
            return (RASTER,)

    blocks = block_map(OddOnly(), grid, grid, block=8, order=RASTER, device=CPU)
    qkv = draw_qkv(grid, grid)
    odd = torch.arange(grid.tokens) % 10 % 2 == 1
    for executor in ("reference", "gather"):
        out, lse = EXECUTORS[executor].with_lse(*qkv, blocks)
        assert bool((out[:, ~odd] == 0).all()) and bool((lse[:, :, ~odd] == -torch.inf).all())
        assert bool(lse[:, :, odd].isfinite().all())
    assert bool((EAGER(*qkv, blocks)[:, ~odd] == 0).all())


@pytest.mark.parametrize("order", [RASTER, TokenOrder(None, 2, 2)])
def test_bias(order: TokenOrder) -> None:
    query = TokenGrid(frames=(4, 5), height=3, width=4, text_before=3)
    key = TokenGrid(frames=(0, 1, 2, 3, 4, 5), height=3, width=4, text_after=6)
    table = torch.randn(2, 6, generator=torch.Generator().manual_seed(1))

    def rule(query_T: Tensor, key_S: Tensor, *, sigma: float | None) -> Tensor:
        return table

    bias = frame_bias(rule, query, key, order=order, sigma=None, device=CPU)
    qkv = draw_qkv(query, key)
    inputs = placed(order, query, key, qkv)
    for pattern in (Full(), CausalWindow(), Scattered()):
        blocks = block_map(pattern, query, key, block=16, order=order, device=CPU)
        wanted, wanted_lse = oracle(pattern, query, key, *qkv, bias_TS=table, scale=0.3)
        for executor in ("reference", "gather"):
            out, lse = EXECUTORS[executor].with_lse(*inputs, blocks, bias=bias, scale=0.3)
            assert_close(out[:, order.inverse(query)], wanted)
            assert_lse(lse[:, :, order.inverse(query)], wanted_lse)
        assert_close(EAGER(*inputs, blocks, bias=bias, scale=0.3)[:, order.inverse(query)], wanted)


@pytest.mark.parametrize("executor", ["reference", "gather"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sides", [(1, 1), (2, 3)])
def test_gradients(executor: str, dtype: torch.dtype, sides: tuple[int, int]) -> None:
    grid = TokenGrid(frames=(0, 1, 2), height=4, width=5, text_after=7)
    blocks = block_map(Scattered(), grid, grid, block=16, order=RASTER, device=CPU)
    dropped = torch.rand(*sides, *blocks.state_BNUV.shape[2:], generator=torch.Generator().manual_seed(5)) < 0.4
    dropped[..., 1, :] = True  # queries that keep nothing
    map_ = replace(blocks, state_BNUV=blocks.state_BNUV.masked_fill(dropped, NONE))
    kept = kept_by(map_, visible_LM(Scattered(), grid, grid), dropped)
    qkv = [x.requires_grad_() for x in draw_qkv(grid, grid, batch=2, heads=3, dtype=dtype)]
    out_weight, lse_weight = torch.randn_like(qkv[0]).double(), torch.randn(2, 3, grid.tokens).double()

    def gradients(out: Tensor, lse: Tensor) -> tuple[Tensor, ...]:
        finite = lse.double().masked_fill(lse == -torch.inf, 0)
        return torch.autograd.grad((out.double() * out_weight).sum() + (finite * lse_weight).sum(), qkv)

    assert EXECUTORS[executor].supports(map_, task(qkv[0], gradient=True, lse=True)) is None
    wanted = gradients(*softmax_over(qkv[0], qkv[1], qkv[2], kept))
    found = gradients(*EXECUTORS[executor].with_lse(qkv[0], qkv[1], qkv[2], map_))
    most, mean = (1e-5, 1e-6) if dtype == torch.float32 else (4e-2, 4e-3)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == dtype
        assert (ours - theirs).abs().max() <= most and (ours - theirs).abs().mean() <= mean


@pytest.mark.parametrize("executor", ["reference", "gather", "varlen"])
def test_disjoint_keys_merge_to_the_whole(executor: str) -> None:
    map_, kept = whole_blocks(edges_of(60, 16), edges_of(70, 16), batch=1, heads=3)
    qkv = draw_qkv(60, 70, heads=3)
    parts = []
    for odd in (0, 1):
        state = map_.state_BNUV.clone()
        state[..., odd::2] = NONE
        parts.append(EXECUTORS[executor].with_lse(*qkv, replace(map_, state_BNUV=state)))
    out, lse = merged(parts)
    wanted, wanted_lse = softmax_over(*qkv, kept)
    assert_close(out, wanted)
    assert_lse(lse, wanted_lse)


def test_merging_has_gradients_where_a_part_keeps_nothing() -> None:
    lses = [torch.tensor([[[0.5, -torch.inf, -torch.inf]]], requires_grad=True) for _ in range(2)]
    outs = [torch.ones(1, 3, 1, 2, requires_grad=True) for _ in range(2)]
    out, lse = merged(list(zip(outs, lses, strict=True)))
    found = torch.autograd.grad(out.sum() + lse[..., 0].sum(), [*lses, *outs])
    assert all(bool(gradient.isfinite().all()) for gradient in found)
    assert bool((out[:, 1:] == 0).all())


def test_a_map_that_keeps_everything_is_dense_attention() -> None:
    grid = TokenGrid(frames=(0, 1, 2), height=4, width=6)
    blocks = block_map(Full(), grid, grid, block=32, order=RASTER, device=CPU)
    qkv = draw_qkv(grid, grid, batch=2)
    wanted, _ = softmax_over(*qkv, torch.ones(grid.tokens, grid.tokens, dtype=torch.bool))
    for executor in (*(EXECUTORS[name] for name in ("dense", "gather", "reference", "varlen")), EAGER):
        assert_close(executor(*qkv, blocks), wanted)
    assert choose("auto", blocks, task(qkv[0])).executor == "dense"


@pytest.mark.parametrize("executor", [EXECUTORS["gather"], EXECUTORS["reference"], EAGER])
def test_heads_and_items_do_not_mix(executor: Executor) -> None:
    """Swapping items and heads, with their maps, swaps the results alone; other items change no bit."""
    map_, _ = whole_blocks(edges_of(40, 16), edges_of(40, 16), batch=2, heads=3)
    qkv = draw_qkv(40, 40, batch=2, heads=3)
    out = executor(*qkv, map_)
    swapped = replace(map_, state_BNUV=map_.state_BNUV.flip(0, 1))
    q, k, v = (x.flip(0, 2) for x in qkv)
    assert torch.allclose(executor(q, k, v, swapped).flip(0, 2), out, atol=1e-6)
    q, k, v = (torch.cat((x[:1], 100 * x[1:])) for x in qkv)
    assert torch.equal(executor(q, k, v, map_)[0], out[0])


# --- which one ---------------------------------------------------------------------------------------------------


def test_a_named_executor_runs_or_says_why_not() -> None:
    map_, _ = whole_blocks(edges_of(40, 1), edges_of(40, 16), batch=1, heads=1)
    x = torch.zeros(1, 40, 1, 16)
    assert choose("gather", map_, task(x)).executor == "gather"
    with pytest.raises(ResourceError) as caught:
        choose("flex", map_, task(x))
    assert str(caught.value) == (
        "executor 'flex' cannot run on cpu in float32: blocks of different sizes; able: gather, reference, varlen"
    )
    with pytest.raises(ResourceError, match=r"'xformers' cannot run on cpu .*vgen\[xformers\]"):
        choose("xformers", map_, task(x))
    with pytest.raises(ResourceError, match="'dense' cannot run on cpu in float32: the map drops pairs"):
        choose("dense", map_, task(x))
    with pytest.raises(ResourceError, match="'varlen' cannot run on cpu in float32: no gradient"):
        choose("varlen", map_, task(x, gradient=True))
    with pytest.raises(ResourceError, match="in float64: no kernel for float64; able: reference"):
        choose("gather", map_, task(x.double()))
    with pytest.raises(ConfigError, match="unknown executor 'flax'; did you mean 'flex'"):
        choose("flax", map_, task(x))


def test_partial_blocks_are_not_for_all() -> None:
    grid = TokenGrid(frames=(0, 1), height=3, width=3)
    blocks = block_map(Scattered(), grid, grid, block=8, order=RASTER, device=CPU)
    assert EXECUTORS["varlen"].supports(blocks, task(torch.zeros(1, 18, 1, 16))) == "the map masks pairs inside blocks"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("edges", EDGES)
def test_auto_finds_one_that_is_able(edges: str, gradient: bool, dtype: torch.dtype) -> None:
    map_, _ = whole_blocks(*EDGES[edges], batch=1, heads=3)
    qkv = draw_qkv(map_.queries, map_.keys, heads=3, dtype=dtype)
    choice = choose("auto", map_, task(qkv[0], gradient=gradient))
    assert choice.executor in able(map_, task(qkv[0], gradient=gradient))
    assert choice.reason
    assert (choice.executor == "varlen") == (edges == "single queries" and not gradient and dtype != torch.float64)


def test_compiling_must_be_worth_it() -> None:
    """One short call is not worth seconds of compiling, whatever the table says of the kernel."""
    map_, _ = whole_blocks(edges_of(128, 32), edges_of(128, 32), batch=1, heads=1)
    assert choose("auto", map_, task(torch.zeros(1, 128, 1, 64, dtype=torch.bfloat16)), calls=1).executor != "flex"
