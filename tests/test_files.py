"""Atomic replacing of single files."""

import os
from pathlib import Path

import pytest

from vgen.errors import InputError
from vgen.files import check_parent, replacing


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


def test_a_folder_closed_to_us_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(InputError, match="no permission to write"):
        check_parent(tmp_path / "a.txt")
