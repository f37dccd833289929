"""What a run has scored, on the disk: a line per item, appended as it comes; nothing that was scored is lost.

    scores.jsonl            a header that says what is scored by whom, then a line per item
    scores-2-of-4.jsonl     the same of one shard; whoever reads takes all of them together

A run is only gone on with where its header is the same: rows of other clips, judges or versions are never mixed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from vgen.errors import InputError
from vgen.evaluate.benchmark import Measures
from vgen.files import os_errors
from vgen.lines import append_line, begin_lines

__all__ = ["CLIPS", "SCHEMA", "Row", "Shard", "State", "Store"]

SCHEMA = "vgen evaluate 1"
MAX_STORE_BYTES = 1 << 30
NAME = re.compile(r"scores(?:-\d+-of-(\d+))?\.jsonl")
CLIPS = "clips"  # the folder beside the scores in which a run keeps what it makes

State = Literal["scored", "missing", "error"]


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1) of `count` parts of a run."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads `2/4`.

        Raises:
            InputError: that is no shard.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"--shard takes i/n with 1 <= i <= n, such as 2/4, got '{text[:20]}'")
        return cls(int(found[1]), int(found[2]))

    def takes(self, place: int) -> bool:
        """Whether the item at a place is one of its own."""
        return place % self.count == self.index - 1

    @property
    def file(self) -> str:
        return "scores.jsonl" if self.count == 1 else f"scores-{self.index}-of-{self.count}.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one item.

    Args:
        item: its id.
        state: `missing` where there is no clip, `error` where it could not be made or scored.
        measures: of a scored one; empty else.
        reason: why there are none.
        clip: where it stands; empty where there is none.
        seconds: that it took, making included.
    """

    item: str
    state: State
    measures: Measures
    reason: str = ""
    clip: str = ""
    seconds: float = 0.0


class Store:
    """The rows of a run's folder.

    Args:
        folder: of the run.
        header: all that decides what a row means, as plain JSON.
        shard: whose file is written.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], shard: Shard) -> None:
        self.folder = folder
        self.header = {"schema": SCHEMA} | dict(header)
        self.path = folder / shard.file

    def check(self, *, resume: bool) -> None:
        """Refuses a folder with scores, unless they are to be gone on with or are those of this run's other shards.

        Raises:
            InputError: there are some, and `resume` is not said; or clips of which no scores say what made them.
        """
        files = self._files()
        if not resume and any(not self._is_sibling(path) and len(_lines(path)) > 1 for path in files):
            raise InputError(
                f"'{self.folder}' holds scores already; go on with them (--resume), or name another folder with -o"
            )
        if not files and _holds_files(self.folder / CLIPS):
            raise InputError(
                f"'{self.folder}' holds clips, and no scores that say what made them; name another folder with -o, or "
                f"score them with --videos {self.folder / CLIPS}"
            )

    def kept(self, *, resume: bool) -> dict[str, Row]:
        """The rows that count already, by item: none without `resume`, else what any shard has scored.

        Raises:
            InputError: as of `check` and `rows`.
        """
        self.check(resume=resume)
        rows = self.rows()  # reads the headers of other shards, also where their rows are not asked for
        return {item: row for item, row in rows.items() if row.state == "scored"} if resume else {}

    def begin(self, *, resume: bool) -> dict[str, Row]:
        """Makes ready to add rows, and returns those of `kept`. What failed is tried again.

        Raises:
            InputError: as of `kept`, or the system refuses.
        """
        kept = self.kept(resume=resume)
        own = {item: row for item, row in (self._read(self.path) if resume else []) if row.state == "scored"}
        begin_lines(self.path, json.dumps(self.header), map(_line, own.values()))
        return kept

    def add(self, row: Row) -> None:
        """Appends a row.

        Raises:
            InputError: the system refuses.
        """
        append_line(self.path, _line(row))

    def rows(self) -> dict[str, Row]:
        """All rows of all shards, by item; a scored one before one that failed.

        Raises:
            InputError: a file of another run, or a damaged one.
        """
        found: dict[str, Row] = {}
        for path in self._files():
            for item, row in self._read(path):
                if item not in found or row.state == "scored":
                    found[item] = row
        return found

    def _files(self) -> list[Path]:
        """All files of scores in the folder."""
        with os_errors("read", self.folder):
            if not self.folder.exists():
                return []
            return sorted(path for path in self.folder.iterdir() if NAME.fullmatch(path.name))

    def _is_sibling(self, path: Path) -> bool:
        """Whether another shard of as many writes it."""
        mine, theirs = NAME.fullmatch(self.path.name), NAME.fullmatch(path.name)
        assert mine and theirs, "both are names of scores"
        return path.name != self.path.name and mine[1] is not None and mine[1] == theirs[1]

    def _read(self, path: Path) -> Iterator[tuple[str, Row]]:
        lines = _lines(path)
        if not lines:
            return
        self._check_header(path, lines[0])
        for number, line in enumerate(lines[1:], 2):
            try:
                row = _row(line)
            except ValueError as error:
                if number == len(lines):  # cut short by a kill; its item is scored again
                    return
                raise InputError(f"'{path}' is damaged at line {number}; name another folder with -o") from error
            yield row.item, row

    def _check_header(self, path: Path, line: str) -> None:
        try:
            theirs = json.loads(line)
        except ValueError as error:
            raise InputError(f"'{path}' holds no scores of vgen; name another folder with -o") from error
        if not isinstance(theirs, dict) or theirs.get("schema") != SCHEMA:
            raise InputError(f"'{path}' holds no scores that this vgen reads; name another folder with -o")
        if differing := _differing(theirs, self.header):
            what, got, asked = differing
            raise InputError(
                f"'{path}' was scored with another {what}: {_short(got)}, not {_short(asked)}; name another folder "
                "with -o"
            )


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """What differs first, by its name, the innermost one last: `source seed`."""
    for key in {**ours, **theirs}:
        got, asked = theirs.get(key), ours.get(key)
        if isinstance(got, dict) and isinstance(asked, dict):
            if inner := _differing(got, asked):
                return f"{key} {inner[0]}", *inner[1:]
        elif got != asked:
            return key, got, asked
    return None


def _holds_files(folder: Path) -> bool:
    with os_errors("read", folder):
        return folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))


def _lines(path: Path) -> list[str]:
    with os_errors("read", path):
        if not path.exists():
            return []
        if path.stat().st_size > MAX_STORE_BYTES:
            raise InputError(f"'{path}' has {path.stat().st_size} bytes, at most {MAX_STORE_BYTES}")
        return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _row(line: str) -> Row:
    """A row of its line; ValueError where it is none."""
    values = json.loads(line, parse_constant=_no_constant)
    if not isinstance(values, dict) or set(values) != {field.name for field in fields(Row)}:
        raise ValueError("no row")
    row = Row(**values)
    texts = (row.item, row.reason, row.clip)
    if not all(isinstance(text, str) for text in texts) or not isinstance(row.measures, dict):
        raise ValueError("no row")
    if row.state not in get_args(State) or not isinstance(row.seconds, int | float):
        raise ValueError("no row")
    return row


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _line(row: Row) -> str:
    return json.dumps(asdict(row), allow_nan=False)


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:57]}..."
