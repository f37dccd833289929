"""A writer that works beside its caller: chunks wait in a short queue while the next ones are made.

One thread takes them in their order. What goes wrong there is raised where the caller next comes by: at a later
`write`, or at the end of the block; nothing behind it is written.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from vgen.frames import Frames

__all__ = ["Background", "in_background"]

WAITING = 2  # chunks that are written or wait for it; each takes as much memory as it has pixels


class Background:
    """Takes chunks for `write`; made by `in_background`. `busy_s` is what writing took.

    Args:
        write: what a chunk is handed to, in another thread.
    """

    def __init__(self, write: Callable[[Frames], None]) -> None:
        self.busy_s = 0.0
        self._write, self._failed, self._dropped = write, False, False
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vgen-writer")
        self._waiting: deque[Future[None]] = deque()

    def write(self, frames_FYX3: Frames) -> None:
        """Hands on a chunk, which must not change any more; waits while as many as may are under way.

        Raises:
            InputError: an earlier one could not be written.
        """
        while self._waiting and (len(self._waiting) >= WAITING or self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._one, frames_FYX3))

    def finish(self) -> None:
        """Waits until everything is written.

        Raises:
            InputError: something could not be.
        """
        while self._waiting:
            self._waiting.popleft().result()

    def end(self, *, drop: bool) -> None:
        """Ends the thread, which writes what waits first, or leaves it out."""
        self._dropped = drop
        self._pool.shutdown()

    def _one(self, frames_FYX3: Frames) -> None:
        if self._failed or self._dropped:
            return
        began, self._failed = time.perf_counter(), True  # unless it gets past the next line
        self._write(frames_FYX3)
        self._failed = False
        self.busy_s += time.perf_counter() - began


@contextmanager
def in_background(write: Callable[[Frames], None], *, keep: Callable[[], bool]) -> Iterator[Background]:
    """A `Background` for a block; when the block ends well, everything is written, or the error raised.

    Args:
        write: as of `Background`.
        keep: whether what waits is written when the block fails.
    """
    background, done = Background(write), False
    try:
        yield background
        background.finish()
        done = True
    finally:
        background.end(drop=not done and not keep())
