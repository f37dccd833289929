"""What a run leaves on the disk: the clip, its record, the conditioning image, the contact sheet."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vgen.cli.progress import watched
from vgen.clip import Clip, default_output
from vgen.files import check_file, replacing
from vgen.job import Job
from vgen.records import check_record, comment_of, write_record
from vgen.run import Run
from vgen.video.write import check_output, open_writer

__all__ = ["check_files", "claimed", "write_run"]


def check_files(path: Path, job: Job, *, sheet: bool) -> None:
    """Checks before a run that everything it will write at and beside `path` can be written.

    Raises:
        InputError: something cannot, or would take the place of what is not ours.
    """
    check_output(path, fps=job.fps, height=job.height, width=job.width)
    check_record(path)
    for picture in _pictures(path, job, sheet=sheet).values():
        check_file(picture)


@contextmanager
def claimed(asked: Path | None, job: Job) -> Iterator[Path]:
    """The path that was asked for, or `clip.mp4` in a new folder, which goes again where nothing was written to it."""
    path = default_output(job.prompt, job.seed) if asked is None else asked
    try:
        yield path
    finally:
        if asked is None and not any(path.parent.iterdir()):
            path.parent.rmdir()


def write_run(run: Run, path: Path, *, sheet: bool) -> dict[str, Any]:
    """Runs a job and writes clip, record, conditioning image and contact sheet.

    Returns:
        the record, with the stage `write` and the files that were written.
    """
    job, kept, write_s = run.job, [], 0.0
    with open_writer(path, fps=job.fps, height=job.height, width=job.width) as writer:
        for event in watched(run):
            if event.frames_FYX3 is not None:
                since = time.perf_counter()
                writer.write(event.frames_FYX3)
                write_s += time.perf_counter() - since
                if sheet:
                    kept.append(event.frames_FYX3)
        writer.comment = comment_of(run.record())
        since = time.perf_counter()
    write_s += time.perf_counter() - since
    record = run.record()
    record["stages_s"]["write"] = round(write_s, 3)
    pictures = _pictures(path, job, sheet=sheet)
    if job.image_YX3 is not None:
        _write_png(pictures["image"], Image.fromarray(job.image_YX3))
    if sheet:
        _write_png(pictures["sheet"], Clip(frames=np.concatenate(kept), fps=float(job.fps)).sheet())
    write_record(path, record)
    return record | {"files": {"clip": str(path)} | {kind: str(picture) for kind, picture in pictures.items()}}


def _pictures(path: Path, job: Job, *, sheet: bool) -> dict[str, Path]:
    """The pictures beside a clip."""
    wanted = {"image": job.image_YX3 is not None, "sheet": sheet}
    return {kind: path.with_suffix(f".{kind}.png") for kind, is_wanted in wanted.items() if is_wanted}


def _write_png(path: Path, picture: Image.Image) -> None:
    with replacing(path) as partial:
        picture.save(partial, format="PNG")
