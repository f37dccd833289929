"""Digests of weights: remembered while the file is the same, and only then."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from vgen.models import digests
from vgen.models.digests import file_digest


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "LARGE_BYTES", 8)
    monkeypatch.setattr(digests, "SETTLED_NS", 0)
    return tmp_path / "cache" / "vgen" / "digests.json"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_large_file_is_read_once_while_it_stays_the_same(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, small = tmp_path / "w.safetensors", tmp_path / "config.json"
    weights.write_bytes(b"many weights")
    small.write_bytes(b"{}")
    assert file_digest(weights) == sha256(b"many weights") and file_digest(small) == sha256(b"{}")
    assert list(json.loads(store.read_text())) == [str(weights)]
    monkeypatch.setattr(digests, "sha256_of", None)
    assert file_digest(weights) == sha256(b"many weights")
    (tmp_path / "link").symlink_to(weights)
    assert file_digest(tmp_path / "link") == sha256(b"many weights")


def test_a_change_that_keeps_size_and_time_is_seen(store: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"many weights")
    before = weights.stat()
    file_digest(weights)
    weights.write_bytes(b"many WEIGHTS")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_digest(weights) == sha256(b"many WEIGHTS")
    (tmp_path / "other").write_bytes(b"other weight")
    os.utime(tmp_path / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "other").replace(weights)
    assert file_digest(weights) == sha256(b"other weight")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 3}', "\x00"])
def test_a_damaged_store_is_made_anew(store: Path, tmp_path: Path, content: str) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"many weights")
    store.parent.mkdir(parents=True)
    store.write_text(content.replace("x", str(weights)))
    assert file_digest(weights) == sha256(b"many weights")
    assert json.loads(store.read_text())[str(weights)][-1] == sha256(b"many weights")


def test_without_a_place_to_keep_it_a_digest_is_right(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"many weights")
    assert file_digest(weights) == sha256(b"many weights")


def test_a_file_that_was_just_written_is_not_trusted_yet(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_NS", 60_000_000_000)
    (tmp_path / "w").write_bytes(b"many weights")
    assert file_digest(tmp_path / "w") == sha256(b"many weights") and not store.exists()


def test_the_oldest_are_forgotten(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MOST_KEPT", 2)
    for name in "abc":
        (tmp_path / name).write_bytes(f"weights of {name}".encode())
        file_digest(tmp_path / name)
    assert list(json.loads(store.read_text())) == [str(tmp_path / name) for name in "bc"]
