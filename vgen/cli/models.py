"""`vgen models`: what can be run."""

import json
from typing import Annotated, Any

import typer

from vgen.cli.formats import Format

__all__ = ["models"]


def models(
    model: Annotated[str | None, typer.Argument(help="By name or folder; the embedded one if left out.")] = None,
    output_format: Annotated[Format, typer.Option("--format", help="Words, or a JSON object.")] = Format.HUMAN,
) -> None:
    """Say what a model is: size on disk, native clip, samplers."""
    from dataclasses import asdict

    from vgen.cli.quiet import quiet

    quiet()
    from vgen.models.load import EMBEDDED, describe

    name = model or EMBEDDED
    folder, card, size_bytes = describe(name)
    row = {"model": name, "folder": str(folder), "mib": round(size_bytes / 2**20, 1), **asdict(card)}
    typer.echo(json.dumps(row) if output_format is Format.JSON else _human(row))


def _human(row: dict[str, Any]) -> str:
    words = "its own vocabulary" if row["closed_vocabulary"] else "open vocabulary"
    takes = {"none": "text", "first_latent": "text, first frame", "channels": "text and first frame"}[row["image"]]
    takes += {"none": "", "optional": ", last frame", "required": " and last frame"}[row["last_image"]]
    return (
        f"{row['model']}  {row['mib']:g} MiB  {row['width']}x{row['height']}, {row['num_frames']} frames "
        f"at {row['fps']} fps\n"
        f"  takes {takes}; {words}; samplers {', '.join(row['samplers'])}; "
        f"{row['num_inference_steps']} steps, guidance {row['guidance_scale']:g}\n  {row['folder']}"
    )
