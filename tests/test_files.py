"""Atomic replacing of single files."""

import errno
import os
from pathlib import Path

import pytest

from vgen.errors import InputError
from vgen.files import check_file, check_parent, replacing


def test_the_name_changes_hands_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as partial:
        partial.write_text("new")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_systems_refusal_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"cannot write '.*a\.txt': No space left on device"),
        replacing(tmp_path / "a.txt"),
    ):
        raise OSError(28, os.strerror(28))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "/", "a\0b", "missing/a.txt", "n" * 300, "n" * 240 + ".txt"])
def test_a_place_that_takes_no_file_is_refused_and_left_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="cannot write '"):
        check_parent(tmp_path / name if name.strip("./") else Path(name))
    assert [*tmp_path.rglob("*")] == [tmp_path / "a"]


def test_a_folder_closed_to_us_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", closed)  # the tests may run as root, who may write anywhere
    with pytest.raises(InputError, match=r"cannot write '.*a\.txt': Permission denied"):
        check_file(tmp_path / "a.txt")
