"""What a GPU alone can show, part by part: `python -m vgen.bench.gpu [--list] [--only NAMES]`, or `make gpu`.

Each part is a process of its own that ends within ten minutes, so that a machine that is lent for short calls can run
them one at a time; one that does not is ended and said to be over its limit, and the next one runs. The parts leave
their figures in vgen/bench/results; what became of each is kept there too, in gpu.json, with machine, versions and
commit. A new part is a row of PARTS.

Exits 0 where all that were asked for passed, 1 where one did not, 2 where there is no CUDA device or no such part.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from vgen.bench.stamp import commit
from vgen.errors import ConfigError, ResourceError, VgenError, nearest
from vgen.files import replacing

__all__ = ["PARTS", "RESULTS", "Part", "Ran", "main", "run_parts"]

RESULTS = Path(__file__).with_name("results")
SUMMARY = "gpu.json"
LIMIT_S = 600.0
_STDERR = 2  # as the system knows it: what the parts print is no part of our table
_GRACE_S = 10.0  # from the request to end to the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One call.

    Args:
        command: argument list; `vgen` and `python` stand for those of the running interpreter.
        file: that it leaves in vgen/bench/results; none where None.
        limit_s: it is ended after that.
    """

    command: tuple[str, ...]
    file: str | None = None
    limit_s: float = LIMIT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of a part: `passed`, `exit code N` or `over its limit of N s`."""

    part: str
    seconds: float
    result: str
    file: str | None

    @property
    def passed(self) -> bool:
        return self.result == "passed"


def _generate(model: str, parts: str, *options: str) -> Part:
    asked = ("vgen", "bench", "generate", "--device", "cuda", "--models", model, "--parts", parts, *options, "--write")
    return Part(command=asked, file="generate-cuda.json")


# name -> what is run
PARTS: dict[str, Part] = {
    "tests": Part(command=("python", "-m", "pytest", "-q", "-m", "gpu")),
    "attention": Part(command=("python", "-m", "vgen.bench.attention_cuda", "--write"), file="attention-cuda.json"),
    "stream": Part(
        command=("vgen", "bench", "samplers", "--parts", "stream", "--device", "cuda", "--write"),
        file="samplers-cuda.json",
    ),
    "generate-1b3-480p": _generate("wan-1b3-480p", "dense,sparse"),
    "generate-1b3-480p-compiled": _generate("wan-1b3-480p", "dense", "--compile"),
    "generate-1b3-720p": _generate("wan-1b3-720p", "dense,sparse"),
    "generate-1b3-720p-compiled": _generate("wan-1b3-720p", "dense", "--compile"),
    "generate-14b-480p": _generate("wan-14b-480p", "dense,sparse"),
    "generate-14b-480p-compiled": _generate("wan-14b-480p", "dense", "--compile"),
    "generate-14b-720p": _generate("wan-14b-720p", "dense"),
    "generate-14b-720p-compiled": _generate("wan-14b-720p", "dense", "--compile"),
    "generate-14b-720p-sparse": _generate("wan-14b-720p", "sparse"),
}


def run_parts(names: Iterable[str], *, results: Path | None = None) -> list[Ran]:
    """Runs parts one after another; what came of each is kept as it comes.

    Args:
        names: of PARTS.
        results: the folder of the summary; RESULTS where None.

    Raises:
        ConfigError: there is no such part.
        ResourceError: there is no CUDA device.
    """
    wanted = [*names]
    for name in wanted:
        if name not in PARTS:
            raise ConfigError(f"--only: unknown part '{name}'; {nearest(name, PARTS)}")
    stamp = _stamp()
    done = []
    for number, name in enumerate(wanted, 1):
        print(f"{number} of {len(wanted)}: {name}: {' '.join(PARTS[name].command)}", file=sys.stderr, flush=True)
        done.append(_run(name, PARTS[name]))
        _keep((results or RESULTS) / SUMMARY, done[-1], stamp)
        print(f"{name}: {done[-1].result}, {done[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    return done


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the table goes to stdout, what the parts print to stderr."""
    parser = argparse.ArgumentParser(prog="python -m vgen.bench.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="say which parts there are, and run nothing")
    parser.add_argument("--only", metavar="NAMES", help="by commas; all parts if left out")
    asked = parser.parse_args(argv)
    if asked.list:
        for name, part in PARTS.items():
            print(f"{name:30}{' '.join(part.command)}")
        return 0
    names = PARTS if asked.only is None else [name.strip() for name in asked.only.split(",")]
    try:
        done = run_parts(names)
    except VgenError as error:
        print(error, file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else 120).print(_table(done))
    return 0 if all(ran.passed for ran in done) else 1


def _stamp() -> dict[str, Any]:
    import torch

    from vgen.machine import machine, pick_device, versions

    if not torch.cuda.is_available():
        raise ResourceError("these parts need a CUDA device, and there is none; on a CPU: make accept AREA=speed")
    return {"commit": commit(), "machine": machine(pick_device("cuda")), "versions": versions()}


def _run(name: str, part: Part) -> Ran:
    """One part, in a group of processes of its own, so that all of it can be ended."""
    began = time.perf_counter()
    process = subprocess.Popen(_argv(part.command), stdin=subprocess.DEVNULL, stdout=_STDERR, start_new_session=True)
    try:
        code = process.wait(part.limit_s)
        result = "passed" if code == 0 else f"exit code {code}"
    except subprocess.TimeoutExpired:
        result = f"over its limit of {part.limit_s:g} s"
    finally:
        _end(process)
    return Ran(part=name, seconds=time.perf_counter() - began, result=result, file=part.file)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Whatever is left of the group; asked first, and then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _argv(command: Sequence[str]) -> list[str]:
    ours: dict[str, list[str]] = {"python": [], "vgen": ["-c", "from vgen.cli import main; main()"]}
    return [sys.executable, *ours[command[0]], *command[1:]]


def _keep(path: Path, ran: Ran, stamp: dict[str, Any]) -> None:
    """Puts what became of a part in the place of what became of it before."""
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    row = {"seconds": round(ran.seconds, 1), "result": ran.result, "file": ran.file} | stamp
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(held | {ran.part: row}, indent=1) + "\n", encoding="utf-8")


def _table(done: Sequence[Ran]) -> Table:
    table = Table("part", "seconds", "result", "file")
    for ran in done:
        table.add_row(ran.part, f"{ran.seconds:.0f}", ran.result, ran.file or "")
    return table


if __name__ == "__main__":
    sys.exit(main())
