"""`Graphs`: passes of a transformer that are recorded once for each layout and replayed, without launching anew.

A layout is all that a recording fixes: shapes, the slots of the cache that are read and written, the texts. What
differs between two passes of one layout goes through buffers that stay where they are. The first pass of a layout runs
as ever, which also makes whatever is made once; the second is recorded. How that is done is a `Capture`.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

import torch
from torch import Tensor

__all__ = ["Capture", "CudaCapture", "Graphs"]

KEPT = 32  # layouts; a ring of twelve frames in chunks of three has ten


class Capture(Protocol):
    """Records what a function of no arguments computes, and returns what computes it again, into the same tensor."""

    def __call__(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]: ...


class CudaCapture:
    """`torch.cuda.CUDAGraph`; all graphs share one pool, since no two run at a time."""

    def __init__(self) -> None:
        self._alive: WeakSet[Any] = WeakSet()  # a pool ends with the last of its graphs: its handle is then refused

    def __call__(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        graph, pool = torch.cuda.CUDAGraph(), next((other.pool() for other in self._alive), None)
        with torch.cuda.graph(graph, pool=pool):
            out = body()
        self._alive.add(graph)

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay


@dataclass(frozen=True, slots=True)
class _Recorded:
    """One layout: its buffers, and how it is replayed."""

    inputs: tuple[Tensor, ...]
    replay: Callable[[], Tensor]


class Graphs:
    """The recordings of one run.

    Args:
        capture: how a pass is recorded.
        kept: recordings at most; those used last stay.
    """

    def __init__(self, capture: Capture, *, kept: int = KEPT) -> None:
        self.captured, self.replayed, self.eager = 0, 0, 0
        self._capture, self._kept = capture, kept
        self._known: OrderedDict[Hashable, tuple[tuple[Any, ...], _Recorded | None]] = OrderedDict()

    def __call__(
        self,
        layout: Hashable | None,
        held: tuple[Any, ...],
        body: Callable[..., Tensor],
        *inputs: Tensor,
    ) -> Tensor:
        """What `body` returns; the next pass may write over it.

        Args:
            layout: all that `body` depends on beside `inputs`; None for what cannot be recorded.
            held: what `layout` names by its identity, which nothing else may take meanwhile.
            body: computes on the device alone.
            inputs: what differs from pass to pass.
        """
        if layout is None:
            self.eager += 1
            return body(*inputs)
        key = (layout, *((x.shape, x.stride(), x.dtype) for x in inputs))
        if key not in self._known:
            self._remember(key, held, None)
            self.eager += 1
            return body(*inputs)
        recorded = self._known[key][1]
        if recorded is None:
            buffers = tuple(x.clone(memory_format=torch.preserve_format) for x in inputs)
            recorded = _Recorded(buffers, self._capture(lambda: body(*buffers)))
            self.captured += 1
        else:
            for buffer, x in zip(recorded.inputs, inputs, strict=True):
                buffer.copy_(x)
            self.replayed += 1
        self._remember(key, held, recorded)
        return recorded.replay()

    def release(self) -> None:
        """Forgets the recordings, with the memory that they hold; the run has ended."""
        self._known.clear()

    def report(self) -> dict[str, int]:
        """For the record: passes by how they ran; those that were captured ran as replays at once."""
        return {"captured": self.captured, "replayed": self.replayed, "eager": self.eager}

    def _remember(self, key: Hashable, held: tuple[Any, ...], recorded: _Recorded | None) -> None:
        self._known[key] = (held, recorded)
        self._known.move_to_end(key)
        while len(self._known) > self._kept:
            self._known.popitem(last=False)
