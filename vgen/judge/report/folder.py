"""The folder of `vgen judge --report`: written beside its name and renamed when it is whole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vgen.errors import InputError
from vgen.files import check_parent, os_errors, partial_path, publish, remove
from vgen.judge.judging import Examination
from vgen.judge.report.data import FAMILY, to_json
from vgen.judge.report.page import to_html

__all__ = ["ReportFolder", "check_folder", "report_folder"]

LARGEST_OLD_REPORT_BYTES = 64 << 20


@dataclass(slots=True)
class ReportFolder:
    """A folder that is being written: `report.json` and `report.html` for one clip, `<clip>.json` and .html for more.

    Args:
        partial: where it stands until it is whole.
        alone: whether it is for one clip.
        names: of the reports in it.
    """

    partial: Path
    alone: bool
    names: list[str] = field(default_factory=list)

    def add(self, examination: Examination) -> str:
        """Writes the report on one clip and returns its name in the folder."""
        name = "report" if self.alone else self._free(Path(examination.report.clip).stem)
        self.names.append(name)
        (self.partial / f"{name}.json").write_text(to_json(examination.report), "utf-8", "backslashreplace")
        (self.partial / f"{name}.html").write_text(to_html(examination), "utf-8", "xmlcharrefreplace")
        return name

    def _free(self, stem: str) -> str:
        taken = {*self.names}
        return next(name for number in range(1, 2 + len(taken)) if (name := _numbered(stem, number)) not in taken)


def check_folder(path: Path) -> None:
    """Checks that reports can be written to a folder of this name.

    Raises:
        InputError: the system refuses, or what stands there is something else than reports.
    """
    check_parent(path)
    with os_errors("read", path):
        if path.exists() and not _holds_reports(path):
            raise InputError(f"cannot write reports to '{path}': it holds something else; name a new folder")


@contextmanager
def report_folder(path: Path, *, alone: bool) -> Iterator[ReportFolder]:
    """Yields a folder to add reports to; it takes the place of `path` when the block ends without an error.

    Raises:
        InputError: as `check_folder`.
    """
    check_folder(path)
    partial = partial_path(path)
    try:
        with os_errors("write", path):
            partial.mkdir()
            yield ReportFolder(partial, alone)
            publish(partial, path)
    finally:
        remove(partial)


def _holds_reports(path: Path) -> bool:
    """Whether a folder is empty or holds reports and nothing else."""
    if not path.is_dir() or path.is_symlink():
        return False
    names = {inner.name for inner in path.iterdir()}
    data = {name for name in names if name.endswith(".json")}
    return names == data | {f"{name.removesuffix('.json')}.html" for name in data} and all(
        _is_report(path / name) for name in data
    )


def _is_report(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > LARGEST_OLD_REPORT_BYTES:
        return False
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(content, dict) and str(content.get("schema")).startswith(FAMILY)  # of any version


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem}-{number}"
