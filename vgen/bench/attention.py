"""Every executor against dense attention, in one run: `python -m vgen.bench.attention [--json] [--quick] [--write]`.

On a CPU over maps of whole blocks, scattered or in a band, shared by all heads or one for each; on a GPU over Radial
Attention at the shapes of published models (`attention_cuda.py`). Dense attention is torch's fastest, in its best
layout. What is compared with it includes putting tokens into the order of computation and back, and planning after the
first call; compiling is told apart. The two take turns, and a ratio is the median over the pairs.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from vgen.attention.blocks import FULL, NONE, BlockMap, edges_of
from vgen.attention.executors import EXECUTORS, Task, choose
from vgen.attention.executors.flex import Flex
from vgen.attention.order import TokenOrder
from vgen.attention.planning import plan
from vgen.attention.radial import Radial
from vgen.bench.stamp import commit
from vgen.files import replacing
from vgen.machine import machine, versions
from vgen.shapes import TokenGrid

__all__ = ["CASES", "QUICK", "RESULTS", "Case", "bench_attention", "fastest_dense", "main", "peak_mib_of", "table"]

RESULTS = Path(__file__).with_name("results")
BLOCK, WIDTH = 128, 128
ORDER = TokenOrder(2, 8, 8)
OFTEN = 1 << 20  # calls over which compiling is nothing
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison.

    Args:
        frames: of 32x32 tokens.
        heads: of one item.
        dtype: of queries, keys and values.
        layout: of kept blocks: `random`, `heads` (random, another for each head) or `banded`.
        density: share of the blocks that is kept.
    """

    frames: int
    heads: int
    dtype: torch.dtype
    layout: str
    density: float

    @property
    def grid(self) -> TokenGrid:
        return TokenGrid(frames=tuple(range(self.frames)), height=32, width=32)

    def blocks(self) -> BlockMap:
        edges = edges_of(self.grid.tokens, BLOCK)
        count = len(edges) - 1
        kept = max(1, round(self.density * count))
        if self.layout == "banded":
            at = torch.arange(count)
            first = (at - kept // 2).clamp(0, count - kept)
            chosen = (at >= first[:, None]) & (at < first[:, None] + kept)
            chosen = chosen[None, None]
        else:
            sides = self.heads if self.layout == "heads" else 1
            rank = torch.rand(1, sides, count, count, generator=torch.Generator().manual_seed(0)).argsort(-1)
            chosen = rank < kept
        state = torch.where(chosen, FULL, NONE).to(torch.uint8)
        return BlockMap(state_BNUV=state, query_edges=edges, key_edges=edges)


_DENSITIES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 1.0)
_SPOTS = (0.10, 0.25)
CASES = tuple(
    Case(frames=frames, heads=heads, dtype=dtype, layout=layout, density=density)
    for dtype in (torch.float32, torch.bfloat16)
    for frames, heads, layout, densities in (
        (8, 4, "random", _DENSITIES),
        (8, 4, "banded", _DENSITIES[:-1]),
        (8, 4, "heads", _SPOTS),
        (16, 2, "random", _SPOTS),
        (16, 2, "banded", _SPOTS),
    )
    for density in densities
)
QUICK = tuple(
    Case(frames=2, heads=2, dtype=torch.float32, layout=layout, density=density)
    for layout in ("random", "banded")
    for density in (0.25, 0.50)
)


def bench_attention(
    cases: Sequence[Case] = CASES,
    *,
    executors: Sequence[str] = tuple(EXECUTORS),
    repeat: int = 7,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Runs the cases on the CPU.

    Args:
        cases: what is compared.
        executors: those that cannot do a case are left out of it.
        repeat: pairs of each comparison.
        say: told before each case how far it is.

    Returns:
        `rows`, one per case and executor; `auto`, the least ratio to dense attention of what `auto` would choose, by
        dtype and density; `planning`, seconds; and what it was taken on. Ready for JSON.
    """
    assert repeat >= 1, f"at least one pair, got {repeat}"
    cpu = torch.device("cpu")
    rows, began = [], time.perf_counter()
    for done, case in enumerate(cases):
        left = (time.perf_counter() - began) / done * (len(cases) - done) if done else None
        about = "" if left is None else f", about {left / 60:.0f} min left"
        say(f"{done + 1}/{len(cases)} {case.grid.tokens} tokens {case.dtype} {case.layout} {case.density}{about}")
        rows += _rows(case, executors, repeat)
    return {
        "machine": machine(cpu),
        "versions": versions(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "rows": rows,
        "auto": _least(rows),
        "planning": _planning(cases[0]),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table, or the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m vgen.bench.attention")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--quick", action="store_true", help="few and short cases, for a look")
    parser.add_argument("--write", action="store_true", help=f"write the figures to {RESULTS.name}/attention-cpu.json")
    asked = parser.parse_args(argv)
    cases, repeat = (QUICK, 3) if asked.quick else (CASES, 7)
    figures = bench_attention(cases, repeat=repeat, say=lambda line: print(line, file=sys.stderr))
    figures = {"command": "python -m vgen.bench.attention --write", "commit": commit()} | figures
    if asked.write:
        RESULTS.mkdir(exist_ok=True)
        with replacing(RESULTS / "attention-cpu.json") as partial:
            partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if asked.json:
        print(json.dumps(figures))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(table(figures["rows"]))
    return 0


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Rows for people."""
    columns = ("case", "density", "executor", "time", "dense", "ratio", "rate on kept", "peak", "compiled in")
    shown = Table(*columns)
    for row in rows:
        shown.add_row(
            f"{row['tokens']} x {row['heads']} {row['dtype']} {row['layout']}",
            f"{row['density']:.3f}",
            row["executor"] + (" (auto)" if row["auto"] else ""),
            f"{row['seconds'] * 1e3:.0f} ms",
            f"{row['dense_s'] * 1e3:.0f} ms {row['dense']}",
            f"{row['ratio']:.2f}x",
            f"{row['efficiency']:.2f}",
            f"{row['peak_mib']:.0f} MiB",
            f"{row['compile_s']:.1f} s" if row["compile_s"] else "",
        )
    return shown


def _rows(case: Case, executors: Sequence[str], repeat: int) -> list[dict[str, Any]]:
    blocks, tokens = case.blocks(), case.grid.tokens
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, tokens, case.heads, WIDTH, generator=generator).to(case.dtype) for _ in range(3))
    task = Task(device=q.device, dtype=case.dtype, head_width=WIDTH, heads=case.heads)
    name, dense = fastest_dense(q, k, v)
    chosen = choose("auto", blocks, task, OFTEN).executor
    rows = []
    for executor in executors:
        if EXECUTORS[executor].supports(blocks, task) is not None:
            continue
        call = _ordered_call(executor, case, q, k, v, blocks, task)
        if executor == "reference":  # no contender, and takes long: one call tells its memory, another its time
            compile_s, peak_mib = 0.0, peak_mib_of(call)
        else:
            compile_s, peak_mib = _first_call(executor, call)
        seconds, dense_s, ratio = _compare(call, dense, 1 if executor == "reference" else repeat)
        rows.append(
            {
                "tokens": tokens,
                "heads": case.heads,
                "width": WIDTH,
                "dtype": str(case.dtype).removeprefix("torch."),
                "layout": case.layout,
                "density": blocks.density(),
                "executor": executor,
                "auto": executor == chosen,
                "seconds": seconds,
                "dense": name,
                "dense_s": dense_s,
                "ratio": ratio,
                "efficiency": ratio * blocks.density(),
                "peak_mib": peak_mib,
                "compile_s": compile_s,
            }
        )
    return rows


def _ordered_call(
    executor: str, case: Case, q: Tensor, k: Tensor, v: Tensor, blocks: BlockMap, task: Task
) -> Callable[[], Tensor]:
    """All that one layer does: into the order of computation, the choice, attention, and back."""
    order, inverse = ORDER.permutation(case.grid), ORDER.inverse(case.grid)

    def call() -> Tensor:
        chosen = EXECUTORS[choose(executor, blocks, task).executor]
        return chosen(q[:, order], k[:, order], v[:, order], blocks)[:, inverse]

    return call


def fastest_dense(q_BLNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor) -> tuple[str, Callable[[], Tensor]]:
    """Torch's fastest dense attention for these: over its backends, heads in front or tokens in front."""
    names = {
        SDPBackend.FLASH_ATTENTION: "flash",
        SDPBackend.CUDNN_ATTENTION: "cudnn",
        SDPBackend.EFFICIENT_ATTENTION: "efficient",
    }
    found: dict[str, Callable[[], Tensor]] = {}
    strided = [x.transpose(1, 2) for x in (q_BLNK, k_BMNK, v_BMNK)]
    for layout, tensors in (("BNLK", [x.contiguous() for x in strided]), ("BLNK", strided)):
        for backend, name in names.items():
            if q_BLNK.is_cuda or backend is SDPBackend.FLASH_ATTENTION:  # a CPU has flash, and one that writes it all
                found[f"{name} {layout}"] = _sdpa(backend, tensors)
    times = {}
    for name, call in found.items():
        try:
            call()
        except RuntimeError:  # no kernel for this shape or device
            continue
        times[name] = min(_seconds(call) for _ in range(2))
    best = min(times, key=lambda name: times[name])
    return best, found[best]


def _sdpa(backend: SDPBackend, tensors: Sequence[Tensor]) -> Callable[[], Tensor]:
    q_BNLK, k_BNMK, v_BNMK = tensors

    def call() -> Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q_BNLK, k_BNMK, v_BNMK)

    return call


def _compare(call: Callable[[], Tensor], dense: Callable[[], Tensor], repeat: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio of pairs that ran one after the other."""
    pairs = [(_seconds(call), _seconds(dense)) for _ in range(repeat)]
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(b / a for a, b in pairs)


def _seconds(call: Callable[[], Tensor]) -> float:
    began = time.perf_counter()
    out = call()
    if out.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _first_call(executor: str, call: Callable[[], Tensor]) -> tuple[float, float]:
    """Seconds that went into compiling, and the most memory in MiB that a later call held beside its inputs."""
    compiler = EXECUTORS[executor]
    before = compiler.compile_s if isinstance(compiler, Flex) else 0.0
    call()
    compile_s = compiler.compile_s - before if isinstance(compiler, Flex) else 0.0
    return compile_s, peak_mib_of(call)


def peak_mib_of(call: Callable[[], Tensor]) -> float:
    """The most memory that a call holds beside what was held before; on a CPU resident memory, sampled."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / _MIB
    process, done, seen = psutil.Process(), Event(), [0]

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(process.memory_info().rss)

    before = process.memory_info().rss
    watcher = Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return max(0.0, (max(seen) - before) / _MIB)


def _least(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """dtype -> `at_10` for a density of about .10, and `at_all` -> the least ratio of the executors that auto chose."""
    least: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["auto"]:
            found = least.setdefault(row["dtype"], {})
            for name in (f"at_{round(100 * row['density'])}", "at_all"):
                found[name] = min(found.get(name, float("inf")), row["ratio"])
    return least


def _planning(case: Case) -> dict[str, float]:
    """Seconds of planning an exact radial map, at first and afterwards, and of the layer that it is for."""
    grid, pattern = case.grid, Radial()
    q, k, v = (torch.randn(1, grid.tokens, case.heads, WIDTH) for _ in range(3))
    task = Task(device=q.device, dtype=q.dtype, head_width=WIDTH, heads=case.heads)

    def planned() -> BlockMap:
        blocks = plan(pattern, grid, grid, block=BLOCK, device=q.device)
        choose("gather", blocks, task)
        return blocks

    began = time.perf_counter()
    blocks = planned()
    first_s = time.perf_counter() - began
    began = time.perf_counter()
    EXECUTORS["gather"](q, k, v, blocks)
    first_layer_s = time.perf_counter() - began
    later_s = min(_timed(planned) for _ in range(5))
    layer_s = min(_seconds(lambda: EXECUTORS["gather"](q, k, v, blocks)) for _ in range(3))
    return {
        "first_s": first_s,
        "first_layer_s": first_layer_s,
        "later_s": later_s,
        "layer_s": layer_s,
        "later_share": later_s / layer_s,
    }


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
