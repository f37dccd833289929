"""A file that grows by a line as each thing is finished, so that a kill loses nothing but what was under way.

The first line says what the file is of; what a line means is its owner's affair.
"""

from collections.abc import Iterable
from pathlib import Path

from vgen.files import os_errors, replacing

__all__ = ["append_line", "begin_lines", "read_lines"]


def begin_lines(path: Path, header: str, lines: Iterable[str] = ()) -> None:
    """Writes the file anew, whole or not at all, and its folder where there is none.

    Raises:
        InputError: the system refuses.
    """
    with os_errors("make a folder for", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file that was begun.

    Raises:
        InputError: the system refuses.
    """
    with os_errors("write", path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_lines(path: Path) -> tuple[str, list[str]]:
    """The header and the lines; a last one that a kill has cut short, so that no end of line follows, is left out.

    Raises:
        InputError: the system refuses, or it is no text.
    """
    with os_errors("read", path):
        whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return (whole[0], whole[1:]) if whole else ("", [])
