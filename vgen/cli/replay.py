"""`vgen replay`: makes a clip again from its record, and checks that it is the same."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vgen.config import knob_of, merge
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
    device: Annotated[str | None, typer.Option(help="Other than the recorded one.")] = None,
) -> None:
    """Run a recorded generation again. The record is read as data: no path and no class name is taken from it."""
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.cli.output import check_files, claimed, write_run
    from vgen.cli.progress import say
    from vgen.models.load import EMBEDDED
    from vgen.pipeline import VideoPipeline
    from vgen.records import read_record

    past = read_record(record)
    resolved = _checked(past, record)
    recorded_device, dtype = str(resolved.pop("run.device")), str(resolved.pop("run.dtype"))
    config, said = merge((f"record {record}", resolved))
    if model is None and past["model"].get("id") != EMBEDDED:
        raise ModelError(f"{record}: made with model '{past['model'].get('id')}'; name its folder with --model")
    _set_threads(past["machine"].get("threads"))
    pipeline = VideoPipeline.from_pretrained(model or EMBEDDED, device=device or recorded_device, dtype=dtype)
    if pipeline.model.digests() != past["model"].get("digests"):
        raise ModelError(f"{record}: made with other weights than those of model '{pipeline.model.id}'")
    run = pipeline.start(config, said, _image(past, record))
    if output is not None:
        check_files(output, run.job, sheet=False)
    with claimed(output, run.job) as path:
        new = write_run(run, path, sheet=False)
    typer.echo(str(path))
    if verify:
        passed, verdict = _verdict(past, new, record, path)
        say(verdict)
        raise typer.Exit(0 if passed else 1)


def _checked(past: dict[str, Any], record: Path) -> dict[str, Any]:
    """What the record asks for, once each part of it that is used has the type it must have."""
    from vgen.job import RESOLVED_KEYS
    from vgen.run import RECORD_SCHEMA

    if past.get("schema") != RECORD_SCHEMA:
        raise ConfigError(f"{record}: record schema {past.get('schema')!r}; this vgen reads {RECORD_SCHEMA}")
    for part in ("resolved", "model", "frames", "versions", "machine"):
        if not isinstance(past.get(part), dict):
            raise ConfigError(f"{record}: not a record of a run: its '{part}' is no object")
    if not isinstance(past.get("image"), dict | None):
        raise ConfigError(f"{record}: not a record of a run: its 'image' is no object")
    resolved, needed = dict(past["resolved"]), {"run.device", "run.dtype"}
    possible = RESOLVED_KEYS | needed | {key for key in resolved if knob_of(key) is not None}
    missing, foreign = sorted(needed - {*resolved}), sorted({*resolved} - possible)
    if missing:
        raise ConfigError(f"{record}: not a record of a run: 'resolved' lacks '{missing[0]}'")
    if foreign:
        raise ConfigError(f"{record}: 'resolved' holds '{foreign[0]}', which no run of vgen writes there")
    return resolved


def _set_threads(recorded: object) -> None:
    """As many threads as the record says, since sums are split by them; within what this machine has."""
    import os

    import torch

    if isinstance(recorded, int):
        torch.set_num_threads(max(1, min(recorded, os.cpu_count() or 1)))


def _image(past: dict[str, Any], record: Path) -> Any:
    """The conditioning image beside the record, if its digest is the recorded one."""
    if past.get("image") is None:
        return None
    from vgen.frames import digest_of
    from vgen.images import load_image

    path = record.with_suffix(".image.png")
    pixels_YX3 = load_image(path).pixels_YX3
    if digest_of(pixels_YX3[None]) != past["image"].get("sha256"):
        raise InputError(f"{path}: not the image that the clip was made from")
    return pixels_YX3


def _verdict(past: dict[str, Any], new: dict[str, Any], record: Path, path: Path) -> tuple[bool, str]:
    """Whether the new frames pass for the recorded ones, and a line that says so."""
    sha256 = past["frames"].get("sha256")
    if new["frames"]["sha256"] == sha256:
        return True, "verified: the frames are equal bit for bit"
    changed = [
        f"{name} was {past[part].get(name)!r:.40}, is {value!r}"
        for part in ("versions", "machine")
        for name, value in new[part].items()
        if past[part].get(name) != value
    ]
    cause = "; ".join(changed) or "versions and machine are those of the record"
    largest = _largest(record, path, sha256)
    if largest is None:
        how = f"whether within {TOLERANCE} of 255 shows only between lossless clips (.mkv or PNG frames), old and new"
    else:
        how = f"largest difference {largest} of 255, {TOLERANCE} passes"
    return largest is not None and largest <= TOLERANCE, f"not equal bit for bit ({how}); {cause}"


def _largest(record: Path, path: Path, sha256: object) -> int | None:
    """The largest difference between the recorded clip and the new one, where both are at hand without loss."""
    import numpy as np

    from vgen.clip import Clip

    film, *folders = (record.with_suffix(suffix) for suffix in (".mkv", ".png", ""))
    stored = [film] if film.is_file() else [place for place in folders if (place / "frame_00000.png").is_file()]
    if not stored or path.suffix.lower() not in (".mkv", ".png", ""):
        return None
    before = Clip.read(stored[0])
    if before.sha256() != sha256:  # another clip of that name, such as the new one in its place
        return None
    after_FYX3 = Clip.read(path).frames
    if before.frames.shape != after_FYX3.shape:
        return 255
    return int(np.abs(before.frames.astype(np.int16) - after_FYX3.astype(np.int16)).max())
