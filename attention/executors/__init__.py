"""What can compute a block map, by name, and the choice between them.

A new executor is a class as `base.Executor` describes, a row of `EXECUTORS`, and figures in `crossover.yaml` where
`auto` shall consider it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from vgen.attention.blocks import BlockMap
from vgen.attention.executors.base import Executor, FrameBias, Task
from vgen.attention.executors.crossover import Figures, figures
from vgen.attention.executors.flex import Flex
from vgen.attention.executors.gather import Gather
from vgen.attention.executors.reference import Reference
from vgen.attention.executors.sdpa import Sdpa
from vgen.attention.executors.varlen import Varlen
from vgen.attention.executors.xformers import Xformers
from vgen.errors import ConfigError, ResourceError, nearest

__all__ = ["AUTO", "EXECUTORS", "Choice", "Executor", "FrameBias", "Task", "able", "choose"]

AUTO = "auto"

EXECUTORS: Mapping[str, Executor] = {
    "dense": Sdpa(),
    "flex": Flex(),
    "gather": Gather(),
    "reference": Reference(),
    "varlen": Varlen(),
    "xformers": Xformers(),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry of EXECUTORS, and why it was chosen."""

    executor: str
    reason: str


def able(blocks: BlockMap, task: Task) -> list[str]:
    """Names of the executors that can compute a map."""
    return [name for name, executor in EXECUTORS.items() if executor.supports(blocks, task) is None]


@lru_cache(maxsize=8)
def choose(name: str, blocks: BlockMap, task: Task, calls: int = 1) -> Choice:
    """The executor for a map; remembered for the latest maps.

    Args:
        name: an entry of EXECUTORS, or `auto` for the one that is expected to be the fastest.
        blocks: what is computed.
        task: on what, and what else is asked.
        calls: how often the map will be computed, as far as known: compiling must pay for itself.

    Raises:
        ConfigError: there is no executor of that name.
        ResourceError: it cannot compute the map; says why, and which can.
    """
    if name == AUTO:
        return _fastest(blocks, task, calls)
    if name not in EXECUTORS:
        raise ConfigError(f"unknown executor '{name}'; {nearest(name, [AUTO, *EXECUTORS])}")
    reason = EXECUTORS[name].supports(blocks, task)
    if reason is not None:
        dtype = str(task.dtype).removeprefix("torch.")
        others = ", ".join(able(blocks, task))
        raise ResourceError(f"executor '{name}' cannot run on {task.device.type} in {dtype}: {reason}; able: {others}")
    return Choice(name, "asked for")


def _fastest(blocks: BlockMap, task: Task, calls: int) -> Choice:
    """The first that is able, in the order of their expected times. Ability is asked last: it may try a compiler."""
    if EXECUTORS["dense"].supports(blocks, task) is None:
        return Choice("dense", "every pair is kept")
    single = blocks.query_edges == tuple(range(blocks.queries + 1)) and blocks.queries > 1
    if single and EXECUTORS["varlen"].supports(blocks, task) is None:
        return Choice("varlen", "each query chooses its own keys")
    density, measured = blocks.density(), figures(task)
    names = sorted(measured.times, key=lambda name: measured.seconds(name, blocks, task, density, calls))
    for name in names:
        if EXECUTORS[name].supports(blocks, task) is None:
            return Choice(name, _because(name, measured, density))
    return Choice("reference", "nothing else is able")


def _because(name: str, measured: Figures, density: float) -> str:
    expected = measured.share(name, density)
    return f"expected to take {expected:.2f} of the time of dense attention at block density {density:.3f}"
