"""Mutants of every kind of input through the command line: `python -m tests.trust.fuzz 500` counts what went wrong.

A mutant may be taken or be refused: exit code 0, or 2 with one printable line on stderr and nothing on stdout. Anything
else is a fault: an exception, another exit code, more time than LIMIT_S or CPU_LIMIT_S, a file left behind. The seed is
the number of the mutant, so that a fault is found again by `python -m tests.trust.fuzz KIND:NUMBER`.

A new kind of input is a row of KINDS.
"""

import contextlib
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import typer

from tests.mutants import bytes_of, json_of, safetensors_of, text_of
from tests.trust.world import MODEL, PICTURES, PROMPT, make_world
from vgen import pipeline
from vgen.cli import _run
from vgen.models.load import load_model

__all__ = ["KINDS", "Kind", "Tally", "attack", "fuzz", "main", "preparing", "spread"]

LIMIT_S = 60.0  # of the clock, as a mutant that waits uses no processor
CPU_LIMIT_S = 10.0  # of the processor, as this machine may have other work
LONGEST_LINE = 4200
WEIGHTS = "diffusion_pytorch_model.safetensors"
Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of input.

    Args:
        share: of a hundred mutants, so many are of this kind.
        files: originals, by their paths in the world.
        mutate: makes a mutant of the bytes of one.
        words: the command line; `{file}` is the mutant, `{model}` a model folder.
        whole: copies this folder of the world, of which `files` are part, and `{model}` or `{folder}` is the copy.
    """

    share: int
    files: tuple[str, ...]
    mutate: Mutate
    words: tuple[str, ...]
    whole: str | None = None


def _json(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.25:
        return bytes_of(data, rng)
    return json_of(json.loads(data), rng).encode("utf-8", "surrogatepass")


def _text(data: bytes, rng: random.Random) -> bytes:
    return text_of(data.decode(), rng)


MAKE = ("generate", "--model", "{model}", "--seed", "1", "-o", "new.mkv")
REPLAY = ("replay", "{file}", "--model", "{model}", "-o", "new.mkv")
KINDS: dict[str, Kind] = {
    "image": Kind(share=16, files=PICTURES, mutate=bytes_of, words=(*MAKE, PROMPT, "--image", "{file}")),
    "video": Kind(
        share=16,
        files=("a.mp4", "a.mkv", "moving.gif", "a.mov", "done.mkv"),
        mutate=bytes_of,
        words=(*MAKE, PROMPT, "--extend", "{file}"),
    ),
    "frames": Kind(
        share=3,
        files=tuple(f"frames/frame_0000{i}.png" for i in range(3)),
        mutate=bytes_of,
        words=(*MAKE, PROMPT, "--extend", "{folder}"),
        whole="frames",
    ),
    "config": Kind(share=12, files=("config.yaml",), mutate=_text, words=(*MAKE, "--config", "{file}")),
    "attention": Kind(share=3, files=("attention.yaml",), mutate=_text, words=(*MAKE, PROMPT, "--attention", "{file}")),
    "story": Kind(share=6, files=("story.yaml",), mutate=_text, words=(*MAKE, "--seconds", "3", "--story", "{file}")),
    "prompts": Kind(share=5, files=("prompts.txt",), mutate=_text, words=(*MAKE, "--prompts", "{file}")),
    "record": Kind(
        share=11,
        files=("done.json",),
        mutate=_json,
        words=REPLAY,
    ),
    "embedded record": Kind(
        share=2,
        files=("done.mkv",),
        mutate=bytes_of,
        words=REPLAY,
    ),
    "checkpoint": Kind(
        share=6,
        files=("killed.run/record.json", "killed.run/state.safetensors", "killed.run/latents-00000000.safetensors"),
        mutate=lambda data, rng: _json(data, rng) if data[:1] == b"{" else safetensors_of(data, rng),
        words=("generate", "--resume", "{folder}", "--model", "{model}"),
        whole="killed.run",
    ),
    "weights": Kind(
        share=8,
        files=(f"{MODEL}/transformer/{WEIGHTS}", f"{MODEL}/vae/{WEIGHTS}", f"{MODEL}/text_encoder/model.safetensors"),
        mutate=safetensors_of,
        words=(*MAKE, PROMPT),
        whole=MODEL,
    ),
    "folder": Kind(
        share=6,
        files=(
            f"{MODEL}/model_index.json",
            f"{MODEL}/transformer/config.json",
            f"{MODEL}/vae/config.json",
            f"{MODEL}/text_encoder/config.json",
            f"{MODEL}/scheduler/scheduler_config.json",
            f"{MODEL}/tokenizer/tokenizer_config.json",
            f"{MODEL}/tokenizer/tokenizer.json",
        ),
        mutate=_json,
        words=(*MAKE, PROMPT),
        whole=MODEL,
    ),
    "card": Kind(share=3, files=(f"{MODEL}/vgen.yaml",), mutate=_text, words=("models", "{model}"), whole=MODEL),
    "convert": Kind(
        share=3,
        files=("causal.pt", "old.pt", "causal.safetensors"),
        mutate=lambda data, rng: safetensors_of(data, rng) if data[8:9] == b"{" else bytes_of(data, rng),
        words=("convert", "{file}", "--base", "{model}", "-o", "out", "--dry-run"),
    ),
}


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of the mutants."""

    inputs: int = 0
    taken: int = 0
    refused: int = 0
    tracebacks: int = 0
    wrong_lines: int = 0
    hangs: int = 0
    partial_files: int = 0
    slowest_s: float = 0.0
    wall_s: float = 0.0
    peak_mib: float = 0.0
    peak_child_mib: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, fault: tuple[str, str] | None) -> None:
        if fault is not None:
            kind, told = fault
            setattr(self, kind, getattr(self, kind) + 1)
            self.faults.append(f"{name}: {kind}: {told}")


def fuzz(world: Path, numbers: Iterator[tuple[str, int]]) -> Tally:
    """Attacks with each named mutant.

    Args:
        world: as `make_world` wrote it.
        numbers: kind and number of each mutant.
    """
    tally = Tally()
    begun = time.perf_counter()
    with preparing(world / MODEL):
        for name, number in numbers:
            since = time.perf_counter()
            code, fault = attack(world, KINDS[name], number)
            tally.slowest_s = max(tally.slowest_s, time.perf_counter() - since)
            tally.inputs += 1
            tally.taken += code == 0
            tally.refused += code == 2
            tally.add(f"{name}:{number}", fault)
    tally.wall_s = round(time.perf_counter() - begun, 1)
    tally.slowest_s = round(tally.slowest_s, 2)
    tally.peak_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0)
    tally.peak_child_mib = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 0)
    return tally


def spread(count: int, first: int = 0) -> Iterator[tuple[str, int]]:
    """`count` mutants over all kinds by their shares, numbered from `first` on."""
    names = [name for name, kind in KINDS.items() for _ in range(kind.share)]
    random.Random(0).shuffle(names)  # noqa: S311 (wanted: the same each time)
    return itertools.islice(((name, first + i) for i, name in enumerate(itertools.cycle(names))), count)


def attack(world: Path, kind: Kind, number: int) -> tuple[int | None, tuple[str, str] | None]:
    """Runs one mutant; its exit code, and the fault that was found: which count of a `Tally`, and what was seen."""
    rng = random.Random(number)  # noqa: S311 (wanted: the same each time)
    original = rng.choice(kind.files)
    with tempfile.TemporaryDirectory() as root:
        mutant, words = _prepared(world, Path(root), kind, original, rng)
        here = Path(root, "here")
        here.mkdir()
        before = _listing(Path(root))
        code, out, err, error, seconds = _timed(words, here)
        left = _listing(Path(root)) - before
    if error is not None:
        return code, ("hangs" if isinstance(error, _TooLong) else "tracebacks", _where(error))
    if seconds > CPU_LIMIT_S:
        return code, ("hangs", f"{seconds:.1f} s of the processor")
    if left:
        return code, ("partial_files", ", ".join(sorted(left)))
    if code not in (0, 2):
        return code, ("tracebacks", f"exit code {code}: {err[-300:]}")
    wrong = _wrong(code, out, err)
    return code, None if wrong is None else ("wrong_lines", f"{wrong}: {mutant.name}: {err[-300:]!r}")


def _wrong(code: int, out: str, err: str) -> str | None:
    """What is wrong with what was said; lines of progress go before a run that was taken."""
    lines = err.splitlines()
    if not all(line.isprintable() for line in [*lines, *out.splitlines()]):
        return "not printable"
    if any(len(line) > LONGEST_LINE for line in lines):
        return "too long"
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("vgen: ") or out):
        return "not one line"
    return None


def _prepared(world: Path, root: Path, kind: Kind, original: str, rng: random.Random) -> tuple[Path, list[str]]:
    """Puts the mutant where it belongs; the command line that reads it."""
    model, folder = world / MODEL, root
    if kind.whole is not None:
        folder = shutil.copytree(world / kind.whole, root / kind.whole, copy_function=os.link)
        model = folder if kind.whole == MODEL else model
        mutant = root / original
        mutant.unlink()
    else:
        mutant = root / f"mutant{Path(original).suffix}"
    mutant.write_bytes(kind.mutate((world / original).read_bytes(), rng))
    return mutant, [word.format(file=mutant, model=model, folder=folder) for word in kind.words]


class _TooLong(BaseException):
    """Raised by the alarm; nobody catches it by chance."""


def _ring(*_: object) -> None:
    raise _TooLong


def _timed(words: Sequence[str], here: Path) -> tuple[int | None, str, str, BaseException | None, float]:
    """Runs a command line in a folder: exit code, stdout, stderr, what escaped it, and its seconds of the processor."""
    code, escaped = None, None
    old = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    since = time.process_time()
    with _heard() as heard:
        try:
            with contextlib.chdir(here):
                code = _run(list(words))
        except (Exception, _TooLong) as error:
            escaped = error
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            seconds = time.process_time() - since
    out, err = heard
    return code, out, err, escaped, seconds


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """What is written to stdout and stderr meanwhile, by C libraries too; filled in at the end."""
    heard: list[str] = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+", errors="backslashreplace")) for _ in range(2)]
        kept = [os.dup(handle) for handle in (1, 2)]
        for handle, file in enumerate(files, 1):
            os.dup2(file.fileno(), handle)
        try:
            with contextlib.redirect_stdout(files[0]), contextlib.redirect_stderr(files[1]):
                yield heard
        finally:
            for handle, (old, file) in enumerate(zip(kept, files, strict=True), 1):
                file.flush()
                os.dup2(old, handle)
                os.close(old)
                file.seek(0)
                heard.append(file.read())


@contextlib.contextmanager
def preparing(model: Path) -> Iterator[None]:
    """Everything but the steps of the model: runs end where they would begin, and the good model is loaded once."""
    loaded = load_model(str(model), device=torch.device("cpu"), dtype=torch.float32)

    def load(folder: str, **options: Any) -> Any:
        return loaded if Path(folder) == model else load_model(folder, **options)

    def write_run(run: Any, *_: object, resume: Any = None) -> None:
        for event in run.events(resume, resume=True) if resume is not None else ():
            if event.stage == "denoise":
                break
        raise typer.Exit(0)

    with mock.patch.object(pipeline, "load_model", load), mock.patch("vgen.cli.output.write_run", write_run):
        yield


def _listing(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/vgen/" in frame.filename] or list(frames)
    last = ours[-1] if ours else None
    place = "" if last is None else f"{'/'.join(Path(last.filename).parts[-3:])}:{last.lineno} "
    return f"{place}{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def main() -> int:
    """Mutants by count (`500`, `2000 FIRST`) or by name (`image:17`); prints one JSON object."""
    asked = sys.argv[1:] or ["500"]
    with tempfile.TemporaryDirectory() as root:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            world = make_world(Path(root))
        if ":" in asked[0]:
            numbers = iter([(name, int(number)) for name, _, number in (one.partition(":") for one in asked)])
        else:
            numbers = spread(*map(int, asked))
        tally = fuzz(world, numbers)
    print(json.dumps({name: getattr(tally, name) for name in Tally.__slots__}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
