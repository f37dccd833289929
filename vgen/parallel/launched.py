"""What torchrun tells a process of itself and the others; and who of several that fail speaks.

torchrun, or `vgen generate --nproc`, sets variables of the environment and keeps a store that outlives every process.
The first process that fails puts its message there and says it; the others, which fail because of it, are silent.
"""

import json
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from vgen.errors import ConfigError, PeerLostError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

__all__ = [
    "BESIDE",
    "FOLDER",
    "SPOKEN",
    "Launched",
    "await_said",
    "claim",
    "ended",
    "hand_over",
    "launched",
    "leave",
    "leave_note",
    "register",
]

BESIDE = 3  # exit code of a process that ends because another one has failed
FOLDER = "VGEN_LAUNCH"  # variable with the folder of notes for who started this process
SPOKEN = "spoken"  # note of the exit code of the one that has said why the run ends
FAILURE, PROCESS, LEFT, SAID = "failure", "process", "left", "said"
GONE = "the process that started this one has ended"
ASK_S = 5.0  # for an answer of a store that is there
NOTICE_S = 1.0  # until a process that was killed is seen to be


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A process among several.

    Args:
        rank, size: which it is, and how many there are.
        local_rank, local_size: the same on its machine.
        address, port: of the store.
        attempt: how often all have been started again.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    attempt: str


def launched() -> Launched | None:
    """What torchrun says; None for a process by itself.

    Raises:
        ConfigError: the variables are no numbers, or some are missing.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
    said = {name: os.environ.get(name, "") for name in names}
    wrong = [name for name, value in said.items() if not value.isdecimal()]
    if wrong:
        raise ConfigError(
            f"WORLD_SIZE={said['WORLD_SIZE']:.20} says that there are several processes, and {wrong[0]}="
            f"{said[wrong[0]]:.20} is no number; start them with --nproc N, or with torchrun"
        )
    rank, size, local_rank, local_size, port = map(int, said.values())
    return Launched(
        rank=rank,
        size=size,
        local_rank=local_rank,
        local_size=local_size,
        address=os.environ.get("MASTER_ADDR", "127.0.0.1"),
        port=port,
        attempt=os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"),
    )


def register(process: Launched) -> None:
    """Tells the others where to look for this process, should it not answer."""
    _store(process).set(f"{PROCESS}/{process.rank}", json.dumps([_host(), os.getpid()]))


def leave(process: Launched) -> None:
    """Tells the others that this process has done its part, and that nothing is wrong where it is not found."""
    _told(process, f"{LEFT}/{process.rank}", "")


def claim(process: Launched, message: str, code: int) -> bool:
    """Whether this process is the first to fail, and so the one that says why; it is too where nobody can be asked.

    Who started it as `launch` does finds the exit code that is meant in the folder that it gave.
    """
    mine = json.dumps([process.rank, message])
    try:
        first = bool(_store(process).compare_set(FAILURE, "", mine) == mine.encode())
    except RuntimeError:  # the store has ended, and with it whoever else could speak
        first = True
    if first:
        leave_note(SPOKEN, str(code))
    return first


def leave_note(name: str, text: str) -> None:
    """A small file for who started this process, where that is `launch`."""
    folder = os.environ.get(FOLDER)
    if folder is not None:
        Path(folder, name).write_text(text, encoding="utf-8", errors="surrogateescape")


def hand_over(process: Launched, number: int, text: str) -> None:
    """Gives text to the first process, which says what all have to say; `number` is its place among all texts."""
    _told(process, f"{SAID}/{number}", text)


def await_said(process: Launched, number: int) -> str:
    """A text that another process hands over when it comes to it.

    Raises:
        PeerLostError: one has failed, ended or stands still before that.
    """
    key = f"{SAID}/{number}"
    try:
        store = _store(process)
        while not store.check([key]):
            gone = "another process has failed" if store.check([FAILURE]) else ended(process)
            if gone is not None and not store.check([key]):
                raise PeerLostError(gone)
        return store.get(key).decode()
    except RuntimeError as error:
        raise PeerLostError(GONE) from error


def ended(process: Launched) -> str | None:
    """Which of the processes on this machine have ended or stand still, in words; None where none has."""
    try:
        store = _store(process)
        there = [rank for rank in range(process.size) if rank != process.rank and store.check([f"{PROCESS}/{rank}"])]
        where = {rank: json.loads(store.get(f"{PROCESS}/{rank}")) for rank in there}
        here = {rank: pid for rank, (host, pid) in where.items() if host == _host()}
        until = time.monotonic() + NOTICE_S
        while True:
            gone = [(rank, state) for rank, pid in here.items() if (state := _state(pid))]
            # asked after: who is about to leave does so first, and then ends
            found = [f"process {rank} {state}" for rank, state in gone if not store.check([f"{LEFT}/{rank}"])]
            if found or time.monotonic() > until:
                return " and ".join(found) or None
            time.sleep(0.05)
    except RuntimeError:
        return None


def _state(pid: int) -> str | None:
    import psutil

    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return "has ended"
    if status == psutil.STATUS_ZOMBIE:
        return "has ended"
    return "stands still" if status == psutil.STATUS_STOPPED else None


def _host() -> str:
    import platform

    return platform.node()


def _told(process: Launched, key: str, text: str) -> None:
    try:
        _store(process).set(key, text)
    except RuntimeError as error:
        raise PeerLostError(GONE) from error


def _store(process: Launched) -> "Store":
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    store = TCPStore(process.address, process.port, None, False, timedelta(seconds=ASK_S), wait_for_workers=False)
    return PrefixStore(f"vgen/{process.attempt}", store)
