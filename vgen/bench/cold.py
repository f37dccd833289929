"""Wall clock and peak memory of a command in a fresh process and an empty folder, as a user would run it.

    python -m vgen.bench.cold [--repeat N] -- vgen generate "a red ball falls"

Memory is the largest sum over the process and its children of resident memory, sampled; what they share counts twice.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from vgen.errors import InputError, ResourceError

__all__ = ["machine", "main", "measure"]

_SAMPLE_S = 0.02


def measure(command: Sequence[str], *, repeat: int = 1) -> dict[str, Any]:
    """Runs a command several times and returns its figures, ready for JSON.

    Args:
        command: argument list; `vgen` and `python` stand for those of the running interpreter.
        repeat: number of runs, each in an empty folder of its own.

    Raises:
        ResourceError: the command is not installed.
        InputError: a run failed; with the last line it wrote.
    """
    assert repeat >= 1, f"at least one run, got {repeat}"
    argv = [_resolve(command[0]), *command[1:]]
    runs = [_run(argv) for _ in range(repeat)]
    seconds = [wall_s for wall_s, _ in runs]
    return {
        "command": list(command),
        "machine": machine(),
        "wall_s": {"best": min(seconds), "all": seconds},
        "peak_mib": max(peak_mib for _, peak_mib in runs),
    }


def machine() -> dict[str, Any]:
    """What a figure was taken on."""
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_mib": psutil.virtual_memory().total >> 20,
        "python": platform.python_version(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures as JSON; 2 where the command cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m vgen.bench.cold", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=1, help="number of runs")
    parser.add_argument("command", nargs="+", help="the command, behind --")
    asked = parser.parse_args(argv)
    if asked.repeat < 1:
        parser.error("--repeat is at least 1")
    try:
        figures = measure(asked.command, repeat=asked.repeat)
    except (InputError, ResourceError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=2))
    return 0


def _resolve(program: str) -> str:
    """The program beside the running interpreter, so that no other installation is measured, else that on the path."""
    if program == "python":
        return sys.executable
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise ResourceError(f"the command '{program}' is not installed; in a checkout: pip install -e .")
    return found


def _run(argv: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak MiB of one run."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as messages:
        began = time.perf_counter()
        process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages)
        tree = psutil.Process(process.pid)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(tree))
            time.sleep(_SAMPLE_S)
        wall_s = time.perf_counter() - began
        if process.returncode != 0:
            messages.seek(0)
            lines = messages.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
            raise InputError(f"'{' '.join(argv)}' ended with {process.returncode}: {lines[-1]}")
    return wall_s, peak / 2**20


def _resident(tree: psutil.Process) -> int:
    """Bytes resident in a process and its children; those that end meanwhile count nothing."""
    total = 0
    try:
        family = [tree, *tree.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
