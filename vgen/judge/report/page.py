"""`report.html`: one file that shows a report to a person; pictures inline, nothing loaded from anywhere.

`page.html.j2` lays it out, `page.css` dresses it, `pictures` and `plots` draw. Text is escaped by the template engine.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from vgen.judge.asked import by_outcome
from vgen.judge.card import Card, load_card
from vgen.judge.judging import Examination
from vgen.judge.observation import EVENTS, Observation
from vgen.judge.report.pictures import crop_of, frame_store, overlay
from vgen.judge.report.plots import EVENT_MARKS, paths, timeline, trajectory
from vgen.judge.report.text import OUTCOMES, answers, headline, span
from vgen.judge.rule import GROUPS, Measurement
from vgen.judge.rules import RULES
from vgen.judge.verdict import Report, Verdict

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["to_html"]

HERE = Path(__file__).parent
STILLS = 5  # per piece of evidence
PIECES = 3  # of evidence shown in pictures per rule; the table has all
PICTURED = 12  # rules with pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Still:
    frame: int
    marked: bool
    drawing: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    measurement: Measurement
    when: str
    stills: tuple[_Still, ...]
    plots: tuple[Markup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Breach:
    verdict: Verdict
    statement: str
    pieces: tuple[_Piece, ...]
    more: int


def to_html(examination: Examination, *, card: Card | None = None) -> str:
    """The text of `report.html`; `card` is the calibration behind the report, the one that ships where None."""
    card = load_card() if card is None else card
    report, seen, frames = examination.report, examination.observation, examination.clip.frames
    assert report.calibration == card.digest, "the report was made by another card"
    violated = sorted((v for v in report.verdicts if v.status == "violated"), key=lambda v: -(v.violation or 0))
    breaches = [_breach(seen, verdict) for verdict in violated[:PICTURED]]
    whole = len(frames) // 2
    shown = [whole, *(still.frame for breach in breaches for piece in breach.pieces for still in piece.stills)]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            seen=seen,
            card=card,
            headline=headline(report),
            style=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704 (a file of ours)
            store=frame_store(frames, shown),
            breaches=breaches,
            timeline=timeline(seen, [m.frames for v in violated for m in v.evidence[:1]]) if seen.tracks else None,
            paths=paths(seen),
            whole=whole,
            marks={kind: EVENT_MARKS[kind] for kind in EVENTS if any(event.kind == kind for event in seen.events)},
            groups=_by_group(report),
            asked=by_outcome(report.asked),
            outcomes=OUTCOMES,
            answers=answers,
            rules=RULES,
            span=span,
            sentence=_sentence,
        )
    )


def _breach(seen: Observation, verdict: Verdict) -> _Breach:
    shown = [m for m in verdict.evidence if m.strength >= verdict.evidence[0].strength / 2][:PIECES]
    return _Breach(
        verdict=verdict,
        statement=RULES[verdict.rule].statement if verdict.rule in RULES else "",
        pieces=tuple(_piece(seen, measurement) for measurement in shown),
        more=len(verdict.evidence) - len(shown),
    )


def _piece(seen: Observation, measurement: Measurement) -> _Piece:
    first, last = measurement.frames
    objects = measurement.objects
    shown = _shown(seen, first, last)
    crop = crop_of(seen, shown, objects)
    stills = tuple(
        _Still(
            frame=frame,
            marked=first <= frame <= last,
            drawing=overlay(seen, frame, objects, crop, marked=first <= frame <= last),
        )
        for frame in shown
    )
    plots = [trajectory(seen, seen.tracks[number], (first, last), axis) for number in objects[:2] for axis in (0, 1)]
    return _Piece(
        measurement=measurement, when=span(measurement), stills=stills, plots=tuple(plot for plot in plots if plot)
    )


def _shown(seen: Observation, first: int, last: int) -> list[int]:
    """A few frames from just before to just after; neighbours of a short breach fill them up."""
    begin, end = max(0, first - 1), min(seen.num_frames, last + 2)
    while end - begin < min(STILLS, seen.num_frames):
        end = min(seen.num_frames, end + 1)
        begin = max(0, begin - (end - begin < STILLS))
    return sorted({round(frame) for frame in np.linspace(begin, end - 1, STILLS)})


def _by_group(report: Report) -> dict[str, list[Verdict]]:
    rows = {group: [v for v in report.verdicts if v.group == group] for group in GROUPS}
    return {group: verdicts for group, verdicts in rows.items() if verdicts}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].removesuffix(".") + "."


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
