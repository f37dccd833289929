"""Records are untrusted when read: plain JSON, bounded, finite."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.moving import moving_frames
from vgen.clip import Clip
from vgen.errors import InputError
from vgen.records import (
    MAX_COMMENT_BYTES,
    MAX_RECORD_BYTES,
    check_record,
    comment_of,
    read_record,
    record_path,
    write_record,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, derandomize=True)
@given(record=st.dictionaries(st.text(), JSON, max_size=3))
def test_records_come_back(tmp_path_factory: pytest.TempPathFactory, record: dict[str, object]) -> None:
    path = tmp_path_factory.mktemp("record") / "clip.mp4"
    assert write_record(path, record) == record_path(path) == path.with_suffix(".json")
    assert read_record(record_path(path)) == record


@settings(max_examples=10, deadline=None, derandomize=True)
@given(text=st.text(alphabet=st.sampled_from("a=;#\\\n\r\"'$(){}[] -\0\x1b球é"), min_size=1))
def test_records_come_back_from_video(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("video")
    for name in ("clip.mp4", "clip.mkv"):
        clip = Clip(frames=moving_frames(2), fps=12, record={text: text})
        path = clip.save(folder / name)
        record_path(path).unlink()
        assert read_record(path) == clip.record


@pytest.mark.parametrize("name", ["clip.gif", "clip"])
def test_kinds_without_a_comment_have_the_file_beside(tmp_path: Path, name: str) -> None:
    clip = Clip(frames=moving_frames(), fps=12, record={"seed": 3})
    assert read_record(clip.save(tmp_path / name)) == clip.record


def test_a_text_that_is_no_unicode_comes_back(tmp_path: Path) -> None:
    """A shell hands over bytes that are not UTF-8 as lone surrogates."""
    record = {"prompt": "ball \udcff"}
    assert read_record(write_record(tmp_path / "clip.mp4", record)) == record


def test_a_long_record_stays_beside_the_video(tmp_path: Path) -> None:
    clip = Clip(frames=moving_frames(), fps=12, record={"prompt": "ball " * MAX_COMMENT_BYTES})
    assert len(comment_of(clip.record)) < 200
    path = clip.save(tmp_path / "clip.mp4")
    assert read_record(path.with_suffix(".json")) == clip.record
    with pytest.raises(InputError, match=r"carries no record: the record has \d+ bytes; it stands in the \.json"):
        read_record(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a record"),
        ("[1, 2]", "expected a JSON object, got list"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": 1e999}', "1e999 is not a finite number"),
        ('{"a": ' + "9" * 5000 + "}", "is not a record"),
        ("[" * 100_000, "is not a record"),
        ('{"a": "' + "x" * MAX_RECORD_BYTES + '"}', "is larger than"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "clip.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_record(tmp_path / "clip.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": "left-pad"}', '["schema"]'])
def test_a_json_that_is_no_record_is_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "package.json").write_text(text)
    with pytest.raises(InputError, match=r"package\.json': it exists and is no record"):
        check_record(tmp_path / "package.mp4")


def test_a_record_may_be_replaced_and_a_folder_may_not(tmp_path: Path) -> None:
    check_record(tmp_path / "clip.mp4")
    write_record(tmp_path / "clip.mp4", {"schema": 1})
    check_record(tmp_path / "clip.mp4")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match="a folder of that name exists"):
        check_record(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["", "."])
def test_no_name_is_no_record(name: str) -> None:
    with pytest.raises(InputError, match="no name of a clip or record"):
        read_record(name)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read '.*clip\.json': No such file"):
        read_record(tmp_path / "clip.json")
