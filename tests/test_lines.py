"""A file that grows line by line: what was added is read again, wherever a kill cuts it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgen.errors import InputError
from vgen.lines import append_line, begin_lines, read_lines

TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)


@given(header=TEXT, lines=st.lists(TEXT, max_size=6), cut=st.integers(0, 40))
def test_a_kill_loses_only_what_was_under_way(header: str, lines: list[str], cut: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "runs" / "rows.jsonl"
        begin_lines(path, header, lines[:2])
        for line in lines[2:]:
            append_line(path, line)
        written = path.read_bytes()
        path.write_bytes(written[: len(written) - cut])
        try:
            whole = path.read_bytes().decode().count("\n")
        except UnicodeDecodeError:
            return  # within a letter; what is written here is ASCII
        found = [header, *lines][:whole]
        assert read_lines(path) == ((found[0], found[1:]) if found else ("", []))


def test_a_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_lines(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        append_line(tmp_path, "{}")
