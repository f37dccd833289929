"""Draws, perceives and measures the pieces of a suite, over processes; what is finished is kept on the disk.

What comes of a piece depends on the piece alone, so neither the number of processes nor an interruption changes a run.
A store holds a line per finished piece, and in its first line which code measured: measurements of other code are
never mixed in.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vgen.errors import InputError
from vgen.judge.calibration.digest import code_digest
from vgen.judge.calibration.outcomes import Outcome
from vgen.judge.calibration.suite import Piece
from vgen.lines import append_line, begin_lines, read_lines
from vgen.processes import spread_over

__all__ = ["STORE_SCHEMA", "Step", "run"]

STORE_SCHEMA = "vgen calibration run 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A finished piece.

    Args:
        stage: `kept` for one that was on the disk already, else `measure`.
        done, total: pieces of this stage.
        outcome: what came of it.
    """

    stage: str
    done: int
    total: int
    outcome: Outcome


def run(
    pieces: Sequence[Piece],
    *,
    perform: Callable[[Piece], Outcome],
    jobs: int = 2,
    store: Path | None = None,
    resume: bool = False,
) -> Iterator[Step]:
    """Performs all pieces; stop iterating to stop the run.

    Args:
        pieces: of a suite; each is performed once.
        perform: what makes an outcome of a piece; a function of a module, since it runs in other processes.
        jobs: processes; 1 works in this one.
        store: file that takes every outcome as it comes; begun anew unless `resume`.
        resume: go on from what the store holds.

    Raises:
        InputError: the store cannot be written, or holds something else.
    """
    wanted = dict.fromkeys(pieces)
    kept = _read(store) if resume and store is not None and store.is_file() else {}
    kept = {piece: outcome for piece, outcome in kept.items() if piece in wanted}
    for done, outcome in enumerate(kept.values(), 1):
        yield Step(stage="kept", done=done, total=len(kept), outcome=outcome)
    if store is not None:
        begin_lines(store, _header(), (outcome.line() for outcome in kept.values()))
    todo = [piece for piece in wanted if piece not in kept]
    for done, (_, outcome) in enumerate(spread_over(jobs, partial(_told, perform), todo), 1):
        if store is not None:
            append_line(store, outcome.line())
        yield Step(stage="measure", done=done, total=len(todo), outcome=outcome)


def _told(perform: Callable[[Piece], Outcome], piece: Piece) -> Outcome:
    """The outcome; an error names the piece."""
    with _Naming(piece):
        return perform(piece)


class _Naming:
    """Notes on an error which piece it came from."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"while measuring {self.piece}")


def _header() -> str:
    return json.dumps({"schema": STORE_SCHEMA, "code": code_digest()})


def _read(store: Path) -> dict[Piece, Outcome]:
    """What a store holds; a last line that was cut short is left out.

    Raises:
        InputError: it is no store, or one of other code.
    """
    header, lines = read_lines(store)
    if STORE_SCHEMA not in header:
        raise InputError(f"'{store}' holds no calibration run; name another folder, or begin anew without --resume")
    if header != _header():
        raise InputError(f"'{store}' was measured by other code than this; begin anew without --resume")
    outcomes = []
    for number, line in enumerate(lines, 2):
        try:
            outcomes.append(Outcome.of_line(line))
        except ValueError as error:
            raise InputError(f"'{store}' is damaged at line {number}; begin anew without --resume") from error
    return {outcome.piece: outcome for outcome in outcomes}
