"""Measured times of the executors, as data: `crossover.yaml` beside this file."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml

from vgen.attention.blocks import BlockMap
from vgen.attention.executors.base import Task

__all__ = ["TABLE", "Figures", "figures"]

TABLE = Path(__file__).with_name("crossover.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is expected of a kind of device in a dtype.

    Args:
        dense_tflops: rate of dense attention; decides only what compiling is worth.
        times: per executor, share of the time of dense attention at each block density.
        compile_s: seconds before the first call of those that compile.
    """

    dense_tflops: float
    times: dict[str, dict[float, float]]
    compile_s: dict[str, float]

    def share(self, name: str, density: float) -> float:
        """Time over that of dense attention: on a line between measured densities, in proportion below them."""
        points = sorted(self.times[name].items())
        if density <= points[0][0]:
            return points[0][1] * density / points[0][0]
        for (low, at_low), (high, at_high) in pairwise(points):
            if density <= high:
                return at_low + (at_high - at_low) * (density - low) / (high - low)
        return points[-1][1]

    def seconds(self, name: str, blocks: BlockMap, task: Task, density: float, calls: int) -> float:
        """Of all calls together, and of compiling."""
        flops = 4 * blocks.queries * blocks.keys * task.head_width * task.heads
        dense_s = flops * (3.5 if task.gradient else 1) / (self.dense_tflops * 1e12)
        return calls * dense_s * self.share(name, density) + self.compile_s.get(name, 0.0)


def figures(task: Task) -> Figures:
    """The figures of the row that fits best: of the device, then of the dtype."""
    rows = [row for row in _table() if row["device"] == _kind(task)]
    rows = rows or [row for row in _table() if row["device"] == task.device.type] or _table()
    dtype = str(task.dtype).removeprefix("torch.")
    row = next((row for row in rows if dtype in row["dtypes"]), rows[0])
    return Figures(dense_tflops=row["dense_tflops"], times=row["times"], compile_s=row["compile_s"])


def _kind(task: Task) -> str:
    """`cpu-amx` has units for matrices of bf16, on which dense attention is several times faster."""
    amx = task.device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return "cpu-amx" if amx else task.device.type


@cache
def _table() -> list[dict[str, Any]]:
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))
