"""What has gone wrong elsewhere: silent dense attention, padding that is read, a future that leaks, a missing compiler.

FlexAttention compiles for seconds per shape: a few shapes here, more of them under `slow`.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.attention.examples import PATTERNS
from tests.attention.oracle import draw_qkv, oracle, softmax_over
from tests.attention.test_executors import CPU, EAGER, Scattered, assert_close, assert_lse, placed, task, whole_blocks
from vgen.attention.bias import TemporalDecay, frame_bias
from vgen.attention.blocks import edges_of
from vgen.attention.executors import EXECUTORS, Executor, choose
from vgen.attention.executors import flex as flex_module
from vgen.attention.executors.flex import Flex
from vgen.attention.order import RASTER
from vgen.attention.planning import block_map
from vgen.attention.temporal import CausalWindow
from vgen.errors import ResourceError
from vgen.shapes import TokenGrid

ROOT = Path(__file__).parents[2]
GRID = TokenGrid(frames=(0, 1, 2, 3), height=5, width=7, text_before=3, text_after=9)
FLEX = Flex()

pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),  # torch's own, on compiling
]
compiles = pytest.mark.skipif(flex_module.compiler_problem() is not None, reason="flex cannot be compiled here")


@compiles
def test_compiled_flex_is_exact_and_equals_eager() -> None:
    """A partial mask, text on both sides, a ragged end, two items; and another map of these shapes compiles nothing."""
    qkv = draw_qkv(GRID, GRID, batch=2, width=32, dtype=torch.bfloat16)
    pattern = CausalWindow(window=2, sink=1) | PATTERNS["space"]
    blocks = block_map(pattern, GRID, GRID, block=32, order=RASTER, device=CPU)
    wanted, _ = oracle(pattern, GRID, GRID, *qkv)
    like = EXECUTORS["reference"](*qkv, blocks)
    assert_close(FLEX(*qkv, blocks), wanted, like=like)
    assert_close(EAGER(*qkv, blocks), wanted, like=like)
    assert FLEX.compile_s > 0
    spent = FLEX.compile_s
    FLEX(*qkv, replace(blocks))
    assert FLEX.compile_s == spent


@compiles
def test_compiled_flex_takes_maps_per_item_and_head() -> None:
    map_, kept = whole_blocks(edges_of(100, 32), edges_of(90, 32), batch=2, heads=3)
    qkv = draw_qkv(100, 90, batch=2, heads=3)
    assert_close(FLEX(*qkv, map_), softmax_over(*qkv, kept)[0])


@compiles
def test_compiled_flex_adds_a_bias_and_compiles_nothing_for_the_next() -> None:
    blocks = block_map(Scattered(), GRID, GRID, block=32, order=RASTER, device=CPU)
    qkv = draw_qkv(GRID, GRID)
    spent = []
    for rate in (0.5, 2.0):
        rule = TemporalDecay(rate)
        bias = frame_bias(rule, GRID, GRID, order=RASTER, sigma=None, device=CPU)
        frames = torch.tensor(GRID.frames)
        wanted, _ = oracle(Scattered(), GRID, GRID, *qkv, bias_TS=rule(frames, frames, sigma=None))
        assert_close(FLEX(*qkv, blocks, bias=bias), wanted)
        spent.append(FLEX.compile_s)
    assert spent[0] == spent[1]


@compiles
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twelve_shapes_in_one_process_stay_exact() -> None:
    """Torch falls back to dense attention, by default and in silence, from the ninth shape on."""
    for tokens in range(65, 77):
        map_, kept = whole_blocks(edges_of(tokens, 32), edges_of(tokens, 32), batch=1, heads=1)
        qkv = draw_qkv(tokens, tokens)
        assert_close(FLEX(*qkv, map_), softmax_over(*qkv, kept)[0])


@compiles
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PATTERNS)
def test_flex_compiles_every_pattern(name: str) -> None:
    pattern = PATTERNS[name]
    order = pattern.orders()[0]
    blocks = block_map(pattern, GRID, GRID, block=32, order=order, device=CPU)
    qkv = draw_qkv(GRID, GRID, dtype=torch.bfloat16, width=32)
    wanted, _ = oracle(pattern, GRID, GRID, *qkv)
    inputs, inverse = placed(order, GRID, GRID, qkv), order.inverse(GRID)
    like = EXECUTORS["reference"](*inputs, blocks)[:, inverse]
    assert_close(FLEX(*inputs, blocks)[:, inverse], wanted, like=like)


def test_flex_says_what_it_lacks_on_a_cpu() -> None:
    map_, _ = whole_blocks(edges_of(64, 32), edges_of(64, 32), batch=1, heads=1)
    x = torch.zeros(1, 64, 1, 16)
    assert EXECUTORS["flex"].supports(map_, task(x, gradient=True)) == "no gradient on a CPU"
    assert EXECUTORS["flex"].supports(map_, task(x, lse=True)) == "no log-sum-exp on a CPU"
    single, _ = whole_blocks(edges_of(64, 1), edges_of(64, 32), batch=1, heads=1)
    assert EXECUTORS["flex"].supports(single, task(x)) == "blocks of different sizes"


WITHOUT_COMPILER = """
import torch
from tests.attention.test_executors import task, whole_blocks
from vgen.attention.blocks import edges_of
from vgen.attention.executors import EXECUTORS, able, choose
from vgen.errors import ResourceError
map_, _ = whole_blocks(edges_of(64, 32), edges_of(64, 32), batch=1, heads=1)
x = torch.randn(1, 64, 1, 16, dtype=torch.bfloat16)
choice = choose("auto", map_, task(x), calls=10**9)
assert choice.executor in able(map_, task(x)) and choice.executor != "flex", choice
EXECUTORS[choice.executor](x, x, x, map_)
try:
    choose("flex", map_, task(x))
except ResourceError as error:
    print(error)
"""


@pytest.mark.parametrize("compiler", [None, "/bin/false"])
def test_without_a_compiler_flex_refuses_and_auto_works(tmp_path: Path, compiler: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CXX", "CC", "PATH")}
    environment |= {"PATH": str(tmp_path)} | ({} if compiler is None else {"CXX": compiler})
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "executor 'flex' cannot run on cpu in bfloat16: no C++ compiler" in done.stdout


def test_a_refused_executor_raises_and_nothing_else_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    map_, _ = whole_blocks(edges_of(64, 32), edges_of(64, 32), batch=1, heads=1)
    x = torch.zeros(1, 64, 1, 16)
    monkeypatch.setattr(flex_module, "compiler_problem", lambda: "no C++ compiler")
    with pytest.raises(ResourceError, match="no C\\+\\+ compiler; able: gather, reference, varlen"):
        choose("flex", map_, task(x))


@pytest.mark.parametrize("executor", [EXECUTORS["gather"], EXECUTORS["reference"], EXECUTORS["varlen"], EAGER])
def test_padding_is_never_read(executor: Executor) -> None:
    """Memory around queries, keys and values is NaN; a strided piece of a larger tensor gives the same as a copy."""
    map_, kept = whole_blocks(edges_of(37, 16), edges_of(53, 16), batch=1, heads=2)
    qkv = draw_qkv(37, 53)
    assert not any(x.is_contiguous() and x.untyped_storage().nbytes() == x.nbytes for x in qkv)
    before = [x.clone() for x in qkv]
    out = executor(*qkv, map_)
    assert_close(out, softmax_over(*qkv, kept)[0])
    assert torch.equal(out, executor(before[0], before[1], before[2], map_))
    assert all(torch.equal(x, old) for x, old in zip(qkv, before, strict=True)), "inputs are not written to"


@pytest.mark.parametrize("name", ["gather", "reference", "flex"])
def test_the_future_changes_no_bit(name: str) -> None:
    """Causal over frames, at a block size that frames do not divide into."""
    pattern, per_frame = CausalWindow(chunk=1, window=3, sink=1), GRID.tokens_per_frame
    grid = TokenGrid(frames=GRID.frames, height=GRID.height, width=GRID.width)
    executor = EAGER if name == "flex" else EXECUTORS[name]
    blocks = block_map(pattern, grid, grid, block=16, order=RASTER, device=CPU)
    q, k, v = draw_qkv(grid, grid)
    out = executor(q, k, v, blocks)
    for frame in range(1, len(grid.frames)):
        k_changed, v_changed = k.clone(), v.clone()
        k_changed[:, frame * per_frame :] *= -3
        v_changed[:, frame * per_frame :] += 100
        changed = executor(q, k_changed, v_changed, blocks)
        assert torch.equal(changed[:, : frame * per_frame], out[:, : frame * per_frame])
        assert not torch.equal(changed[:, frame * per_frame :], out[:, frame * per_frame :])


def test_two_resolutions_in_one_process() -> None:
    """What is remembered of a map is never taken for another of the same pattern or length."""
    executor, pattern = EXECUTORS["gather"], PATTERNS["space"]
    for height, width in ((6, 8), (8, 6), (4, 12), (6, 8)):
        grid = TokenGrid(frames=(0, 1), height=height, width=width)
        qkv = draw_qkv(grid, grid)
        blocks = block_map(pattern, grid, grid, block=16, order=RASTER, device=CPU)
        out, lse = executor.with_lse(*qkv, blocks)
        wanted, wanted_lse = oracle(pattern, grid, grid, *qkv)
        assert_close(out, wanted)
        assert_lse(lse, wanted_lse)


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor holds that anything makes."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)  # mypy exempts untyped calls of torch by this name alone
        self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        made = found if isinstance(found, tuple | list) else (found,)
        self.elements = max(
            [self.elements, *(x.untyped_storage().nbytes() // 4 for x in made if isinstance(x, Tensor))]
        )
        return found


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("name", ["gather", "reference"])
def test_long_sequences_make_no_square_tensor(name: str, gradient: bool) -> None:
    """Above 4096 tokens no executor holds a number for every pair of tokens, in the backward pass neither."""
    grid = TokenGrid(frames=tuple(range(10)), height=17, width=25)
    blocks = block_map(CausalWindow(window=2), grid, grid, block=128, order=RASTER, device=CPU)
    qkv = [x.requires_grad_(gradient) for x in draw_qkv(grid, grid, heads=1, width=8)]
    with Largest() as largest:
        out = EXECUTORS[name](qkv[0], qkv[1], qkv[2], blocks)
        if gradient:
            torch.autograd.grad(out.sum(), qkv)
    assert grid.tokens < largest.elements < grid.tokens**2 // 2
