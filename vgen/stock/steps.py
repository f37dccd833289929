"""A call that reports its progress through a callback, as a generator of what it reports.

Pipelines of diffusers call back after each step and offer no loop. Here the call runs in a thread that works only while
the caller waits for the next report, so that nothing happens at the same time; leaving the loop ends the call at its
next report.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

import torch

__all__ = ["steps_of"]

Report = TypeVar("Report")
Result = TypeVar("Result")
_OVER = object()


class _Left(Exception):
    """Nobody waits for what is reported any more."""


def steps_of(call: Callable[[Callable[[Report], None]], Result]) -> Generator[Report, None, Result]:
    """Runs `call(report)`, yields what it reports, and returns its result.

    Args:
        call: calls `report` after each of its steps; ends soon where that raises.

    Raises:
        whatever `call` raises.
    """
    reports: SimpleQueue[object] = SimpleQueue()
    go_on: SimpleQueue[bool] = SimpleQueue()

    def report(value: Report) -> None:
        reports.put(value)
        if not go_on.get():
            raise _Left

    # as many threads as here: sums are split by them
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, "steps", initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        running = pool.submit(call, report)
        running.add_done_callback(lambda _: reports.put(_OVER))
        try:
            while (value := reports.get()) is not _OVER:
                yield value  # type: ignore[misc]  # what is no end is a report
                go_on.put(True)
        finally:
            go_on.put(False)
    return running.result()
