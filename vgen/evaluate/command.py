"""A program of the user's that writes the clips of a benchmark: called once per item, never through a shell."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from vgen.clip import Clip
from vgen.errors import ConfigError, InputError
from vgen.evaluate.benchmark import Item, ItemError, Sample
from vgen.evaluate.places import counted, lasting, make_folder, safe_path
from vgen.files import os_errors, partial_path, remove
from vgen.video.ffmpeg import VIDEO_KINDS

__all__ = ["CommandSource"]

PLACEHOLDERS = ("prompt_file", "image", "seconds", "seed", "output")
IMAGE = "{image}"
TAIL_BYTES = 400  # of what a failed command said last


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSource:
    """A command line with placeholders.

    Args:
        words: as `parse` gives them.
        folder: where clips go.
        seed: of the first item; others count up.
        seconds: length that is asked for where the benchmark leaves it open.
        limit_s: how long a call may take.
    """

    words: tuple[str, ...]
    folder: Path
    seed: int
    seconds: float
    limit_s: float
    redraws: bool = field(default=False, init=False)

    @classmethod
    def parse(cls, command: str, *, folder: Path, seed: int, seconds: float, limit_s: float) -> "CommandSource":
        """Splits a command as a shell would, without being one.

        Raises:
            ConfigError: it cannot be split, lacks {output} or {prompt_file}, or has other placeholders.
        """
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise ConfigError(f"--command cannot be split into words: {error}") from error
        listed = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        for needed in ("{prompt_file}", "{output}"):
            if not any(needed in word for word in words):
                raise ConfigError(f"--command lacks {needed}; placeholders: {listed}")
        blank = dict.fromkeys(PLACEHOLDERS, "")
        for word in words:
            try:
                word.format(**blank)
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                raise ConfigError(
                    f"--command: '{word[:60]}' is not understood; placeholders: {listed}; write other "
                    "braces twice: {{ }}"
                ) from error
        return cls(words=words, folder=folder, seed=seed, seconds=seconds, limit_s=limit_s)

    @property
    def name(self) -> str:
        return f"command {Path(self.words[0]).name}"

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"command": list(self.words), "seed": self.seed, "seconds": self.seconds}

    def check(self, items: Sequence[Item]) -> None:
        if shutil.which(self.words[0]) is None:
            raise ConfigError(f"--command cannot be run: there is no program '{self.words[0]}', or it may not be run")

    def estimate(self, items: Sequence[Item]) -> list[str]:
        todo = [item for item in items if not safe_path(self.folder, item.file).exists()]
        if not todo:
            return []
        most = f"each at most {self.limit_s:g} s: {lasting(self.limit_s * len(todo))} at most"
        unseen = 0 if any(IMAGE in word for word in self.words) else sum(item.image is not None for item in todo)
        note = f"{unseen} of them for an item that begins with a first frame, which the command does not take ({IMAGE})"
        return [f"{counted(len(todo), 'call')} of the command, {most}", *([note] if unseen else [])]

    def clip(self, item: Item) -> Sample:
        path = safe_path(self.folder, item.file)
        if path.exists():
            return Sample(path=path)
        make_folder(path.parent)
        # In a folder of its own until it is known to be whole, so that half a clip is never taken for one.
        partial = partial_path(path)
        make_folder(partial)
        try:
            self._call(item, partial / path.name)
            with os_errors("write", path):
                (partial / path.name).replace(path)
        finally:
            remove(partial)
        return Sample(path=path)

    def _call(self, item: Item, output: Path) -> None:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
            prompt = Path(folder) / "prompt.txt"
            prompt.write_text(item.prompt, encoding="utf-8", errors="backslashreplace")
            values = {
                "prompt_file": str(prompt),
                "image": "" if item.image is None else str(item.image.resolve()),
                "seconds": f"{self.seconds if item.seconds is None else item.seconds:g}",
                "seed": str(self.seed + item.number),
                "output": str(output.resolve()),
            }
            _run(_filled(self.words, values), said, self.limit_s)
        _check_written(output)


def _filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The words of a call; without an image, what asks for one is left out: `--image {image}`, `--image={image}`."""
    filled: list[str] = []
    for word in words:
        if IMAGE not in word or values["image"]:
            filled.append(word.format(**values))
        elif word == IMAGE and filled and filled[-1].startswith("-"):
            filled.pop()
    return filled


def _check_written(output: Path) -> None:
    if not output.exists():
        raise ItemError("the command ended well and wrote nothing to {output}")
    if output.suffix.lower() in VIDEO_KINDS:
        try:
            Clip.read(output)
        except InputError as error:
            reason = str(error).replace(str(output), "{output}")
            raise ItemError(f"the command ended well, and what it wrote is no {output.suffix}: {reason}") from error


def _run(words: list[str], said: IO[bytes], limit_s: float) -> None:
    """Runs a program to its end; ItemError where it fails, or takes longer than it may.

    What it says goes to a file: a pipe would be held open by anything that it leaves running.
    """
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        raise ConfigError(f"--command cannot be run: {words[0]}: {error.strerror or error}") from error
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired as error:
        raise ItemError(f"the command took longer than {limit_s:g} s and was stopped") from error
    finally:
        _end(process)
    if code:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        raise ItemError(f"the command {how}: {_last_line(said)}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stops a program with all that it has started and that still runs, however it ended itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - TAIL_BYTES))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
