"""Who the processes of a run are: `World`, those that were started together, and `Mesh`, how one clip is shared.

The axes of a mesh are those of `degrees.py`, the last one varying fastest, so that what is sent most often stays on
one machine. A process by itself has a mesh too, of one.
"""

import datetime
from typing import Any

import torch
import torch.distributed as dist

from vgen.errors import ConfigError, PeerLostError
from vgen.parallel.degrees import ALONE, AXES, Degrees
from vgen.parallel.launched import Launched, launched, register
from vgen.parallel.peers import Peers

__all__ = ["Mesh", "World", "join", "own_device"]

TOGETHER = "together"  # among the names of axes: all processes of a replica


class World:
    """The processes that were started together.

    Args:
        process: this one among them; None where it is alone.
        device: its own.
        timeout_s: how long a process may give no sign before the others give up; torch's own where None.
        foreseen: how many there will be, for a plan of what they would do; nothing can be sent then.
    """

    def __init__(
        self,
        process: Launched | None = None,
        device: torch.device | None = None,
        *,
        timeout_s: float | None = None,
        foreseen: int = 1,
    ) -> None:
        self.process = process
        self.device = torch.device("cpu") if device is None else device
        self.rank, self.size = (0, foreseen) if process is None else (process.rank, process.size)
        self.local_size = foreseen if process is None else process.local_size
        self._timeout = None if timeout_s is None else datetime.timedelta(seconds=timeout_s)
        self._opened: dict[tuple[int, ...], dict[str, dist.ProcessGroup | None]] = {}

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    @property
    def peers(self) -> Peers:
        """All of them; this one alone where the others are only foreseen."""
        if self.process is None:
            return Peers()
        return Peers(index=self.rank, size=self.size, group=dist.group.WORLD, ranks=tuple(range(self.size)))

    def groups(self, degrees: Degrees) -> dict[str, dist.ProcessGroup | None]:
        """This process's group along each shared axis, and its replica's; all processes first ask for them together."""
        key = degrees.sizes
        if key not in self._opened:
            places = torch.arange(self.size).view(key)
            ranks = {axis: places.movedim(d, -1).reshape(-1, key[d]) for d, axis in enumerate(AXES) if key[d] > 1}
            ranks[TOGETHER] = places.view(degrees.dp, -1)
            self._opened[key] = {name: self._group(rows.tolist()) for name, rows in ranks.items()}
        return self._opened[key]

    def _group(self, ranks: list[list[int]]) -> dist.ProcessGroup | None:
        """Of groups that together are all processes, this one's; a new one does not take over the world's timeout."""
        if len(ranks) == 1:
            return dist.group.WORLD
        return dist.new_subgroups_by_enumeration(ranks, timeout=self._timeout)[0]


class Mesh:
    """How the processes share clips.

    Args:
        world: all processes.
        degrees: how many along each axis; together as many as there are.
    """

    def __init__(self, world: World, degrees: Degrees) -> None:
        assert degrees.processes == world.size, f"{degrees} for {world.size} processes"
        self.world, self.degrees = world, degrees

    @classmethod
    def solo(cls) -> "Mesh":
        """Of a process by itself."""
        return cls(World(), ALONE)

    @property
    def replica(self) -> int:
        """Which of the `dp` replicas this process belongs to."""
        return self.index("dp")

    @property
    def main(self) -> bool:
        """Whether this process decodes, writes and records for its replica."""
        return self.world.rank % self.degrees.replica == 0

    def size(self, axis: str) -> int:
        """Processes along an axis."""
        return self.degrees.sizes[AXES.index(axis)]

    def index(self, axis: str) -> int:
        """Where along an axis this process stands."""
        left = self.world.rank
        for name, size in reversed(list(zip(AXES, self.degrees.sizes, strict=True))):
            if name == axis:
                return left % size
            left //= size
        raise AssertionError(f"no axis '{axis}'")

    def along(self, axis: str) -> Peers:
        """The processes that differ from this one along an axis alone."""
        if self.size(axis) == 1:
            return Peers()
        if self.world.process is None:  # foreseen
            return Peers(index=self.index(axis), size=self.size(axis))
        group = self.world.groups(self.degrees)[axis]
        return Peers(
            index=self.index(axis),
            size=self.size(axis),
            group=group,
            ranks=tuple(dist.get_process_group_ranks(group)),
        )

    @property
    def together(self) -> Peers:
        """The processes that make this one's clips."""
        size = self.degrees.replica
        if size == 1:
            return Peers()
        first = self.replica * size
        group = self.world.groups(self.degrees)[TOGETHER]
        return Peers(index=self.world.rank - first, size=size, group=group, ranks=tuple(range(first, first + size)))

    def first_head(self, heads: int) -> int:
        """Of all the heads of a layer, the first that this process computes."""
        return self.index("ulysses") * (heads // self.size("ulysses"))

    def record(self) -> dict[str, Any]:
        """How a clip was shared, for its record."""
        sizes = dict(zip(AXES, self.degrees.sizes, strict=True))
        return {"processes": self.world.size} | sizes | {"fsdp": self.degrees.fsdp}

    def share(self, count: int) -> range:
        """Which of so many clips this replica makes: neighbours, as even as can be, the first replicas one more."""
        each, more = divmod(count, self.degrees.dp)
        start = self.replica * each + min(self.replica, more)
        return range(start, start + each + (self.replica < more))


def own_device(name: str) -> str:
    """The name of a process's own device where several were started; as it was named where not.

    Raises:
        ConfigError: one device is named for all, or this machine has fewer than it has processes.
    """
    process = launched()
    if process is None or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return name
    if name.startswith("cuda:"):
        raise ConfigError(f"device '{name}' is one, and there are {process.size} processes; possible: auto, cpu, cuda")
    devices = torch.cuda.device_count()
    if name in ("auto", "cuda") and process.local_size > devices:
        raise ConfigError(
            f"{process.local_size} processes on {devices} CUDA devices; possible: up to {devices}, or --device cpu"
        )
    return f"cuda:{process.local_rank}" if name in ("auto", "cuda") else name


def join(timeout_s: float, device: torch.device) -> World:
    """The processes that torchrun has started with this one, once all are there; this one alone where it has not.

    Args:
        timeout_s: how long a process may give no sign before the others give up.
        device: of this process.

    Raises:
        PeerLostError: some did not come.
    """
    process = launched()
    if process is None:
        return World()
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
        try:
            register(process)
            dist.init_process_group(backend, timeout=datetime.timedelta(seconds=timeout_s))
        except RuntimeError as error:
            said = " ".join(str(error).split())[:80]
            raise PeerLostError(f"{process.size} processes were started and did not find each other: {said}") from error
    return World(process, device, timeout_s=timeout_s)
