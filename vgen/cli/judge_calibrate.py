"""`vgen judge calibrate`: how far the judge can be trusted."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vgen.cli.formats import Format

__all__ = ["calibrate"]

Quick = typer.Option("--quick/--full", help="A few clips for a look, or all.")
Out = typer.Option("--out", metavar="FILE", help="Write the card; it ships as vgen/judge/card.json.")
Html = typer.Option("--html", metavar="FILE", help="Write the card as a page.")
Jobs = typer.Option("--jobs", min=1, help="Processes.")
Resume = typer.Option("--resume", help="Go on from what the work folder holds.")
Tune = typer.Option("--tune", help="The calibration split alone, for work on rules; makes no card.")
Note = typer.Option("--note", metavar="TEXT", help="What a reader of the card must know of the run.")
Work = typer.Option("--work", metavar="DIR", help="Folder for what is measured.")


def calibrate(
    quick: Annotated[bool, Quick] = False,
    out: Annotated[Path | None, Out] = None,
    html: Annotated[Path | None, Html] = None,
    jobs: Annotated[int, Jobs] = 2,
    resume: Annotated[bool, Resume] = False,
    tune: Annotated[bool, Tune] = False,
    note: Annotated[str | None, Note] = None,
    work: Annotated[Path, Work] = Path(".cache/calibration"),
    output_format: Annotated[Format, typer.Option("--format", help="json: all figures on stdout.")] = Format.HUMAN,
) -> None:
    """Measure every rule on clips whose truth is known, fit its scale, and test it on clips of other families."""
    from vgen.cli.quiet import quiet as hush

    hush()
    from vgen.bench.cold import machine
    from vgen.bench.stamp import commit
    from vgen.cli.progress import say, watched
    from vgen.errors import ConfigError
    from vgen.files import check_file, replacing
    from vgen.judge.calibration.calibrate import calibrated, gathered, measured, tuned
    from vgen.judge.calibration.html import card_html
    from vgen.judge.card import write_card
    from vgen.judge.judging import versions
    from vgen.playground.twins.families import SPLITS

    if tune and (out or html or note):
        raise ConfigError("--tune makes no card, since its figures are of clips that rules are tuned on")
    for path in filter(None, (out, html)):
        check_file(path)
    size = "quick" if quick else "full"
    tables = {}
    for split in SPLITS[:1] if tune else SPLITS:
        say(f"{split} split")
        steps = measured(split, size, jobs=jobs, store=work / f"{split}-{size}.jsonl", resume=resume)
        tables[split] = gathered((step.outcome for step in watched(steps)), split, size)
    if tune:
        _print(tuned(tables["calibration"]), output_format)
        return
    stamp = {"commit": commit(), "machine": machine(), "versions": versions()} | ({"note": note} if note else {})
    card = calibrated(tables["calibration"], tables["test"], size=size, stamp=stamp)
    if out is not None:
        write_card(card, out)
    if html is not None:
        with replacing(html) as partial:
            partial.write_text(card_html(card), encoding="utf-8")
    _print(card.as_dict(), output_format)


def _print(told: dict[str, Any], output_format: Format) -> None:
    if output_format is Format.JSON:
        typer.echo(json.dumps(told))
        return
    names = ("pairwise_accuracy", "deciding", "found", "false_alarms", "hardest")
    typer.echo(f"{'rule':22}" + "".join(f"{name:>18}" for name in names))
    for rule, entry in told["rules"].items():
        typer.echo(f"{rule:22}" + "".join(f"{_said(entry['figures'].get(name)):>18}" for name in names))
    for rule, entry in told.get("uncalibrated", told.get("details", {}).get("uncalibrated", {})).items():
        typer.echo(f"{rule:22}  not calibrated: {entry['reason']}")
    for name, figure in told["figures"].items():
        typer.echo(f"{name:22}{_said(figure):>18}")


def _said(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    return f"{figure['value']:.3f} ({figure['count']})"
