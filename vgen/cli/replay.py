"""`vgen replay`: makes a clip again from its record, and checks that it is the same."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vgen.config import merge
from vgen.errors import ConfigError, InputError, ModelError

__all__ = ["replay"]

TOLERANCE = 2  # of 255: what may differ between machines


def replay(
    record: Annotated[Path, typer.Argument(help="A clip's .json, or the .mp4 or .mkv itself.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the recorded frames; exit 1 if they differ.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="The model's folder, where it is not the embedded one.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the new clip goes.")] = None,
) -> None:
    """Run a recorded generation again. The record is read as data: no path and no class name is taken from it."""
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.cli.generate import write_run
    from vgen.cli.progress import say
    from vgen.clip import default_output
    from vgen.models.load import EMBEDDED
    from vgen.pipeline import VideoPipeline
    from vgen.records import read_record

    past = read_record(record)
    resolved, digests, sha256 = _checked(past, record)
    device, dtype = str(resolved.pop("run.device")), str(resolved.pop("run.dtype"))
    config, said = merge((f"record {record}", resolved))
    if model is None and past["model"].get("id") != EMBEDDED:
        raise ModelError(f"{record}: made with model '{past['model'].get('id')}'; name its folder with --model")
    pipeline = VideoPipeline.from_pretrained(model or EMBEDDED, device=device, dtype=dtype)
    if pipeline.model.digests() != digests:
        raise ModelError(f"{record}: made with other weights than those of model '{pipeline.model.id}'")
    run = pipeline.start(config, said, _image(past, record))
    path = output or default_output(run.job.prompt, run.job.seed)
    new = write_run(run, path, sheet=False)
    typer.echo(str(path))
    if verify:
        same = new["frames"]["sha256"] == sha256
        say("verified: the frames are equal bit for bit" if same else _difference(record, path))
        raise typer.Exit(0 if same or _close(record, path) else 1)


def _checked(past: dict[str, Any], record: Path) -> tuple[dict[str, Any], dict[str, str], str]:
    """The parts of a record that are used, each of the type it must have."""
    try:
        resolved, digests, sha256 = dict(past["resolved"]), dict(past["model"]["digests"]), past["frames"]["sha256"]
        resolved["run.device"], resolved["run.dtype"]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{record}: not a record of vgen: {type(error).__name__} {error}") from error
    if past.get("schema") != 1:
        raise ConfigError(f"{record}: record schema {past.get('schema')!r}; this vgen reads 1")
    return resolved, digests, str(sha256)


def _image(past: dict[str, Any], record: Path) -> Any:
    """The conditioning image beside the record, if its digest is the recorded one."""
    if past.get("image") is None:
        return None
    from vgen.frames import FramesDigest
    from vgen.images import load_image

    path = record.with_suffix(".image.png")
    pixels_YX3 = load_image(path).pixels_YX3
    digest = FramesDigest(height=pixels_YX3.shape[0], width=pixels_YX3.shape[1])
    digest.update(pixels_YX3[None])
    if digest.hexdigest() != past["image"].get("sha256"):
        raise InputError(f"{path}: not the image that the clip was made from")
    return pixels_YX3


def _lossless(record: Path) -> Path | None:
    """A lossless copy of the recorded frames beside the record."""
    return next((p for p in (record.with_suffix(".mkv"), record.with_suffix("")) if p.exists()), None)


def _largest(record: Path, path: Path) -> int | None:
    import numpy as np

    from vgen.clip import Clip

    old = _lossless(record)
    if old is None or path.suffix not in (".mkv", ""):
        return None
    before, after = Clip.read(old).frames, Clip.read(path).frames
    if before.shape != after.shape:
        return 255
    return int(np.abs(before.astype(np.int16) - after.astype(np.int16)).max())


def _difference(record: Path, path: Path) -> str:
    largest = _largest(record, path)
    if largest is None:
        return "not equal bit for bit; for the largest difference keep lossless clips (-o clip.mkv) on both sides"
    return f"not equal bit for bit; largest difference {largest} of 255 ({TOLERANCE} passes)"


def _close(record: Path, path: Path) -> bool:
    largest = _largest(record, path)
    return largest is not None and largest <= TOLERANCE
