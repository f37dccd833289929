"""`gallery.html`: the clips of a run with what was found of each; one file, pictures inline, nothing loaded."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from vgen.clip import Clip, spread
from vgen.errors import VgenError
from vgen.evaluate.benchmark import Item
from vgen.evaluate.runner import Outcome
from vgen.evaluate.store import Row
from vgen.evaluate.tables import ARROWS, coverage_line, table_rows
from vgen.files import replacing

__all__ = ["write_gallery"]

SHOWN = 400  # clips; more would make a page that no browser likes
FRAMES = 16
SIDE_PX = 160
LONG = 300  # characters of a measure
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A measure with its name: checks that hold (True), do not, or could not be decided (None); else text."""

    name: str
    checks: tuple[tuple[str, bool | None], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    """A clip with what was found: checks stand on it, the rest below a fold."""

    item: Item
    row: Row
    picture: str
    checks: tuple[_Found, ...]
    rest: tuple[_Found, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """Rows of the table that belong together, without columns that none of them fills; the whole's has no name."""

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_gallery(outcome: Outcome, path: Path) -> Path:
    """Writes the page: those that failed first, then clip by clip.

    Raises:
        InputError: the system refuses.
    """
    from jinja2 import Environment, FileSystemLoader

    rows = sorted(outcome.rows.values(), key=lambda row: row.state == "scored")
    items = {item.id: item for item in outcome.task.asked}
    cards = [_card(items[row.item], row) for row in rows[:SHOWN]]
    parts = [[card for card in cards if (card.row.state == "scored") is scored] for scored in (False, True)]
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True)
    page = environment.get_template("gallery.html.j2").render(
        title=outcome.task.benchmark.title,
        source=outcome.task.source.name,
        judge=outcome.task.jury.name,
        coverage=coverage_line(outcome),
        sections=_sections(outcome),
        whole=outcome.whole,
        remarks=outcome.remarks,
        note=outcome.task.benchmark.note,
        parts=parts,
        hidden=len(rows) - len(cards),
        style=Markup((HERE / "gallery.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
    )
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    return path


def _sections(outcome: Outcome) -> list[_Section]:
    """The table by groups, names without the group's."""
    header, rows = table_rows(outcome)
    pairs = zip(outcome.scores, rows, strict=True)
    return [
        _section(group, header, [[f"{_plain(score.name)} {ARROWS[score.better]}", *row[1:]] for score, row in members])
        for group, members in groupby(pairs, key=lambda pair: pair[0].group)
    ]


def _section(name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> _Section:
    filled = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return _Section(
        name=name, header=[header[place] for place in filled], rows=[[row[place] for place in filled] for row in rows]
    )


def _card(item: Item, row: Row) -> _Card:
    parts = {name: [*_found(name, value)] for name, value in row.measures.items()}
    checked = {name for name, found in parts.items() if all(one.checks for one in found)}
    return _Card(
        item=item,
        row=row,
        picture=_moving(Path(row.clip)) if row.clip else "",
        checks=tuple(_short(one) for name in parts if name in checked for one in parts[name]),
        rest=tuple(one for name in parts if name not in checked for one in parts[name]),
    )


def _found(name: str, value: Any) -> Iterator[_Found]:
    """A measure as its parts: what is nested comes one by one."""
    name = _plain(name)
    if isinstance(value, Mapping) and _are_checks(value):
        yield _Found(name=name, checks=tuple((_plain(check), held) for check, held in value.items()))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _found(f"{name}: {key}", inner)
    else:
        yield _Found(name=name, text=_said(value))


def _are_checks(value: Mapping[str, Any]) -> bool:
    """Whether all of it holds or does not, with at least one decided."""
    kinds = {type(held) for held in value.values()}
    return bool in kinds and kinds <= {bool, type(None)}


def _short(found: _Found) -> _Found:
    """Under the last part of its name, which is what its checks are about."""
    return _Found(name=found.name.rpartition(": ")[2], checks=found.checks)


def _plain(name: str) -> str:
    return str(name).replace("_", " ")


def _said(value: Any) -> str:
    """A value in words; what is long is cut, the whole stands in the scores."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = ", ".join(value) or "none"
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONG else f"{text[: LONG - 3]}..."


def _moving(path: Path) -> str:
    """A small moving picture as a data URL; empty for what is no clip, such as masks."""
    try:
        clip = Clip.read(path)
    except VgenError:
        return ""
    chosen = spread(len(clip.frames), FRAMES)
    _, height, width, _ = clip.frames.shape
    shrink = min(1.0, SIDE_PX / min(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    pictures = [Image.fromarray(np.ascontiguousarray(clip.frames[i])).resize(size) for i in chosen]
    data = io.BytesIO()
    pause_ms = max(20, round(1000 * clip.duration_s / len(pictures)))
    pictures[0].save(data, "WEBP", save_all=True, append_images=pictures[1:], duration=pause_ms, loop=0, quality=75)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"
