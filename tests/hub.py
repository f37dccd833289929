"""A hub of models in this process, over HTTP and in the shapes of the real one's answers, and a cache written by hand.

Small files are served with their git digest as ETag; safetensors as large ones, by a redirect to another host that
names their sha256.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import close_session, constants

NO_PROXY = "127.0.0.1,localhost"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


@dataclass
class Repo:
    """One repository: its files by name, and what is special about it."""

    files: dict[str, bytes]
    refs: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    config: dict[str, Any] = field(default_factory=lambda: {"diffusers": {"_class_name": "WanPipeline"}})
    gated: bool = False


class FakeHub(ThreadingHTTPServer):
    """Serves `repos`; every request is kept in `seen`, as "GET /path".

    Args of a test's making:
        broken: digests of large files whose transfer breaks off after so many bytes, once.
        failing: digests of large files that the server has trouble with, once.
        slow: digests of large files that come in a trickle, for ten seconds.
    """

    daemon_threads = True

    def __init__(self, repos: dict[str, Repo]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = repos
        self.seen: list[str] = []
        self.broken: dict[str, int] = {}
        self.failing: set[str] = set()
        self.slow: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> list[str]:
        """Bodies of files that were asked for."""
        return [line for line in self.seen if line.startswith("GET ") and "/api/" not in line]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.seen.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        if parts[0] == "cdn":
            self._large(parts[1])
            return
        where = 2 if parts[0] == "api" else 0
        repo = self.server.repos.get("/".join(parts[where : where + 2]))
        if repo is None:
            self._refuse(401, "RepoNotFound")
        elif parts[0] == "api":
            self._api("/".join(parts[2:4]), repo, parts[4:])
        else:
            self._resolve(repo, parts[3], "/".join(parts[4:]))

    def _api(self, name: str, repo: Repo, rest: list[str]) -> None:
        if rest[:1] == ["auth-check"]:
            self._refuse(403, "GatedRepo") if repo.gated else self._json({})
        elif rest[:1] == ["refs"]:
            refs = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": at} for ref, at in repo.refs.items()]
            self._json({"branches": refs, "tags": [], "converts": []})
        elif (commit := self._commit(repo, "/".join(rest[1:]) or "main")) is None:
            self._refuse(404, "RevisionNotFound")
        elif rest[:1] == ["tree"]:
            self._json([_entry(path, body) for path, body in repo.files.items()])
        else:
            self._json(_info(name, repo, commit))

    def _resolve(self, repo: Repo, revision: str, name: str) -> None:
        commit = self._commit(repo, revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound")
        elif name not in repo.files:
            self._refuse(404, "EntryNotFound", commit)
        elif repo.gated:
            self._refuse(401, "GatedRepo", commit)
        elif is_large(name):
            body = repo.files[name]
            self.send_response(302)
            for key, value in {
                "Location": f"http://localhost:{self.server.server_port}/cdn/{sha256(body)}",
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{sha256(body)}"',
                "X-Linked-Size": str(len(body)),
                "Content-Length": "0",
            }.items():
                self.send_header(key, value)
            self.end_headers()
        else:
            self._body(repo.files[name], {"X-Repo-Commit": commit, "ETag": f'"{git_digest(repo.files[name])}"'})

    def _large(self, digest: str) -> None:
        bodies = {sha256(body): body for repo in self.server.repos.values() for body in repo.files.values()}
        if digest in self.server.failing:
            self.server.failing.remove(digest)
            self._refuse(500, "")
            return
        if digest in self.server.slow:
            self._trickle(bodies[digest])
            return
        self._body(bodies[digest], {"ETag": f'"{digest}"'}, self.server.broken.pop(digest, None))

    def _trickle(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.close_connection = True
        for part in range(200):
            try:
                self.wfile.write(body[part * len(body) // 200 : (part + 1) * len(body) // 200])
            except OSError:  # the other side has left
                return
            time.sleep(0.05)

    def _body(self, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.server.seen.append(f"from {start}") if wanted else None
        self.send_response(206 if wanted else 200)
        if wanted:
            headers = headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        for key, value in (headers | {"Content-Length": str(len(body) - start), "Accept-Ranges": "bytes"}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[start:cut])
            self.close_connection = cut is not None

    def _json(self, content: object) -> None:
        self._body(json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, commit: str = "") -> None:
        self.send_response(status)
        for key, value in {"X-Error-Code": code, "X-Repo-Commit": commit, "Content-Length": "0"}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()

    @staticmethod
    def _commit(repo: Repo, revision: str) -> str | None:
        return revision if revision in repo.refs.values() else repo.refs.get(revision)


@contextmanager
def serving(repos: dict[str, Repo]) -> Iterator[FakeHub]:
    """A hub of these repositories, until the block ends."""
    with FakeHub(repos) as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


@contextmanager
def online(repos: dict[str, Repo], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """This process asks such a hub, without a login."""
    with serving(repos) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", NO_PROXY)
        close_session()
        yield hub
        close_session()


def files_of(folder: Path) -> dict[str, bytes]:
    """A folder's files by their names in a repository."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_cache(
    cache: Path, repo: str, files: dict[str, bytes], *, ref: str | None = "main", commit: str = COMMIT
) -> Path:
    """A snapshot in the layout of huggingface_hub: blobs by digest, links to them, and a reference to the commit."""
    storage = cache / f"models--{repo.replace('/', '--')}"
    for name, body in files.items():
        blob = storage / "blobs" / (sha256(body) if is_large(name) else git_digest(body))
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(body)
        link = storage / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    if ref is not None:
        (storage / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (storage / "refs" / ref).write_text(commit)
    return storage / "snapshots" / commit


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".pth"))


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def git_digest(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def _entry(path: str, body: bytes) -> dict[str, Any]:
    """A row of the tree."""
    large = {"oid": sha256(body), "size": len(body), "pointerSize": 134}
    entry = {"type": "file", "oid": git_digest(body), "size": len(body), "path": path}
    return entry | {"lfs": large} if is_large(path) else entry


def _info(name: str, repo: Repo, commit: str) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = []
    for path, body in repo.files.items():
        siblings.append({"rfilename": path, "size": len(body), "blobId": git_digest(body)})
        if is_large(path):
            siblings[-1]["lfs"] = {"sha256": sha256(body), "size": len(body), "pointerSize": 134}
    return {
        "_id": "0" * 24,
        "id": name,
        "modelId": name,
        "author": name.partition("/")[0],
        "sha": commit,
        "lastModified": "2025-03-01T10:00:00.000Z",
        "createdAt": "2025-03-01T10:00:00.000Z",
        "private": False,
        "gated": "auto" if repo.gated else False,
        "disabled": False,
        "downloads": 1,
        "likes": 1,
        "library_name": "diffusers",
        "pipeline_tag": "text-to-video",
        "tags": ["diffusers", "safetensors", "license:apache-2.0"],
        "cardData": {"license": "apache-2.0"},
        "config": repo.config,
        "siblings": siblings,
        "spaces": [],
        "usedStorage": sum(map(len, repo.files.values())),
    }
