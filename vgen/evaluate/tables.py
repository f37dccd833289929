"""The figures of a run as a table: for people, Markdown, CSV and JSON; every one says how much was covered."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vgen.evaluate.benchmark import Direction, Score
from vgen.evaluate.runner import Outcome
from vgen.files import replacing
from vgen.judge.card import Figure

__all__ = [
    "ARROWS",
    "as_dict",
    "coverage_line",
    "csv_text",
    "headline",
    "markdown",
    "recount_dict",
    "score_rows",
    "table_rows",
    "write_tables",
]

TABLE_SCHEMA, RECOUNT_SCHEMA = "vgen evaluate table 1", "vgen evaluate recount 1"
ARROWS: dict[Direction, str] = {"higher": "\u2191", "lower": "\u2193"}  # which way a figure grows better


def headline(outcome: Outcome) -> Score | None:
    """The first figure, where it may stand for the benchmark; None where it is withheld."""
    return outcome.scores[0] if outcome.scores and outcome.whole else None


def coverage_line(outcome: Outcome) -> str:
    """How much was scored, and what became of the rest."""
    asked, items = len(outcome.task.asked), len(outcome.task.items)
    rest = [f"{outcome.count(state)} {state}" for state in ("missing", "error", "unseen") if outcome.count(state)]
    part = "" if asked == items else f", a part of {items}"
    partial = "" if outcome.whole else "; PARTIAL: the headline is withheld"
    return f"{outcome.count('scored')} of {asked} items scored{part}{''.join(f', {one}' for one in rest)}{partial}"


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """Plain JSON."""
    task, first = outcome.task, headline(outcome)
    return {
        "schema": TABLE_SCHEMA,
        "benchmark": task.benchmark.name,
        "kind": task.benchmark.kind,
        "source": task.source.name,
        "judge": task.jury.name,
        "settings": task.header,
        "items": {"all": len(task.items), "asked": len(task.asked)}
        | {state: outcome.count(state) for state in ("scored", "missing", "error", "unseen")},
        "coverage": outcome.coverage,
        "whole": outcome.whole,
        "headline": None if first is None else _plain(first),
        "scores": [_plain(score) for score in _standing(outcome)],
        "remarks": list(outcome.remarks),
        "failed": {item: row.reason for item, row in outcome.rows.items() if row.state != "scored"},
        "note": task.benchmark.note,
    }


def _standing(outcome: Outcome) -> list[Score]:
    """The figures, the headline without its value where it is withheld."""
    if headline(outcome) is not None or not outcome.scores:
        return [*outcome.scores]
    first, *others = outcome.scores
    blank = {name: None for name in first.beside}
    return [replace(first, figure=Figure(value=None, count=first.figure.count), beside=blank), *others]


def markdown(outcome: Outcome) -> str:
    """A table with intervals, and what a reader must know of it."""
    task = outcome.task
    header, rows = table_rows(outcome)
    lines = [
        f"# {task.benchmark.title}",
        "",
        f"{task.source.name}; {coverage_line(outcome)}." + (f" Judge: {task.jury.name}." if task.jury.name else ""),
        "",
        _line(header),
        "|---" * len(header) + "|",
        *map(_line, rows),
    ]
    failed = [(item, row) for item, row in outcome.rows.items() if row.state != "scored"]
    if failed:
        lines += ["", "Not scored:", "", *(f"- `{item}` ({row.state}): {row.reason}" for item, row in failed)]
    said = [*outcome.remarks, *([task.benchmark.note] if task.benchmark.note else [])]
    return "\n".join([*lines, *(line for one in said for line in ("", one)), ""])


def _line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def table_rows(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table, as text."""
    header, rows = score_rows(_standing(outcome))
    if rows and headline(outcome) is None:
        rows[0][1] = "withheld"
    return header, rows


def score_rows(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """A header, and a row of text per figure."""
    besides = _besides(scores)
    rows = [
        [
            _name(score),
            _number(score.figure.value),
            _interval(score),
            str(score.figure.count),
            *(_number(score.beside.get(name)) for name in besides),
        ]
        for score in scores
    ]
    return ["", "value", "95 %", "clips", *besides], rows


def recount_dict(benchmark: str, scores: Sequence[Score]) -> dict[str, Any]:
    """Plain JSON of figures that nobody was asked for."""
    return {"schema": RECOUNT_SCHEMA, "benchmark": benchmark, "scores": [_plain(score) for score in scores]}


def csv_text(outcome: Outcome) -> str:
    """A row per figure."""
    besides = _besides(outcome.scores)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "score", "better", "value", "low", "high", "clips", *besides])
    for score in _standing(outcome):
        low, high = score.figure.interval or ("", "")
        value = "" if score.figure.value is None else score.figure.value
        row = [score.group, score.name, score.better, value, low, high, score.figure.count]
        writer.writerow([*row, *("" if (one := score.beside.get(name)) is None else one for name in besides)])
    return text.getvalue()


def write_tables(outcome: Outcome, folder: Path) -> list[Path]:
    """Writes table.md, table.csv and table.json.

    Raises:
        InputError: the system refuses.
    """
    texts = {
        "table.md": markdown(outcome),
        "table.csv": csv_text(outcome),
        "table.json": json.dumps(as_dict(outcome), indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return [folder / name for name in texts]


def _plain(score: Score) -> dict[str, Any]:
    figure = score.figure
    return {
        "group": score.group,
        "name": score.name,
        "better": score.better,
        "value": figure.value,
        "interval_95": None if figure.interval is None else list(figure.interval),
        "clips": figure.count,
        "beside": dict(score.beside),
    }


def _besides(scores: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(name for score in scores for name in score.beside))


def _name(score: Score) -> str:
    name = f"{score.group}: {score.name}" if score.group else score.name
    return f"{name} {ARROWS[score.better]}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) >= 10 else f"{value:.3f}"


def _interval(score: Score) -> str:
    interval = score.figure.interval
    return "" if interval is None else f"[{_number(interval[0])}, {_number(interval[1])}]"
