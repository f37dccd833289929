"""The executors on a CUDA device, against the same oracle. Run with `make gpu`."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.attention.examples import GRIDS, PATTERNS
from tests.attention.oracle import draw_qkv, oracle, softmax_over, visible_LM
from tests.attention.test_executors import (
    EDGES,
    QKV,
    Scattered,
    assert_close,
    assert_lse,
    kept_by,
    placed,
    task,
    whole_blocks,
)
from vgen.attention.bias import TemporalDecay, frame_bias
from vgen.attention.blocks import NONE, BlockMap, edges_of
from vgen.attention.executors import EXECUTORS, choose
from vgen.attention.order import RASTER
from vgen.attention.planning import block_map

CUDA = torch.device("cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),  # torch's own, on compiling
]


def on_gpu(qkv: QKV) -> QKV:
    return qkv[0].to(CUDA), qkv[1].to(CUDA), qkv[2].to(CUDA)


def reference(qkv: QKV, blocks: BlockMap) -> Tensor:
    """What a kernel in the dtype of the inputs may miss by rounding its result."""
    return EXECUTORS["reference"](*qkv, blocks).cpu()


@pytest.mark.parametrize("grids", ["text", "cached context"])
@pytest.mark.parametrize("name", PATTERNS)
def test_flex_on_patterns(name: str, grids: str) -> None:
    (query, key), pattern = GRIDS[grids], PATTERNS[name]
    qkv = draw_qkv(query, key, width=64, dtype=torch.bfloat16)
    wanted, wanted_lse = oracle(pattern, query, key, *qkv)
    order = pattern.orders()[0]
    inverse = order.inverse(query)
    blocks = block_map(pattern, query, key, block=32, order=order, device=CUDA)
    inputs = on_gpu(placed(order, query, key, qkv))
    out, lse = EXECUTORS["flex"].with_lse(*inputs, blocks)
    assert_close(out.cpu()[:, inverse], wanted, like=reference(inputs, blocks)[:, inverse])
    assert (lse.cpu()[:, :, inverse] - wanted_lse).nan_to_num(0).abs().max() <= 2e-2  # of logits in bf16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("width", [64, 96, 128])
@pytest.mark.parametrize("block", [16, 64, 128])
def test_flex_on_maps_per_item_and_head(block: int, width: int, dtype: torch.dtype) -> None:
    map_, kept = whole_blocks(edges_of(300, block), edges_of(333, block), batch=2, heads=3)
    qkv = draw_qkv(300, 333, batch=2, heads=3, width=width, dtype=dtype)
    moved = replace(map_, state_BNUV=map_.state_BNUV.to(CUDA))
    like = reference(on_gpu(qkv), moved)
    assert_close(EXECUTORS["flex"](*on_gpu(qkv), moved).cpu(), softmax_over(*qkv, kept)[0], like=like)


def test_flex_with_a_bias_and_with_gradients() -> None:
    query, key = GRIDS["text"]
    rule = TemporalDecay(0.7)
    bias = frame_bias(rule, query, key, order=RASTER, sigma=None, device=CUDA)
    blocks = block_map(Scattered(), query, key, block=32, order=RASTER, device=CUDA)
    qkv = draw_qkv(query, key, width=64)
    inputs = [x.requires_grad_() for x in on_gpu(qkv)]
    frames = torch.tensor(query.frames), torch.tensor(key.frames)
    exact = [x.double().requires_grad_() for x in qkv]
    wanted, _ = oracle(Scattered(), query, key, exact[0], exact[1], exact[2], bias_TS=rule(*frames, sigma=None))
    weight = torch.randn_like(wanted)
    out = EXECUTORS["flex"](inputs[0], inputs[1], inputs[2], blocks, bias=bias)
    found = torch.autograd.grad((out.cpu().double() * weight).sum(), inputs)
    for ours, theirs in zip(found, torch.autograd.grad((wanted * weight).sum(), exact), strict=True):
        assert (ours.cpu() - theirs).abs().max() <= 4e-2
        assert (ours.cpu() - theirs).abs().mean() <= 4e-4


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize(("batch", "heads"), [(1, 1), (2, 3)])
def test_varlen(edges: str, batch: int, heads: int) -> None:
    map_, kept = whole_blocks(*EDGES[edges], batch=batch, heads=heads)
    moved = replace(map_, state_BNUV=map_.state_BNUV.to(CUDA))
    qkv = draw_qkv(map_.queries, map_.keys, batch=2, heads=3, width=64, dtype=torch.bfloat16)
    wanted, wanted_lse = softmax_over(*qkv, kept)
    out, lse = EXECUTORS["varlen"].with_lse(*on_gpu(qkv), moved)
    assert_close(out.cpu(), wanted, like=reference(on_gpu(qkv), moved))
    assert_lse(lse.cpu(), wanted_lse)
    assert torch.equal(EXECUTORS["varlen"](*on_gpu(qkv), moved), out), "sums are made in one order"


def test_reference_has_gradients() -> None:
    query, key = GRIDS["text"]
    blocks = block_map(Scattered(), query, key, block=16, order=RASTER, device=CUDA)
    dropped = torch.rand(1, 2, *blocks.state_BNUV.shape[2:], generator=torch.Generator().manual_seed(0)) < 0.3
    map_ = replace(blocks, state_BNUV=blocks.state_BNUV.masked_fill(dropped.to(CUDA), NONE))
    qkv = draw_qkv(query, key)
    inputs = [x.requires_grad_() for x in on_gpu(qkv)]
    wanted, _ = softmax_over(*qkv, kept_by(map_, visible_LM(Scattered(), query, key), dropped))
    out = EXECUTORS["reference"](inputs[0], inputs[1], inputs[2], map_)
    assert_close(out.detach().cpu(), wanted)
    assert all(bool(x.isfinite().all()) for x in torch.autograd.grad(out.sum(), inputs))


def test_auto_takes_flex_for_many_calls() -> None:
    map_, _ = whole_blocks(edges_of(4096, 128), edges_of(4096, 128), batch=1, heads=1, share=0.2)
    moved = replace(map_, state_BNUV=map_.state_BNUV.to(CUDA))
    x = torch.zeros(1, 4096, 8, 128, dtype=torch.bfloat16, device=CUDA)
    assert choose("auto", moved, task(x), calls=100_000).executor == "flex"
