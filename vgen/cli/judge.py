"""`vgen judge CLIP... | rules | card`: does a clip obey cause and physics, with evidence."""

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgen.cli.formats import Format
from vgen.cli.groups import DefaultGroup
from vgen.cli.judge_calibrate import calibrate
from vgen.cli.progress import say, show

if TYPE_CHECKING:
    from vgen.judge.verdict import Report

__all__ = ["JudgeGroup", "app"]

DEFAULT = "clips"
FOUND = 1  # exit code where a law is broken


class JudgeGroup(DefaultGroup):
    """Its first word is a clip where it is no command."""

    default = DEFAULT
    usage = "CLIP... [OPTIONS]"


app = typer.Typer(
    name="judge",
    cls=JudgeGroup,
    help="Judge clips: do they obey cause and physics, with evidence. Exit code 1 where a law is broken.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Clips = Annotated[list[str], typer.Argument(metavar="CLIP...", help="Videos, or folders of PNG frames.")]
Rules = typer.Option("--rules", metavar="NAME,...", help="Rules or groups alone (vgen judge rules).")
Report_ = typer.Option(
    "--report",
    metavar="DIR",
    help="Write report.html and report.json to this folder; answers to --ask go to DIR.answers.jsonl beside it.",
)
Prompt = typer.Option("--prompt", help="What the clip should show: its order of events is judged too.")
Ask = typer.Option(
    "--ask",
    metavar="JUDGE",
    help="Ask a model that sees about the laws that measurement leaves open: MODEL@https://host/v1, local:DIR or "
    "recorded:FILE. Its answers stand apart: they never change plausibility, coverage or the exit code.",
)
Votes = typer.Option("--votes", min=1, help="How often --ask puts each question, an odd number; 3 by default.")
Fps = typer.Option("--fps", min=0.01, max=1000, help="Of folders whose pictures do not say it.")
OutputFormat = typer.Option("--format", help="json: report.json on stdout, a line per clip.")


@app.command(DEFAULT, hidden=True)
def clips(
    clips: Clips,
    rules: Annotated[str | None, Rules] = None,
    prompt: Annotated[str | None, Prompt] = None,
    report: Annotated[Path | None, Report_] = None,
    ask: Annotated[str | None, Ask] = None,
    votes: Annotated[int | None, Votes] = None,
    fps: Annotated[float | None, Fps] = None,
    output_format: Annotated[Format, OutputFormat] = Format.HUMAN,
) -> None:
    """Judge clips."""
    from vgen.cli.judge_ask import asker_of
    from vgen.judge.judging import examine, select_rules
    from vgen.judge.report.folder import report_folder
    from vgen.video.read import probe

    names = None if rules is None else [name.strip() for name in rules.split(",") if name.strip()]
    select_rules(names)
    for clip in clips:
        probe(clip, fps=fps)  # refused before anything is judged
    reports = []
    with ExitStack() as stack:
        folder = None if report is None else stack.enter_context(report_folder(report, alone=len(clips) == 1))
        asker = asker_of(ask, votes, report)
        for number, clip in enumerate(clips, 1):
            if len(clips) > 1:
                say(f"{number}/{len(clips)}: {clip}")
            examination = examine(clip, fps=fps, rules=names, prompt=prompt)
            if asker is not None:
                examination = asker.asked(examination)
            reports.append(examination.report)
            if folder is not None:
                folder.add(examination)
    _print(reports, output_format)
    if report is not None:
        say(f"report: {report}{os.sep}{'report.html' if len(clips) == 1 else ''}")
        if asker is not None and asker.record is not None and asker.record.exists():
            say(f"answers: {asker.record}; --ask recorded:{asker.record} gives them again")
    if any(verdict.status == "violated" for one in reports for verdict in one.verdicts):
        raise typer.Exit(FOUND)


@app.command("rules")
def rules(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the rules by group: the law, and what the calibration says of each."""
    from vgen.judge.card import load_card
    from vgen.judge.report.text import listing
    from vgen.judge.rules import RULES

    card = load_card()
    if as_json:
        scales = card.as_dict()["rules"]
        rows = [
            {"rule": rule.name, "group": rule.group, "statement": rule.statement, "scale": scales.get(rule.name)}
            for rule in RULES.values()
        ]
        typer.echo(json.dumps(rows))
        return
    typer.echo(listing(tuple(RULES.values()), card))


@app.command("card")
def card(html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as a page instead.")] = None) -> None:
    """Print the calibration card that every report names, as JSON."""
    from vgen.judge.card import load_card

    if html is None:
        typer.echo(json.dumps(load_card().as_dict(), indent=1, sort_keys=True))
        return
    from vgen.files import replacing
    from vgen.judge.calibration.html import card_html

    with replacing(html) as partial:
        partial.write_text(card_html(load_card()), encoding="utf-8")
    typer.echo(str(html))


app.command("calibrate")(calibrate)


def _print(reports: "list[Report]", output_format: Format) -> None:
    from vgen.judge.report.data import as_dict
    from vgen.judge.report.text import summary, table

    if output_format is Format.JSON:
        for one in reports:
            typer.echo(json.dumps(as_dict(one), allow_nan=False))
    elif len(reports) == 1:
        show(summary(reports[0]))
    else:
        show(table(reports))
