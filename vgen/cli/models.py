"""`vgen models`: what can be run, and whether it fits this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vgen.cli.download import Download, ready
from vgen.cli.formats import Format
from vgen.cli.progress import say, show

if TYPE_CHECKING:
    from vgen.models.card import ModelCard
    from vgen.models.hub import CachedModel

__all__ = ["models"]

MIB = 1 << 20


def models(
    model: Annotated[
        str | None, typer.Argument(help="A name, folder or hub id, [:VARIANT]; all that are here if left out.")
    ] = None,
    download: Annotated[bool | None, Download] = None,
    output_format: Annotated[Format, typer.Option("--format", help="Words, or JSON.")] = Format.HUMAN,
) -> None:
    """List the models that are here: the embedded one, and those in the hub's cache; or say what one is."""
    from vgen.cli.quiet import quiet

    quiet()
    if model is None:
        _list(output_format)
        return
    from vgen.models.folder import describe
    from vgen.models.hub import commit_of
    from vgen.models.variant import variants_of

    ready(model, download)
    folder, card, size_bytes = describe(model)
    commit = commit_of(model, folder)
    row = {
        "model": model,
        "commit": commit,
        "folder": str(folder),
        "mib": round(size_bytes / MIB, 1),
        "variants": variants_of(folder),
        **asdict(card),
    }
    show(json.dumps(row) if output_format is Format.JSON else _human(row))


def _list(output_format: Format) -> None:
    from vgen.models.folder import EMBEDDED, embedded_folder
    from vgen.models.hub import list_cached

    cached, others, unreadable = list_cached()
    ours = embedded_folder()
    size_bytes = sum(path.stat().st_size for path in ours.rglob("*") if path.is_file())
    rows = [_row(EMBEDDED, ours, None, size_bytes), *(_row_of(one) for one in cached)]
    if output_format is Format.JSON:
        typer.echo(json.dumps(rows))
    else:
        for row in rows:
            show(_line(row))
        say(
            f"fits: weights of text encoder, transformer and VAE against free memory, on {_basis()}; frames come on top"
        )
    if others:
        say(f"left out: {others} cached models without a model_index.json, which are not in diffusers format")
    for warning in unreadable:
        say(f"the hub's cache: {' '.join(warning.split()):.200}")


def _row_of(one: "CachedModel") -> dict[str, Any]:
    name, snapshot = str(one.id), one.snapshot
    if snapshot.missing:
        problem = f"incomplete, missing {', '.join(snapshot.missing)}; complete it with: vgen models {name} --download"
        return {"model": name, "commit": snapshot.commit, "mib": _mib(one.size_bytes), "problem": problem}
    return _row(name, snapshot.folder, snapshot.commit, one.size_bytes)


def _row(name: str, where: Path, commit: str | None, size_bytes: int) -> dict[str, Any]:
    """What stands in a list of one model; with `problem`, where it cannot be run."""
    from vgen.errors import ModelError
    from vgen.models.components import weigh
    from vgen.models.variant import variants_of
    from vgen.plan import free_mib

    row: dict[str, Any] = {"model": name, "commit": commit, "mib": _mib(size_bytes), "problem": None}
    device, dtype = _where()
    try:
        card, needed = weigh(str(where), device=device, dtype=dtype)
    except ModelError as error:
        return row | {"problem": str(error)}
    free = free_mib(device)
    return row | {
        "folder": str(where),
        "variants": variants_of(where),
        "tasks": _tasks(card),
        "height": card.height,
        "width": card.width,
        "num_frames": card.num_frames,
        "fps": card.fps,
        "weights_mib": round(needed, 1),
        "free_mib": round(free, 1),
        "fits": needed <= free,
        "basis": _basis(),
    }


def _tasks(card: "ModelCard") -> list[str]:
    tasks = [] if card.image == "channels" else ["text-to-video"]
    tasks += [] if card.image == "none" or card.last_image == "required" else ["image-to-video"]
    return tasks + ([] if card.last_image == "none" else ["first-last-frame-to-video"])


def _where() -> Any:
    """Device and dtype of a run that names neither."""
    from vgen.machine import pick_device, pick_dtype

    device = pick_device("auto")
    return device, pick_dtype("auto", device)


def _basis() -> str:
    device, dtype = _where()
    return f"{device} in {str(dtype).removeprefix('torch.')}"


def _mib(size_bytes: int) -> float:
    return round(size_bytes / MIB, 1)


def _line(row: dict[str, Any]) -> str:
    at = "" if row["commit"] is None else f" ({row['commit'][:12]})"
    if row["problem"] is not None:
        return f"{row['model']}{at}  {row['mib']:,g} MiB  cannot run: {row['problem']}"
    fits = "fits" if row["fits"] else "does not fit"
    return (
        f"{row['model']}{at}  {row['mib']:,g} MiB  {', '.join(row['tasks'])}  {row['width']}x{row['height']}, "
        f"{row['num_frames']} frames at {row['fps']} fps  {fits}: weights take {row['weights_mib']:,.0f} MiB, "
        f"{row['free_mib']:,.0f} MiB are free{_variants(row)}"
    )


def _variants(row: dict[str, Any]) -> str:
    """Which there are, as --model takes them."""
    base = row["model"]
    return f"; variants: {', '.join(f'{base}:{name}' for name in row['variants'])}" if row["variants"] else ""


def _human(row: dict[str, Any]) -> str:
    words = "its own vocabulary" if row["closed_vocabulary"] else "open vocabulary"
    takes = {"none": "text", "first_latent": "text, first frame", "channels": "text and first frame"}[row["image"]]
    takes += {"none": "", "optional": ", last frame", "required": " and last frame"}[row["last_image"]]
    at = "" if row["commit"] is None else f"commit {row['commit']}, "
    from vgen.models.variant import split_variant

    of_model = row | {"model": split_variant(row["model"])[0]}
    return (
        f"{row['model']}  {row['mib']:g} MiB  {row['width']}x{row['height']}, {row['num_frames']} frames "
        f"at {row['fps']} fps\n"
        f"  takes {takes}; {words}; samplers {', '.join(row['samplers'])}; "
        f"{row['num_inference_steps']} steps, guidance {row['guidance_scale']:g}{_variants(of_model)}\n"
        f"  {at}{row['folder']}"
    )
