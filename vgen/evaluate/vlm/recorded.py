"""Answers of a judge kept on the disk, and given again to the same question without asking.

One JSON object a line, with model, question, labels, vote and the raw reply. Pictures stand as digests of their pixels.
The key of a line is the digest of what was asked, so that a line that was changed is found.
"""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vgen.errors import InputError
from vgen.evaluate.benchmark import ItemError
from vgen.evaluate.jury import Chat, Part, Reply
from vgen.files import os_errors
from vgen.frames import digest_of

__all__ = ["Recorded", "Replay", "judges_of", "open_recorded"]

MAX_RECORD_BYTES = 1 << 30
MAX_LINE_BYTES = 16 << 20

Asked = dict[str, Any]


class Recorded:
    """A chat that writes down what it says.

    Args:
        path: the record; made where there is none.
        chat: whom to ask what the record does not hold.

    Raises:
        InputError: the file cannot be read or written, or is no record.
    """

    def __init__(self, path: Path, chat: Chat) -> None:
        self._path, self._chat = path, chat
        self._lock = threading.Lock()
        with os_errors("write", path):
            path.touch()
        lines, whole_bytes = _read(path)
        self._replies = {key: line.reply for key, line in lines.items()}
        with os_errors("write", path), path.open("r+b") as file:
            file.truncate(whole_bytes)  # a run that was killed may leave half a line

    @property
    def name(self) -> str:
        return self._chat.name

    def complete(self, parts: Sequence[Part], *, labels: tuple[str, ...] = (), vote: int = 0) -> Reply:
        """The answer on record, else one that is then on it."""
        asked = _asked(self.name, parts, labels, vote)
        key = _key(asked)
        with self._lock:
            known = self._replies.get(key)
        if known is not None:
            return known
        reply = self._chat.complete(parts, labels=labels, vote=vote)
        line = json.dumps({"key": key, **asked, "reply": asdict(reply)}, ensure_ascii=True, allow_nan=False)
        with self._lock, os_errors("write", self._path), self._path.open("a", encoding="ascii") as file:
            file.write(f"{line}\n")
            self._replies[key] = reply
        return reply

    def tokens(self, parts: Sequence[Part]) -> int:
        """As the chat estimates it, on record or not."""
        return self._chat.tokens(parts)


class Replay:
    """A record alone: it answers what it holds and nothing else. Made by `open_recorded`."""

    def __init__(self, path: Path, name: str, replies: Mapping[str, Reply]) -> None:
        self._path, self._replies = path, replies
        self.name = name

    def complete(self, parts: Sequence[Part], *, labels: tuple[str, ...] = (), vote: int = 0) -> Reply:
        """The answer on record.

        Raises:
            ItemError: this was never asked.
        """
        reply = self._replies.get(_key(_asked(self.name, parts, labels, vote)))
        if reply is None:
            raise ItemError(f"the record '{self._path}' holds no answer of {self.name} to this question (vote {vote})")
        return reply

    def tokens(self, parts: Sequence[Part]) -> int:
        """Nothing is asked."""
        return 0


def judges_of(path: Path) -> list[str]:
    """Whose answers a record holds; nobody's where there is none.

    Raises:
        InputError: it cannot be read, or is no record.
    """
    with os_errors("read", path):
        if not path.exists():
            return []
    return _judges(_read(path)[0])


def open_recorded(path: Path) -> Replay:
    """A record to replay.

    Raises:
        InputError: it cannot be read, is no record, is empty, or holds answers of several judges.
    """
    lines, _ = _read(path)
    names = _judges(lines)
    if len(names) != 1:
        held = f"answers of several judges: {', '.join(names)}" if names else "no answers"
        raise InputError(f"the record '{path}' holds {held}; one to replay holds those of one judge")
    return Replay(path, names[0], {key: line.reply for key, line in lines.items()})


def _judges(lines: "Mapping[str, _Line]") -> list[str]:
    return sorted({line.model for line in lines.values()})


@dataclass(frozen=True, slots=True)
class _Line:
    model: str
    reply: Reply


def _asked(name: str, parts: Sequence[Part], labels: tuple[str, ...], vote: int) -> Asked:
    shown = [
        part if isinstance(part, str) else {"sha256": digest_of(part.pixels_YX3[None]), "caption": part.caption}
        for part in parts
    ]
    return {"model": name, "parts": shown, "labels": list(labels), "vote": vote}


def _key(asked: Asked) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, _Line], int]:
    """Lines by key, the first of equal ones, and how many bytes of the file are whole lines."""
    lines: dict[str, _Line] = {}
    whole_bytes = 0
    with os_errors("read", path), path.open("rb") as file:
        if (size := path.stat().st_size) > MAX_RECORD_BYTES:
            raise InputError(f"the record '{path}' has {size} bytes; at most {MAX_RECORD_BYTES} are read")
        while line := file.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                break  # the end of a run that was killed
            key, parsed = _parsed(line, f"'{path}' at byte {whole_bytes}")
            lines.setdefault(key, parsed)
            whole_bytes += len(line)
    return lines, whole_bytes


def _parsed(line: bytes, where: str) -> tuple[str, _Line]:
    try:
        content = json.loads(line)
        asked = {field: content[field] for field in ("model", "parts", "labels", "vote")}
        key, parsed = content["key"], _Line(content["model"], _reply(content["reply"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} stands no recorded answer") from error
    if key != _key(asked):
        raise InputError(f"{where}: the key is not that of the question; the record was changed")
    return key, parsed


def _reply(stored: Mapping[str, Any]) -> Reply:
    text, chances = stored["text"], stored["chances"]
    if not isinstance(text, str) or not isinstance(chances, dict | None):
        raise TypeError("a reply is a text, with chances or without")
    if not all(isinstance(chance, int | float) and 0 <= chance <= 1 for chance in (chances or {}).values()):
        raise ValueError("a chance lies in 0..1")
    return Reply(
        text=text,
        chances=chances,
        tokens_in=int(stored["tokens_in"]),
        tokens_out=int(stored["tokens_out"]),
    )
