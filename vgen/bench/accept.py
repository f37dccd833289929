"""Holds measured figures against the bars in bars.yaml: `python -m vgen.bench.accept AREA`.

Prints bar, measured figure, interval and whether it is met, one row each; exits 0 where all rows that this machine can
run are met, 1 where one is missed or nothing could be run, 2 where there is no such area.
"""

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vgen.errors import ConfigError, nearest

__all__ = ["BARS", "MACHINES", "Bar", "Result", "accept", "main", "read_bars"]

BARS = Path(__file__).with_name("bars.yaml")


def _has_amx() -> bool:
    """Whether the CPU has units for matrices of bf16, without which sparse attention in bf16 has no bar."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and " amx_bf16" in flags.read_text(encoding="utf-8")


# machine class -> is this machine one?
MACHINES: Mapping[str, Callable[[], bool]] = {
    "any": lambda: True,
    "amx": _has_amx,
    "cuda": lambda: shutil.which("nvidia-smi") is not None,
}

_BOUNDS: Mapping[str, Callable[[float, float], bool]] = {">=": lambda x, y: x >= y, "<=": lambda x, y: x <= y}
_DEFAULT_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row of bars.yaml, which says what the fields mean."""

    area: str
    name: str
    command: tuple[str, ...]
    quantity: str
    bound: str
    machine: str
    interval: str | None = None
    timeout_s: float = _DEFAULT_TIMEOUT_S

    def met_by(self, value: float) -> bool:
        sign, limit = self.bound.split()
        return _BOUNDS[sign](value, float(limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a bar: `met` is None where this machine cannot run it; `problem` says what prevented a figure."""

    bar: Bar
    met: bool | None
    value: float | None = None
    interval: tuple[float, float] | None = None
    problem: str = ""


def read_bars(path: Path = BARS) -> list[Bar]:
    """Reads and checks all rows.

    Raises:
        ConfigError: a row has an unknown, missing or malformed field; or two rows of an area share a name.
    """
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"'{path}' is not a list of bars")
    bars = [_read_bar(row, f"'{path.name}', row {number}") for number, row in enumerate(rows, 1)]
    names = [(bar.area, bar.name) for bar in bars]
    for area, name in names:
        if names.count((area, name)) > 1:
            raise ConfigError(f"'{path.name}' has two bars '{name}' in area '{area}'")
    return bars


def accept(bars: Sequence[Bar]) -> list[Result]:
    """Runs every command once and compares the figures with their bars."""
    able = {name: check() for name, check in MACHINES.items()}
    outputs: dict[tuple[str, ...], dict[str, Any] | str] = {}
    results = []
    for bar in bars:
        if not able[bar.machine]:
            results.append(Result(bar=bar, met=None, problem=f"not run: needs {bar.machine}"))
            continue
        if bar.command not in outputs:
            print(f"running {' '.join(bar.command)}", file=sys.stderr, flush=True)
            outputs[bar.command] = _run(bar.command, bar.timeout_s)
        results.append(_compare(bar, outputs[bar.command]))
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: one area in, a table on stdout, the exit code as in this file's first lines."""
    asked = list(sys.argv[1:] if argv is None else argv)
    bars = read_bars()
    areas = {bar.area for bar in bars}
    if len(asked) != 1 or asked[0] not in areas:
        print(f"usage: accept AREA; {nearest(' '.join(asked), areas)}", file=sys.stderr)
        return 2
    results = accept([bar for bar in bars if bar.area == asked[0]])
    Console(width=None if sys.stdout.isatty() else 140).print(_table(results))
    run = [result for result in results if result.met is not None]
    return 0 if run and all(result.met for result in run) else 1


def _read_bar(row: object, where: str) -> Bar:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: expected named fields, got {row!r}")
    known = set(Bar.__dataclass_fields__)
    for key in row:
        if key not in known:
            raise ConfigError(f"{where}: unknown field '{key}'; {nearest(str(key), known)}")
    missing = sorted(known - {"interval", "timeout_s"} - set(row))
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}")
    command = row["command"]
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise ConfigError(f"{where}: command is a list of strings, got {command!r}")
    sign, _, limit = str(row["bound"]).partition(" ")
    if sign not in _BOUNDS or not re.fullmatch(r"-?\d+(\.\d+)?", limit):
        raise ConfigError(f"{where}: bound is like '>= 0.9' or '<= 60', got {row['bound']!r}")
    if row["machine"] not in MACHINES:
        raise ConfigError(f"{where}: unknown machine; {nearest(str(row['machine']), MACHINES)}")
    return Bar(**{**row, "command": tuple(command)})


def _run(command: tuple[str, ...], timeout_s: float) -> dict[str, Any] | str:
    """The JSON object that a command prints, or what went wrong. Its stderr goes to ours."""
    argv = [sys.executable, *command[1:]] if command[0] == "python" else list(command)
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=timeout_s, check=False)
        output = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    except ValueError:
        return f"printed no JSON; exit code {done.returncode}"
    if done.returncode != 0:
        return f"exit code {done.returncode}"
    return output if isinstance(output, dict) else f"printed no JSON object but {type(output).__name__}"


def _compare(bar: Bar, output: dict[str, Any] | str) -> Result:
    if isinstance(output, str):
        return Result(bar=bar, met=False, problem=output)
    value = _at(output, bar.quantity)
    if not _is_number(value):
        return Result(bar=bar, met=False, problem=f"'{bar.quantity}' is {value!r}, not a finite number")
    interval = None if bar.interval is None else _at(output, bar.interval)
    if bar.interval is not None and not (
        isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval))
    ):
        return Result(bar=bar, met=False, problem=f"'{bar.interval}' is {interval!r}, not [low, high]")
    return Result(bar=bar, met=bar.met_by(value), value=value, interval=tuple(interval) if interval else None)


def _at(output: dict[str, Any], path: str) -> Any:
    """The value at a dotted path, None where there is none; in a list of scores `group: name` or `name` picks one."""
    value: Any = output
    for key in path.split("."):
        if isinstance(value, list):
            value = next((one for one in value if isinstance(one, dict) and _title(one) == key), None)
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _title(score: Mapping[str, Any]) -> str:
    """As `vgen evaluate` prints it."""
    return f"{score['group']}: {score['name']}" if score.get("group") else str(score.get("name"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _table(results: Sequence[Result]) -> Table:
    table = Table("bar", "bound", "measured", "interval", "met")
    for result in results:
        measured = result.problem if result.value is None else f"{result.value:.4g}"
        interval = "" if result.interval is None else "{:.3g} to {:.3g}".format(*result.interval)
        met = {True: "yes", False: "NO", None: "-"}[result.met]
        table.add_row(*map(Text, (result.bar.name, result.bar.bound, measured, interval, met)))
    return table


if __name__ == "__main__":
    sys.exit(main())
