"""Functions that run on several gloo processes, and the arrays that each of them returns."""

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed as dist

__all__ = ["Arrays", "on_ranks"]

Arrays: TypeAlias = dict[str, NDArray[np.generic]]
TIMEOUT = timedelta(seconds=120)


def on_ranks(work: Callable[[], Arrays], ranks: int = 2) -> list[Arrays]:
    """What `work`, a function at the top of a module, returns on each rank of one process group.

    Raises:
        ProcessRaisedException: it raised on one; with its traceback.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_rank, args=(work, ranks, folder), nprocs=ranks)
        found = []
        for rank in range(ranks):
            with np.load(Path(folder, f"{rank}.npz"), allow_pickle=False) as arrays:
                found.append(dict(arrays))
        return found


def _rank(rank: int, work: Callable[[], Arrays], ranks: int, folder: str) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks))
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks, timeout=TIMEOUT)
    np.savez(Path(folder, f"{rank}.npz"), **work())
    dist.destroy_process_group()
