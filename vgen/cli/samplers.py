"""`vgen samplers`: the presets, what each is, and which of them a model was trained for."""

import json
from typing import Annotated

import typer

from vgen.cli.formats import Format
from vgen.cli.progress import say
from vgen.errors import InputError, nearest
from vgen.presets import sampler_presets, sampler_titles

__all__ = ["samplers"]


def samplers(
    name: Annotated[str | None, typer.Argument(help="One of them; all if left out.")] = None,
    model: Annotated[str | None, typer.Option(help="Mark those that this model was trained for.")] = None,
    output_format: Annotated[Format, typer.Option("--format", help="Words, or a JSON object.")] = Format.HUMAN,
) -> None:
    """List the samplers, or the options of one."""
    from vgen.models.folder import EMBEDDED, describe

    presets, titles = sampler_presets(), sampler_titles()
    if name is not None and name not in presets:
        raise InputError(f"unknown sampler '{name}'; {nearest(name, presets)}")
    _, card, _ = describe(model or EMBEDDED)
    rows = {
        preset: {
            "title": titles[preset],
            "able": values["sampler.needs"] in card.samplers,
            "needs": values["sampler.needs"],
            "options": {key.removeprefix("sampler."): value for key, value in values.items() if key != "sampler.needs"},
        }
        for preset, values in sorted(presets.items())
        if name in (None, preset)
    }
    if output_format is Format.JSON:
        typer.echo(json.dumps(rows))
        return
    for preset, row in rows.items():
        mark = " " if row["able"] else "*"
        typer.echo(f"{mark} {preset:<18} {row['title']}")
        if name is not None:
            typer.echo("\n".join(f"    sampler.{key}={value}" for key, value in row["options"].items()))
    if not all(row["able"] for row in rows.values()):
        say(f"* model '{card.name}' was not trained for it; --force-sampler runs it all the same")
