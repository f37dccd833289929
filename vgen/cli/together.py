"""The command line of several processes: how they are started, who of them speaks, and what they hand to each other."""

import ctypes
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vgen.cli import Spoken
from vgen.config import parse_assignments
from vgen.errors import ConfigError, VgenError, nearest
from vgen.parallel.launched import FOLDER, leave_note
from vgen.schema import GenerateConfig, ParallelConfig

if TYPE_CHECKING:
    from vgen.parallel.mesh import World

__all__ = ["WORDS", "Nproc", "Parallel", "check_alone", "joined", "parallel_keys", "start", "verdict", "writing"]

Nproc = typer.Option("--nproc", min=1, metavar="N", help="Share the work between N processes, one for each device.")
Parallel = typer.Option(
    "--parallel", metavar="AXIS=N,...", help="How: dp=N, cfg=2, ulysses=N, clips=N, fsdp; by itself where not said."
)
WRITING = "writing"  # notes of what is being written
WORDS = "vgen.words"  # key of a context: those of the command line, from the command's name on
DEATH_SIGNAL = 1  # Linux's PR_SET_PDEATHSIG
TOGETHER = ("generate", "evaluate", "train")  # commands that know of other processes


def parallel_keys(text: str | None) -> dict[str, Any]:
    """The config keys of `--parallel cfg=2,ulysses=2,fsdp`.

    Raises:
        ConfigError: no such axis, or no number.
    """
    names = [item.name for item in fields(ParallelConfig)]
    words = []
    for part in [] if text is None else text.split(","):
        name, equals, size = part.strip().partition("=")
        if name not in names:
            raise ConfigError(f"--parallel {text!r:.60}: no axis {name!r:.40}; {nearest(name, names)}")
        if not equals and name != "fsdp":
            raise ConfigError(f"--parallel {text!r:.60}: {name} takes a number, such as {name}=2")
        words.append(f"parallel.{name}={size if equals else 'true'}")
    return parse_assignments(words)


def start(words: Sequence[str], processes: int | None) -> None:
    """Runs this command in so many processes instead, where they were asked for and are not there yet."""
    from vgen.parallel.launched import launched

    there = launched()
    if there is not None:
        if processes not in (None, there.size):
            raise ConfigError(f"--nproc {processes}: {there.size} processes were started; leave --nproc out")
        if FOLDER in os.environ and sys.platform == "linux":
            ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGTERM)  # should the launcher be killed, this one ends too
        return
    if processes in (None, 1):
        return
    from vgen.cli.progress import say
    from vgen.parallel.launch import launch

    with tempfile.TemporaryDirectory(prefix="vgen-launch-") as notes:
        code, unsaid = launch(words, processes, Path(notes))
        for note in Path(notes).glob(f"{WRITING}-*"):
            _clear(*json.loads(note.read_text(encoding="utf-8")))
    if unsaid is not None:
        say(f"vgen: {unsaid}")
    raise Spoken(code)


def writing(clip: Path, *, own_folder: bool) -> None:
    """Notes what this process is about to write, for who started it, should it be killed.

    Args:
        clip: where it goes.
        own_folder: whether a folder was made for it.
    """
    leave_note(f"{WRITING}-{os.getpid()}", json.dumps([str(clip.absolute()), own_folder]))


def _clear(clip: str, own_folder: bool) -> None:
    """Removes what a process that was killed has left of a clip that cannot be gone on with."""
    from vgen.checkpoint import Checkpoint
    from vgen.files import remove
    from vgen.video.partial import growing_path

    path = Path(clip)
    checkpoint = Checkpoint.beside(path)
    if not checkpoint.begun and growing_path(path).exists():
        remove(growing_path(path))
        checkpoint.drop()
    if own_folder and path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def check_alone(command: str | None) -> None:
    """Refuses a command that several processes would each do as a whole, into the same files.

    Raises:
        ConfigError: it is one of several.
    """
    from vgen.parallel.launched import launched

    there = None if command in TOGETHER else launched()
    if there is not None:
        raise ConfigError(
            f"vgen {command} runs in one process, and {there.size} were started; possible together: "
            f"{', '.join(TOGETHER)}"
        )


def joined(config: GenerateConfig) -> "tuple[World, GenerateConfig]":
    """The processes that were started with this one, and the request with a seed that all have alike.

    Raises:
        ConfigError, ResourceError, ParallelError: a device is not there, or a process did not come.
    """
    from vgen.machine import pick_device
    from vgen.parallel.launched import launched
    from vgen.parallel.mesh import World, join, own_device
    from vgen.spread import seeded

    if launched() is None:
        return World(), config
    world = join(config.parallel.timeout_s, pick_device(own_device(config.run.device)))
    return world, seeded(config, world)


def verdict(message: str, code: int, beside: bool) -> tuple[str, int] | int:
    """What a process that fails has to say, and its exit code; the code alone where another one has spoken.

    Args:
        message, code: of its own failure.
        beside: whether that may be for another's.
    """
    from vgen.parallel.launched import BESIDE, claim, ended, launched

    try:
        process = launched()
    except VgenError:  # not started as several, whatever the environment says
        return message, code
    if process is None:
        return message, code
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the launcher ends the others of one that fails
        signal.signal(number, signal.SIG_IGN)
    gone = ended(process) if beside else None
    if gone is not None:
        message, code = f"{gone}, and the run with it", 1
    return (message, code) if claim(process, message, code) else BESIDE
