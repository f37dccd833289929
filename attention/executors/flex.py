"""`flex`: torch's FlexAttention, compiled for each shape; the fastest in bf16 on CPUs with matrix units and on GPUs.

Known trap: without a `mask_mod`, everything that is not compiled (torch's fallback after too many shapes, or after an
error) forgets the block table and computes dense attention in silence. So the `mask_mod` here always reads the table,
and compiling is for the whole graph or an error.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from vgen.attention.blocks import FULL, PART, BlockMap
from vgen.attention.executors.base import FrameBias, Task, check

__all__ = ["Flex", "compiler_problem"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_COMPILED_KEPT = 32
_LARGEST_TILE, _LEAST_TILE = 128, 16  # of the GPU kernel; blocks are made of whole ones

_Call = Callable[..., Any]


class Flex:
    """Compiles on the first call of each shape; `compile_s` says how long all of these took so far.

    Args:
        compiled: whether to compile. Without it everything is computed in full and then masked, in the memory of dense
            logits: for tests.
    """

    def __init__(self, *, compiled: bool = True) -> None:
        self._compile = compiled
        self._calls: OrderedDict[Hashable, _Call] = OrderedDict()
        self.compile_s = 0.0

    def supports(self, blocks: BlockMap, task: Task) -> str | None:
        if task.dtype not in _DTYPES:
            return f"no kernel for {str(task.dtype).removeprefix('torch.')}"
        if _block(blocks) is None:
            return "blocks of different sizes"
        if task.device.type == "cuda":
            return _cuda_problem(blocks, task)
        if task.device.type != "cpu":
            return "it runs on CPUs and CUDA devices alone"
        if task.gradient or task.lse:
            return f"no {'gradient' if task.gradient else 'log-sum-exp'} on a CPU"
        return compiler_problem()

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        blocks: BlockMap,
        *,
        scale: float | None = None,
        bias: FrameBias | None = None,
    ) -> Tensor:
        out_BLNK: Tensor = self._run(q_BLNK, k_BMNK, v_BMNK, blocks, scale, bias, None)
        return out_BLNK.transpose(1, 2)

    def with_lse(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        blocks: BlockMap,
        *,
        scale: float | None = None,
        bias: FrameBias | None = None,
    ) -> tuple[Tensor, Tensor]:
        out_BNLK, aux = self._run(q_BLNK, k_BMNK, v_BMNK, blocks, scale, bias, AuxRequest(lse=True))
        return out_BNLK.transpose(1, 2), aux.lse

    def _run(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        blocks: BlockMap,
        scale: float | None,
        bias: FrameBias | None,
        aux: AuxRequest | None,
    ) -> Any:
        check(q_BLNK, k_BMNK, v_BMNK, blocks)
        gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (q_BLNK, k_BMNK, v_BMNK))
        block_mask = _block_mask(blocks, gradient)
        score_mod = None if bias is None else _score_mod(bias)
        tensors = [x.transpose(1, 2) for x in (q_BLNK, k_BMNK, v_BMNK)]
        asked: dict[str, Any] = {"score_mod": score_mod, "block_mask": block_mask, "scale": scale, "return_aux": aux}
        asked |= {"kernel_options": _kernel_options(q_BLNK.device, block_mask.BLOCK_SIZE[0])}
        if not self._compile:
            call: _Call = flex_attention
            return call(*tensors, **asked)
        predicate = None if blocks.mask is None else getattr(blocks.mask.keeps, "__self__", blocks.mask.keeps)
        grids = None if blocks.mask is None else (blocks.mask.query.grid, blocks.mask.key.grid)
        shapes = (q_BLNK.shape, k_BMNK.shape, blocks.state_BNUV.shape, block_mask.BLOCK_SIZE)
        name = (q_BLNK.dtype, q_BLNK.device, shapes, predicate, grids, scale, bias is None, aux, gradient)
        known = self._calls.pop(name, None)
        call = self._calls[name] = known or torch.compile(flex_attention, fullgraph=True, dynamic=False)
        if len(self._calls) > _COMPILED_KEPT:
            self._calls.popitem(last=False)
        began = time.perf_counter()
        # torch gives a function up after eight shapes; more are wanted here, and are the caller's to bound
        with torch._dynamo.config.patch(recompile_limit=1 << 16, accumulated_recompile_limit=1 << 16):
            found = call(*tensors, **asked)
        if known is None:
            self.compile_s += time.perf_counter() - began
        return found


def _block(blocks: BlockMap) -> int | None:
    """The size of blocks, where they have one; a map of one block takes any size that holds it."""
    if len(blocks.query_edges) == len(blocks.key_edges) == 2:
        return -(-max(blocks.queries, blocks.keys) // _LARGEST_TILE) * _LARGEST_TILE
    return blocks.block


@lru_cache(maxsize=8)
def _block_mask(blocks: BlockMap, gradient: bool) -> BlockMask:
    """The map as torch has it. `gradient` needs the transposed table too."""
    block = _block(blocks)
    assert block is not None, "blocks of one size"
    part, full = (_listed(blocks.state_BNUV == state) for state in (PART, FULL))
    return BlockMask.from_kv_blocks(
        *part,
        *full,
        BLOCK_SIZE=block,
        mask_mod=_mask_mod(blocks, block),
        seq_lengths=(blocks.queries, blocks.keys),
        compute_q_blocks=gradient,
    )


def _listed(chosen_BNUV: Tensor) -> tuple[Tensor, Tensor]:
    """How many key blocks each query block reads, and which: they stand first."""
    order = chosen_BNUV.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return chosen_BNUV.sum(-1, dtype=torch.int32), order.to(torch.int32).contiguous()


def _mask_mod(blocks: BlockMap, block: int) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    state_BNUV, mask = blocks.state_BNUV, blocks.mask
    items, heads = state_BNUV.shape[:2]

    def kept(item: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        state = state_BNUV[item % items, head % heads, query // block, key // block]
        if mask is None:
            return state == FULL
        return (state == FULL) | ((state == PART) & mask(query, key))

    return kept


def _score_mod(bias: FrameBias) -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]:
    def biased(score: Tensor, item: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score + bias.between(query, key)

    return biased


def _kernel_options(device: torch.device, block: int) -> dict[str, int] | None:
    """Tiles of the GPU kernel that divide a block; torch's own choice wherever that does."""
    if device.type != "cuda" or block % _LARGEST_TILE == 0:
        return None
    tile = block & -block  # the largest power of two that divides it
    small, large = min(tile, 32), min(tile, 64)
    return {
        "fwd_BLOCK_M": large,
        "fwd_BLOCK_N": small,
        "bwd_BLOCK_M1": small,
        "bwd_BLOCK_N1": large,
        "bwd_BLOCK_M2": large,
        "bwd_BLOCK_N2": small,
    }


def _cuda_problem(blocks: BlockMap, task: Task) -> str | None:
    if torch.cuda.get_device_capability(task.device) < (8, 0):
        return "it needs compute capability 8.0"
    if task.head_width < _LEAST_TILE:
        return f"heads narrower than {_LEAST_TILE} on a GPU"
    block = _block(blocks)
    if block is None or block % _LEAST_TILE:
        return f"blocks of {block} tokens on a GPU; possible: multiples of {_LEAST_TILE}"
    return None


@cache
def compiler_problem() -> str | None:
    """Why a CPU kernel cannot be compiled; asks the compiler once."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    if sys.platform == "darwin" or not torch.cpu._is_avx2_supported():
        return "on a CPU it needs AVX2 and Linux or Windows"
    try:
        compiler = get_cpp_compiler()
    except InvalidCxxCompiler:
        return "no C++ compiler; install g++, or name one in the environment as CXX"
    if sys.platform == "win32":
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [compiler, "-x", "c++", "-", "-shared", "-fPIC", "-fopenmp", "-o", os.path.join(folder, "tried.so")]
        done = subprocess.run(command, input=b"#include <omp.h>\n#include <vector>\n", capture_output=True, check=False)
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"the C++ compiler '{compiler}' fails: {said[0] if said else done.returncode}" if done.returncode else None
