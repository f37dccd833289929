"""TC-Bench's files: prompts with the kind of their transition, and assertions about frames of a grid from 1 to 16."""

import re
from pathlib import Path
from typing import Any

from vgen.errors import InputError
from vgen.evaluate.benchmarks.tc_bench.scores import CONSISTENCY, OTHER, TRANSITION, Mode
from vgen.evaluate.layout import Found, files_of
from vgen.evaluate.userdata import Row, read_object, read_rows, row_of

__all__ = ["GRID", "MOST", "assertions_of", "kinds_of", "layout", "prompts_of"]

PROMPTS: dict[Mode, int] = {"t2v": 150, "i2v": 120}  # as published
GRID = 16  # frames are named on this grid, whatever the clip's length
MOST = 1.01  # of a cosine in half precision


def kinds_of(root: Path, mode: Mode) -> dict[int, str]:
    """What kind of transition each prompt asks for, by its number.

    Raises:
        InputError: the prompts are not readable.
    """
    return {number: entry["type"] for number, entry in prompts_of(root, mode).items()}


def prompts_of(root: Path, mode: Mode) -> dict[int, dict[str, str]]:
    """Prompt and type of each number; raises InputError where they are not readable."""
    found: dict[int, dict[str, str]] = {}
    for row in read_rows(root / f"{mode}_prompts.json"):
        number = row.index("id")
        if number in found:
            raise row.fault("id", "a number of its own", number)
        found[number] = {key: row.text(key) for key in ("prompt", "type")}
    return found


def assertions_of(root: Path, mode: Mode) -> dict[int, list[dict[str, Any]]]:
    """Assertions of each prompt, by its number; raises InputError where they are not readable."""
    content = read_object(root / f"{mode}_assertions.json")
    if strange := [key for key in content.values if not re.fullmatch(r"0|[1-9]\d{0,6}", key)]:
        raise InputError(f"{content.where}: its keys are the numbers of prompts, got '{strange[0]}'")
    found = {}
    for key in content.values:
        where = f"{content.where}, prompt {key}"
        listed = enumerate(content.array(key), 1)
        found[int(key)] = [_assertion(row_of(entry, f"{where}, assertion {place}")) for place, entry in listed]
        if not any(entry["type"] == TRANSITION for entry in found[int(key)]):
            raise InputError(f"{where}: no assertion is on '{TRANSITION}'")
    return found


def _assertion(row: Row) -> dict[str, Any]:
    """The published file says `assertion` where the authors' script reads `question`; either is taken."""
    kind, places = row.text("type"), row.array("frames")
    if kind not in (TRANSITION, CONSISTENCY, OTHER):
        raise row.fault("type", f"{TRANSITION}, {CONSISTENCY} or {OTHER}", kind)
    if not places or not all(type(place) is int and 1 <= place <= GRID for place in places):
        raise row.fault("frames", f"numbers from 1 to {GRID}", places)
    return {"type": kind, "frames": places, "question": row.text("assertion", "question")}


def layout(root: Path, mode: Mode) -> list[Found]:
    """What a checkout holds of what is needed."""
    found = files_of(root, [f"{mode}_prompts.json", f"{mode}_assertions.json"])
    if any(one.state != "ok" for one in found):
        return found
    try:
        numbers = set(prompts_of(root, mode)), set(assertions_of(root, mode))
    except InputError as error:
        return [*found, Found(path=f"{mode}_*.json", state="wrong", detail=str(error))]
    return [_counted(one, had, mode) for one, had in zip(found, numbers, strict=True)]


def _counted(one: Found, numbers: set[int], mode: Mode) -> Found:
    count = PROMPTS[mode]
    if numbers == set(range(count)):
        return Found(path=one.path, state="ok", detail=f"{count} prompts")
    return Found(path=one.path, state="wrong", detail=f"holds {len(numbers)} prompts, not 0 to {count - 1}")
