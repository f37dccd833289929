"""Sees to it that a model of the hub lies in its cache before a command needs it: says what it takes, asks, fetches."""

import sys

import typer

from vgen.errors import ModelError

__all__ = ["Download", "ready"]

Download = typer.Option(
    "--download/--no-download",
    help="Fetch a hub model that is not in the cache; without it a terminal is asked, and nothing else fetches.",
)


def ready(model: str, download: bool | None) -> None:
    """Fetches a model of the hub where that is needed and agreed to.

    Args:
        model: as `--model` takes it.
        download: agreed or not; None asks on a terminal.

    Raises:
        ModelError: it cannot be fetched, or nobody agreed.
        ResourceError: the disk has no room for it.
    """
    from vgen.cli.progress import say, watched
    from vgen.models.download import check_room, fetch, offer, wanted

    asked = wanted(model)
    if asked is None or download is False:  # what is not there is refused by whoever loads it
        return
    offered = offer(asked)
    for line in offered.lines():
        say(line)
    check_room(offered)
    if not (download or _agreed()):
        raise ModelError(f"model '{asked}' was not fetched; add --download to fetch it")
    for _ in watched(fetch(offered)):
        pass


def _agreed() -> bool:
    """What the user says; no, where nobody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm("fetch it?", err=True)
