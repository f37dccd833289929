"""Sparse attention on a GPU: one layer at the shapes of published models, and one whole forward pass.

Run with `python -m vgen.bench.attention_cuda [--json] [--write]`. Radial Attention with its published settings, exact
and by its rule for whole blocks, against the fastest of cuDNN, flash and memory-efficient attention; the
forward pass is of a model of Wan-1.3B's shape with random weights.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from vgen.attention import Dense, SparseAttention, VideoAttention
from vgen.attention.executors import EXECUTORS
from vgen.attention.executors.flex import Flex
from vgen.attention.radial import Radial, RadialBlocks
from vgen.bench.attention import RESULTS, fastest_dense, peak_mib_of, table
from vgen.bench.stamp import commit
from vgen.errors import ResourceError
from vgen.files import replacing
from vgen.machine import machine, pick_device, versions
from vgen.shapes import TokenGrid

__all__ = ["LAYERS", "Layer", "bench_attention_cuda", "main"]

HEAD_WIDTH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The self-attention of one layer.

    Args:
        name: of the model and its clip.
        grid: of its tokens.
        heads: of one item, 128 wide.
    """

    name: str
    grid: TokenGrid
    heads: int


def _layer(name: str, frames: int, height: int, width: int, heads: int, text: int = 0) -> Layer:
    """`frames` of the clip: four of them make a latent frame, but the first, which stands alone."""
    latent = tuple(range((frames - 1) // 4 + 1))
    return Layer(name=name, grid=TokenGrid(frames=latent, height=height, width=width, text_after=text), heads=heads)


LAYERS = (
    _layer("Wan 1.3B, 480p, 81 frames", 81, 30, 52, 12),
    _layer("Wan 14B, 720p, 69 frames", 69, 45, 80, 40),
    _layer("Wan 14B, 720p, 81 frames", 81, 45, 80, 40),
    _layer("Wan 14B, 720p, 161 frames", 161, 45, 80, 40),
    _layer("HunyuanVideo, 720p, 117 frames", 117, 45, 80, 24, text=256),
    _layer("HunyuanVideo, 720p, 253 frames", 253, 45, 80, 24, text=256),
)
PATTERNS: dict[str, Radial | RadialBlocks] = {
    "radial": Radial(adjacent="half"),
    "radial, whole blocks": RadialBlocks(Radial(adjacent="half")),
}


def bench_attention_cuda(layers: Sequence[Layer] = LAYERS, *, repeat: int = 7, forward: bool = True) -> dict[str, Any]:
    """Runs the layers and the forward pass.

    Args:
        layers: what is compared.
        repeat: pairs of each comparison.
        forward: whether a whole model is run too.

    Returns:
        `rows`, as of `bench_attention`; `refused`, reasons by executor and pattern; `least_efficiency` by executor;
        `forward`; and what it was taken on. Ready for JSON.

    Raises:
        ResourceError: there is no CUDA device.
    """
    device = pick_device("cuda")
    rows: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    for layer in layers:
        for name, pattern in PATTERNS.items():
            for executor in ("flex", "varlen", "xformers"):
                attention = SparseAttention(pattern, executor=executor, block=128, calls=1 << 20)
                try:
                    rows.append(_row(layer, name, executor, attention, device, repeat))
                except ResourceError as error:
                    refused[f"{executor}, {name}"] = str(error)
    found = {"machine": machine(device), "versions": versions(), "rows": rows, "refused": refused}
    found |= {"least_efficiency": _least_efficiency(rows)}
    return found | ({"forward": _forward(device, repeat)} if forward else {})


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table, or the figures as JSON; 2 where there is no CUDA device."""
    parser = argparse.ArgumentParser(prog="python -m vgen.bench.attention_cuda")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--write", action="store_true", help=f"write the figures to {RESULTS.name}/attention-cuda.json")
    asked = parser.parse_args(argv)
    try:
        measured = bench_attention_cuda()
    except ResourceError as error:
        print(error, file=sys.stderr)
        return 2
    figures = {"command": "python -m vgen.bench.attention_cuda --write", "commit": commit()} | measured
    if asked.write:
        RESULTS.mkdir(exist_ok=True)
        with replacing(RESULTS / "attention-cuda.json") as partial:
            partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if asked.json:
        print(json.dumps(figures))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(table(measured["rows"]))
    return 0


def _least_efficiency(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The least rate on kept blocks over that of the fastest dense kernel, by executor."""
    executors = {row["executor"] for row in rows}
    return {name: min(row["efficiency"] for row in rows if row["executor"] == name) for name in sorted(executors)}


def _row(
    layer: Layer, name: str, executor: str, attention: SparseAttention, device: torch.device, repeat: int
) -> dict[str, Any]:
    shape = (1, layer.grid.tokens, layer.heads, HEAD_WIDTH)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))
    flex = EXECUTORS["flex"]
    assert isinstance(flex, Flex), "what compiles"
    before = flex.compile_s

    def call() -> Tensor:
        return attention(q, k, v, query=layer.grid, key=layer.grid, layer=0)

    call()
    dense_name, dense = fastest_dense(q, k, v)
    pairs = [(_milliseconds(call), _milliseconds(dense)) for _ in range(repeat)]
    density = attention.effective_density()
    ratio, dense_s = median(b / a for a, b in pairs), median(b for _, b in pairs) / 1e3
    return {
        "model": layer.name,
        "tokens": layer.grid.tokens,
        "heads": layer.heads,
        "width": HEAD_WIDTH,
        "dtype": "bfloat16",
        "layout": name,
        "density": density,
        "executor": executor,
        "auto": False,
        "seconds": median(a for a, _ in pairs) / 1e3,
        "dense": dense_name,
        "dense_s": dense_s,
        "dense_tflops": 4 * layer.grid.tokens**2 * layer.heads * HEAD_WIDTH / dense_s / 1e12,
        "ratio": ratio,
        "efficiency": ratio * density,
        "peak_mib": peak_mib_of(call),
        "compile_s": flex.compile_s - before,
    }


def _forward(device: torch.device, repeat: int) -> dict[str, Any]:
    """Seconds of a forward pass of Wan-1.3B's shape over 81 frames of 480p, dense and sparse."""
    from vgen.models.dit import VideoDiT

    with torch.device(device):
        model = VideoDiT(
            num_attention_heads=12, attention_head_dim=HEAD_WIDTH, num_layers=30, ffn_dim=8960, text_dim=4096
        )
    model = model.to(torch.bfloat16).eval()
    latent_BCTHW = torch.randn(1, 16, 21, 60, 104, device=device, dtype=torch.bfloat16)
    text_BMD = torch.randn(1, 512, 4096, device=device, dtype=torch.bfloat16)
    sigma_BT = torch.full((1, 1), 0.5, device=device)
    sparse = SparseAttention(PATTERNS["radial"], executor="flex", block=128, calls=1 << 20)

    def of(attention: VideoAttention) -> Callable[[], Tensor]:
        @torch.inference_mode()
        def call() -> Tensor:
            return model(latent_BCTHW, sigma_BT, text_BMD, attention=attention)

        return call

    dense_call, sparse_call = of(Dense()), of(sparse)
    dense_call(), sparse_call()
    pairs = [(_milliseconds(sparse_call), _milliseconds(dense_call)) for _ in range(repeat)]
    return {
        "dense_s": median(b for _, b in pairs) / 1e3,
        "sparse_s": median(a for a, _ in pairs) / 1e3,
        "ratio": median(b / a for a, b in pairs),
        "density": sparse.effective_density(),
    }


def _milliseconds(call: Callable[[], Tensor]) -> float:
    """On the clock of the GPU."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    call()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended)


if __name__ == "__main__":
    sys.exit(main())
