"""Runs a function on a few processes that torchrun could have started, and collects the tensors that each returns.

They are forks of a server that has imported what they need, which takes seconds once and then next to nothing. The
store is the test's own, as torchrun's is torchrun's, so that no two runs share anything.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from vgen.errors import VgenError

__all__ = ["Ended", "ended_on", "on_ranks"]

PRELOADED = ["torch", "torch.distributed.device_mesh", "vgen.pipeline", "tests.models.tiny"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How one process ended: its exit code, below 0 where a signal ended it, the user's error, and its tensors."""

    code: int
    error: str
    tensors: Mapping[str, Tensor]


def on_ranks(work: Callable[..., Mapping[str, Tensor]], *args: Any, ranks: int = 2) -> list[Mapping[str, Tensor]]:
    """What `work(*args)` returns on each of so many processes, all of which have to do well."""
    ends = ended_on(work, *args, ranks=ranks)
    assert [end.code for end in ends] == [0] * ranks, [f"{end.code}: {end.error}" for end in ends]
    return [end.tensors for end in ends]


def ended_on(
    work: Callable[..., Mapping[str, Tensor]], *args: Any, ranks: int = 2, within_s: float = 60.0
) -> list[Ended]:
    """How each of so many processes ends; one that has not after so many seconds is ended, and a failure."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    store = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_entry, args=(work, args, rank, ranks, store.port, folder)) for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        until = time.monotonic() + within_s
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
        late = [rank for rank, process in enumerate(processes) if process.exitcode is None]
        for process in processes:
            process.kill()
            process.join()
        assert not late, f"processes {late} did not end within {within_s} s"
        return [_end(Path(folder), rank, process.exitcode) for rank, process in enumerate(processes)]


def _end(folder: Path, rank: int, code: int | None) -> Ended:
    error, tensors = folder / f"{rank}.txt", folder / f"{rank}.safetensors"
    return Ended(
        code=-1 if code is None else code,
        error=error.read_text() if error.exists() else "",
        tensors=load_file(tensors) if tensors.exists() else {},
    )


def _entry(
    work: Callable[..., Mapping[str, Tensor]], args: tuple[Any, ...], rank: int, ranks: int, port: int, folder: str
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    code = 0
    try:
        found = work(*args)
        save_file({name: tensor.contiguous() for name, tensor in found.items()}, f"{folder}/{rank}.safetensors")
    except VgenError as error:
        Path(folder, f"{rank}.txt").write_text(f"{type(error).__name__}: {error}")
        code = 2
    os._exit(code)  # a process that another one waits for would wait for it at its end
