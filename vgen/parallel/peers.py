"""`Peers`: processes that do something together, and what they send each other.

Tensors and JSON alone; nothing that is sent can be code. A process that does not answer is an error of all others.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vgen.errors import ParallelError, PeerLostError

__all__ = ["Peers"]

TOLD_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Those of one group. Every call is one that all of them make, in the same order.

    Args:
        index, size: which of how many this process is.
        group: None where it is alone.
        ranks: of all of them, for messages.
    """

    index: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None
    ranks: tuple[int, ...] = (0,)

    @property
    def first(self) -> bool:
        """Whether this is the one that the others hear from."""
        return self.index == 0

    def exchanged(self, sent: Tensor) -> Tensor:
        """Row i of what came is what process i sent in the row of this one; contiguous."""
        if self.size == 1:
            return sent
        came = torch.empty_like(sent)
        with self._answering("exchange"):
            dist.all_to_all_single(came, sent, group=self.group)
        return came

    def dealt(self, rows: Tensor, sent: Sequence[int], came: Sequence[int]) -> Tensor:
        """What came, process by process, as many rows from each as `came` says; contiguous.

        Args:
            rows: for the first process, then for the second and so on; contiguous.
            sent: how many of them are for each.
            came: how many each has for this one.
        """
        if self.size == 1:
            return rows
        found = rows.new_empty((sum(came), *rows.shape[1:]))
        with self._answering("exchange"):
            dist.all_to_all_single(found, rows, [*came], [*sent], group=self.group)
        return found

    def gathered(self, x: Tensor) -> Tensor:
        """[size, ...]: what each process has, of one shape and dtype."""
        came = x.new_empty((self.size, *x.shape))
        if self.size == 1:
            came[0] = x
            return came
        with self._answering("gathering"):
            dist.all_gather(list(came.unbind(0)), x.contiguous(), group=self.group)
        return came

    def from_first(self, x: Tensor) -> Tensor:
        """The first process's tensor, written over that of the others; of one shape and dtype, contiguous."""
        if self.size > 1:
            with self._answering("broadcast"):
                dist.broadcast(x, group=self.group, group_src=0)
        return x

    def told(self, value: Any = None) -> Any:
        """Plain JSON of the first process; what the others give is not looked at."""
        if self.size == 1:
            return value
        text = json.dumps(value, allow_nan=False).encode() if self.first else b""
        length = int(self.from_first(torch.tensor([len(text)]))[0])
        sent = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.empty(length, dtype=torch.uint8)
        return json.loads(self.from_first(sent).numpy().tobytes())

    def agree(self, what: str, value: Any) -> None:
        """Makes sure that all have come to the same: plain JSON, or a tensor.

        Raises:
            ParallelError: they have not; names one that differs from the first.
        """
        if self.size == 1:
            return
        mine = hashlib.sha256(_bytes(value)).digest()
        digests = self.gathered(torch.frombuffer(bytearray(mine), dtype=torch.uint8))
        differs = [self.ranks[i] for i, one in enumerate(digests) if not torch.equal(one, digests[0])]
        if differs:
            raise ParallelError(
                f"processes disagree on {what}: process {differs[0]} has another than process {self.ranks[0]}; all "
                "need the same files, versions and kind of device"
            )

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # torch's word for a process that has ended or does not answer in time
            said = " ".join(str(error).rpartition("] ")[2].split())[:TOLD_CHARS]
            raise PeerLostError(f"another process has ended or does not answer in time, at {what}: {said}") from error


def _bytes(value: Any) -> bytes:
    if isinstance(value, Tensor):
        return value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    return json.dumps(value, sort_keys=True).encode()
