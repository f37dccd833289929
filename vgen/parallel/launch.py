"""Starts a command in several processes on this machine, by torch's elastic launcher, and waits for them.

As torchrun does, without its banners: what a process has to say it says itself (launched.py). The processes find each
other through a store of the launcher's that holds no pickles, which those of `torchrun --standalone` do, and what they
send each other on a CPU goes over the loopback interface alone.
"""

import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import vgen
from vgen.errors import ConfigError, ResourceError
from vgen.parallel.launched import FOLDER, SPOKEN

__all__ = ["launch"]

FAILED = 1
PORTS_TRIED = 5
LOOPBACK = {"darwin": "lo0"}  # by platform; Linux calls it lo


def launch(words: Sequence[str], processes: int, notes: Path) -> tuple[int, str | None]:
    """Runs `vgen` with these words in so many processes.

    Args:
        words: of its command line.
        processes: each gets the cores' share as threads, unless OMP_NUM_THREADS says otherwise.
        notes: an empty folder, for what the processes leave to be known of them.

    Returns:
        the exit code, that of the process that failed first; and what nobody was left to say of how they ended.

    Raises:
        ConfigError: this process is one of several already.
        ResourceError: no port is free.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError("--nproc starts processes, and this one is one of several already; leave one of the two out")
    from torch.distributed import DistNetworkError
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # this process only waits, and what its launcher logs the others have said
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    home = str(Path(vgen.__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ[FOLDER] = str(notes)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # warnings of a lost connection, with C++ frames
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK.get(sys.platform, "lo"))
    arguments = [word.replace("$", "$$") for word in words]  # the launcher fills in what a $ names
    try:
        for left in reversed(range(PORTS_TRIED)):
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=processes,
                run_id=uuid.uuid4().hex,
                rdzv_backend="static",
                rdzv_endpoint=f"127.0.0.1:{_free_port()}",
                rdzv_configs={"rank": 0},
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(log_dir=str(notes)),
            )
            try:
                elastic_launch(config, sys.executable)("-P", "-m", "vgen", *arguments)
                break
            except DistNetworkError as error:  # somebody else took the port in between
                if not left:
                    raise ResourceError(f"no port of this machine could be listened to: {error!s:.80}") from error
    except ChildFailedError as error:
        return _verdict({rank: failure.exitcode for rank, failure in error.failures.items()}, notes / SPOKEN)
    except SignalException as error:
        code = 128 + int(error.sigval)
        return code, None if (notes / SPOKEN).exists() else "stopped"
    return 0, None


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def _verdict(codes: dict[int, int], spoken: Path) -> tuple[int, str | None]:
    """From how each failed, -n where signal n ended it, to one exit code and what is left to say."""
    if spoken.exists():
        return int(spoken.read_text()), None
    killed = [f"process {rank} by {signal.Signals(-code).name}" for rank, code in sorted(codes.items()) if code < 0]
    return FAILED, f"the run was ended: {', '.join(killed)}" if killed else None
