"""`vgen replay`: makes a clip again from its record, and checks that it is the same."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vgen.cli.download import Download, ready
from vgen.cli.past import base_of, check_gguf, check_model, checked, draws_of, image_of, loras_of, model_of, set_threads
from vgen.config import merge
from vgen.errors import InputError, ModelError
from vgen.schema import OutputConfig

__all__ = ["replay"]

TOLERANCE = 2  # of 255: what may differ between machines


def replay(
    record: Annotated[Path, typer.Argument(help="A clip's .json, or the .mp4 or .mkv itself.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the recorded frames; exit 1 if they differ.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="The model's folder or hub id, where it is not the embedded one.")
    ] = None,
    download: Annotated[bool | None, Download] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="PATH", help="A LoRA file of the run; scales are the record's."),
    ] = None,
    gguf: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="The GGUF files of its weights, if any.")
    ] = None,
    extend: Annotated[Path | None, typer.Option("--extend", help="The clip that it went on from, if one.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the new clip goes.")] = None,
    device: Annotated[str | None, typer.Option(help="Other than the recorded one.")] = None,
) -> None:
    """Run a recorded generation again. The record is read as data: no path and no class name is taken from it."""
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.cli.output import check_files, claimed, write_run
    from vgen.cli.progress import say, show
    from vgen.clip import clip_of
    from vgen.pipeline import VideoPipeline
    from vgen.records import read_record

    past = read_record(record)
    resolved = checked(past, record)
    recorded_device, dtype = str(resolved.pop("run.device")), str(resolved.pop("run.dtype"))
    config, said = merge((f"record {record}", resolved))
    if (past.get("extends") is None) != (extend is None):
        why = "it went on from another clip; name that with --extend" if extend is None else "it went on from no clip"
        raise InputError(f"{record}: {why}")
    base = None if extend is None else base_of(past, clip_of(extend))
    model = model_of(past, model, record)
    ready(model, download)
    check_model(past, model, record)
    set_threads(past["machine"].get("threads"))
    loras = loras_of(past, lora or [], record)
    check_gguf(past, gguf or [], record)
    pipeline = VideoPipeline.from_pretrained(
        model,
        device=device or recorded_device,
        dtype=dtype,
        performance=config.performance,
        lora=loras,
        quantization=config.model.quantization,
        gguf=gguf,
    )
    if past["model"].get("lora_fused") is True:
        pipeline.fuse_lora()
    if pipeline.model.digests() != past["model"].get("digests"):
        raise ModelError(f"{record}: made with other weights than those of model '{pipeline.model.id}'")
    image = image_of(past, record.with_suffix(".image.png"))
    last = image_of(past, record.with_suffix(".last-image.png"), "last_image")
    run = pipeline.start(config, said, image, base=base, last_image=last, draws=draws_of(past, record))
    if output is not None:
        check_files(output, run.job, OutputConfig())
    with claimed(output, run.job) as path:
        new = write_run(run, path, OutputConfig())
    show(str(path))
    if verify:
        passed, verdict = _verdict(past, new, record, path)
        say(verdict)
        raise typer.Exit(0 if passed else 1)


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
    if past.get("parallel") != new["parallel"]:
        changed.append("several processes shared it, one makes it again")
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
