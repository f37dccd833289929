"""The one place that runs ffmpeg, which imageio-ffmpeg ships: feeding it, reading from it, asking what a file holds.

Files are opened by a demuxer chosen from their suffix and with the `file` protocol alone, so that a playlist in the
clothes of a video cannot make ffmpeg open anything else.
"""

import io
import re
import select
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from vgen.errors import InputError, ResourceError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["VIDEO_KINDS", "Ffmpeg", "StreamInfo", "input_arguments", "probe_stream", "read_comment"]

SILENT_S = 60.0  # a decoder that has handed over nothing for so long will hand over nothing
MAX_BLOCK = 1 << 29  # bytes that a decoder may ask for at once

# suffix -> demuxer
VIDEO_KINDS = {
    ".avi": "avi",
    ".gif": "gif",
    ".m4v": "mov",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mov",
    ".webm": "matroska",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What the container says of its first video stream; nothing is decoded to learn it.

    Args:
        height: rows, in pixels.
        width: columns, in pixels.
        frames: packets of the stream, one per frame in the usual codecs.
        fps: frames per second; the mean where frames do not last equally long.
        duration_s: from the start of the first frame to the end of the last.
    """

    height: int
    width: int
    frames: int
    fps: float
    duration_s: float


class Ffmpeg:
    """One run of the program, with its messages kept aside. Leaving the `with` block early ends it.

    Args:
        arguments: all but the program's name.
        task: what is being done, for the error message: `write 'clip.mp4'`.
        feed: open a pipe to its standard input.

    A run whose `output` is read may keep silent for SILENT_S and no longer.
    """

    def __init__(self, arguments: Sequence[str], *, task: str, feed: bool = False) -> None:
        command = [_executable(), "-v", "error", "-nostdin", "-y", *arguments]
        self._task = task
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feed else subprocess.PIPE,
            stderr=self._messages,
            bufsize=-1 if feed else 0,
        )
        pipe = self._process.stdout
        self._output = None if pipe is None else io.BufferedReader(_Patient(pipe, task), 1 << 16)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def output(self) -> "io.BufferedReader[_Patient]":
        assert self._output is not None, "this run was opened for feeding"
        return self._output

    def feed(self, data: bytes | memoryview) -> None:
        """Hands bytes to the program.

        Raises:
            InputError: it has stopped; with its last message.
        """
        assert self._process.stdin is not None, "this run was opened for reading"
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            self._process.wait()
            raise self._failure() from error

    def finish(self) -> None:
        """Waits for the end of the program.

        Raises:
            InputError: it failed; with its last message.
        """
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except BrokenPipeError as error:
            self._process.wait()
            raise self._failure() from error
        if self._process.wait() != 0:
            raise self._failure()

    def close(self) -> None:
        """Ends the program if it still runs, and frees its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                _close_quietly(pipe)
        self._messages.close()

    def _failure(self) -> InputError:
        self._messages.seek(0)
        lines = self._messages.read(1 << 16).decode("utf-8", errors="replace").strip().splitlines()
        # the first complaint is the cause, the rest follow from it; `[mov @ 0x55...]` in front says nothing to a user
        reason = re.sub(r"^(\[[^]]*\]\s*)+", "", lines[0]) if lines else _ending(self._process.returncode)
        return InputError(f"cannot {self._task}: {reason}")


class _Patient(io.RawIOBase):
    """A pipe that is waited for, but not for ever."""

    def __init__(self, pipe: IO[bytes], task: str) -> None:
        super().__init__()
        assert isinstance(pipe, io.FileIO), "a pipe that keeps bytes back would be waited for in vain"
        self._pipe, self._task = pipe, task
        self._ready = select.poll()
        self._ready.register(pipe, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        if not self._ready.poll(1000 * SILENT_S):
            raise InputError(f"cannot {self._task}: the decoder has handed over nothing for {SILENT_S:g} s")
        return self._pipe.readinto(buffer) or 0


def input_arguments(path: Path, demuxer: str, *, max_px: int | None = None) -> list[str]:
    """Arguments that open one local file and nothing else, optionally refusing pictures above `max_px` pixels."""
    bound = [] if max_px is None else ["-max_pixels", str(max_px)]
    one_file = ["-protocol_whitelist", "file,pipe", "-f", demuxer, "-i", f"file:{path}"]
    return ["-max_alloc", str(MAX_BLOCK), *bound, *one_file]


def probe_stream(path: Path, demuxer: str, *, max_frames: int) -> StreamInfo:
    """Reads size, number and times of the frames from the container, without decoding.

    Raises:
        InputError: no such stream, or more than `max_frames` frames.
    """
    size = None
    tick_s = Fraction(1)
    packets: list[tuple[int, int]] = []  # presentation time and duration, in ticks
    arguments = [*input_arguments(path, demuxer), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"]
    with Ffmpeg(arguments, task=f"read '{path}'") as run:
        for line in run.output:
            if line.startswith(b"#dimensions 0:"):
                size = [int(side) for side in line.split(b":")[1].split(b"x")]
            elif line.startswith(b"#tb 0:"):
                tick_s = Fraction(line.split(b":")[1].strip().decode())
            elif not line.startswith(b"#"):
                fields = line.split(b",")
                packets.append((int(fields[2]), int(fields[3])))
            if len(packets) > max_frames:
                raise InputError(f"cannot read '{path}': it has more than {max_frames} frames")
        run.finish()
    if size is None or min(size) < 1 or not packets:
        raise InputError(f"cannot read '{path}': it holds no pictures")
    first, last = min(packets), max(packets)
    duration_s = max(last[0] + last[1] - first[0], 1) * tick_s
    fps = 1 / duration_s
    if last[0] > first[0]:
        error_s = tick_s * (1 if first[0] else Fraction(1, 2))  # every time but zero is rounded to the nearest tick
        fps = _plain_rate(len(packets) - 1, (last[0] - first[0]) * tick_s, error_s)
    return StreamInfo(height=size[1], width=size[0], frames=len(packets), fps=float(fps), duration_s=float(duration_s))


def read_comment(path: Path, *, limit_bytes: int) -> str:
    """The `comment` of a video file, empty where it has none.

    Raises:
        InputError: the file cannot be read, or its metadata are larger than `limit_bytes`.
    """
    arguments = [*input_arguments(path, VIDEO_KINDS[path.suffix.lower()]), "-f", "ffmetadata", "-"]
    with Ffmpeg(arguments, task=f"read '{path}'") as run:
        data = run.output.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise InputError(f"cannot read '{path}': its metadata are larger than {limit_bytes} bytes")
        run.finish()
    # ffmetadata: `key=value` lines in which a backslash keeps the character behind it, a line end included
    entry = re.search(r"^comment=((?:\\.|[^\\\n])*)$", data.decode("utf-8", "replace"), re.DOTALL | re.MULTILINE | re.I)
    return re.sub(r"\\(.)", r"\1", entry[1], flags=re.DOTALL) if entry else ""


def _plain_rate(steps: int, span_s: Fraction, error_s: Fraction) -> Fraction:
    """Frames per second where `steps` frames take `span_s`: the plainest rate within the rounding of the times.

    Containers round times (mkv to milliseconds, gif to hundredths), so that 12 per second would come back as 12.048.
    """
    mean = steps / span_s
    for unit in (Fraction(1), Fraction(1000, 1001), Fraction(1, 2), Fraction(1, 100)):
        plain = round(mean / unit) * unit
        if plain > 0 and abs(steps / plain - span_s) <= error_s:
            return plain
    return mean


def _ending(status: int) -> str:
    """How a program ended; it has the negative number of a signal that ended it."""
    if status >= 0:
        return f"ffmpeg ended with status {status}"
    return f"ffmpeg was ended by signal {-status} ({signal.strsignal(-status) or 'unknown'})"


def _executable() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ResourceError(f"ffmpeg was not found: {error}; pip install 'imageio[ffmpeg]'") from error


def _close_quietly(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # unsent bytes for a program that has ended: the run was given up
