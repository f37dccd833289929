"""Progress of a run on stderr: a bar per stage with ETA on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from vgen.cli.plain import plain

__all__ = ["Progressed", "say", "show", "watched"]

LINE_EVERY_S = 5.0


class Progressed(Protocol):
    """Something that long work has done: so many of `total` units of a stage."""

    @property
    def stage(self) -> str: ...

    @property
    def done(self) -> int: ...

    @property
    def total(self) -> int: ...


_Event = TypeVar("_Event", bound=Progressed)


def say(line: str) -> None:
    """One line for the user, on stderr."""
    print(plain(line), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Data on stdout: on a terminal nothing of it is obeyed, elsewhere it goes out as it is."""
    import typer

    if sys.stdout.isatty():
        text = "\n".join(plain(line, longest=None) for line in text.split("\n"))
    typer.echo(text)


def watched(events: Iterable[_Event]) -> Iterator[_Event]:
    """Passes events through and shows where they stand."""
    if sys.stderr.isatty():
        yield from _bars(events)
    else:
        yield from _lines(events)


def _bars(events: Iterable[_Event]) -> Iterator[_Event]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}
        for event in events:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage, total=event.total)
            bars.update(tasks[event.stage], completed=event.done)
            yield event


def _lines(events: Iterable[_Event]) -> Iterator[_Event]:
    started: dict[str, float] = {}
    last = time.monotonic()
    for event in events:
        now = time.monotonic()
        since = started.setdefault(event.stage, now)
        if event.done == event.total or now - last >= LINE_EVERY_S:
            left = (now - since) / event.done * (event.total - event.done)
            eta = f", {left:.0f} s left" if event.done < event.total else ""
            say(f"{event.stage}: {event.done}/{event.total}{eta}")
            last = now
        yield event
