"""What a run leaves on the disk: the clip, its record, the conditioning image, the contact sheet."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vgen.checkpoint import Checkpoint
from vgen.cli.formats import Format
from vgen.cli.preview import write_preview
from vgen.cli.progress import say, show, watched
from vgen.cli.together import writing
from vgen.clip import Clip, default_output
from vgen.files import check_file, remove, replacing
from vgen.job import Job
from vgen.models.folder import EMBEDDED
from vgen.models.loaded import own_model
from vgen.parallel.launched import await_said, hand_over, leave
from vgen.records import check_record, comment_of, write_record
from vgen.run import Event
from vgen.schema import OutputConfig
from vgen.search import AnyRun
from vgen.stock.job import StockJob
from vgen.video.write import VideoWriter, check_output, open_writer

__all__ = ["check_files", "claimed", "make_all", "write_run"]

PREVIEWS = 4  # in the fall of a frame from noise to clean


def check_files(path: Path, job: Job | StockJob, output: OutputConfig) -> None:
    """Checks before a run that everything it will write at and beside `path` can be written.

    Raises:
        InputError: something cannot, or would take the place of what is not ours.
    """
    check_output(path, fps=job.fps, height=job.height, width=job.width)
    check_record(path)
    for picture in _pictures(path, job, output).values():
        check_file(picture)
    checkpoint = Checkpoint.beside(path)
    if job.in_chunks or checkpoint.begun:
        checkpoint.check()


@contextmanager
def claimed(asked: Path | None, job: Job | StockJob) -> Iterator[Path]:
    """The path that was asked for, or `clip.mp4` in a new folder, which goes again where nothing was written to it."""
    path = default_output(job.prompt, job.seed) if asked is None else asked
    try:
        yield path
    finally:
        if asked is None and not any(path.parent.iterdir()):
            path.parent.rmdir()


def write_run(run: AnyRun, path: Path, output: OutputConfig, *, resume: Checkpoint | None = None) -> dict[str, Any]:
    """Runs a job and writes clip, record, conditioning images, contact sheet and previews.

    A run that finishes frames in chunks leaves a checkpoint beside the clip until it is done, and what there is of the
    clip as a file that can be played.

    Args:
        run: not begun.
        path: of the clip.
        output: what else is written.
        resume: the checkpoint that the run goes on from.

    Returns:
        the record, with the stage `write` and the files that were written.
    """
    job, kept, write_s = run.job, [], 0.0
    checkpoint = resume or (Checkpoint.beside(path) if run.resumable else None)
    pictures = _pictures(path, job, output)
    look = _Previewer(run, pictures.get("preview"))
    with (
        _told_how_to_go_on(run, checkpoint),
        open_writer(
            path, fps=job.fps, height=job.height, width=job.width, keep_partial=checkpoint is not None
        ) as writer,
        _cleared(checkpoint, writer, look),
    ):
        wanted = {"suffix": path.suffix, "sheet": output.sheet, "preview": output.preview}
        for event in watched(run.events(checkpoint, resume=resume is not None, output=wanted)):
            look(event)
            _tell_attempt(event)
            if event.frames_FYX3 is not None:
                since = time.perf_counter()
                writer.write(event.frames_FYX3)
                write_s += time.perf_counter() - since
                if output.sheet:
                    kept.append(event.frames_FYX3)
        writer.comment = comment_of(run.record())
        since = time.perf_counter()
    write_s += time.perf_counter() - since
    record = run.record()
    record["stages_s"]["write"] = round(write_s, 3)
    for kind, image_YX3 in (("image", job.image_YX3), ("last-image", job.last_image_YX3)):
        if image_YX3 is not None:
            _write_png(pictures[kind], Image.fromarray(image_YX3))
    if output.sheet:
        _write_png(pictures["sheet"], Clip(frames=np.concatenate(kept), fps=float(job.fps)).sheet())
    write_record(path, record)
    if checkpoint is not None:
        checkpoint.drop()
    return record | {"files": {"clip": str(path)} | {kind: str(picture) for kind, picture in pictures.items()}}


def make_all(
    runs: Sequence[AnyRun],
    paths: Sequence[Path | None],
    output: OutputConfig,
    output_format: Format,
    *,
    resume: Checkpoint | None = None,
) -> None:
    """Makes clips, and says where each is. Of several processes each takes part in its share, and the first speaks.

    Args:
        runs: not begun.
        paths: of the clips; a new folder where None.
        output: what else is written.
        output_format: of what is said.
        resume: the checkpoint that a single run goes on from.
    """
    mesh = runs[0].mesh
    process, share = mesh.world.process, mesh.share(len(runs))
    for number in share:
        run = runs[number]
        for note in run.notes:
            say(f"note: {note}")
        if not mesh.main:
            for _ in run.events(resume, resume=resume is not None):
                pass
            continue
        with claimed(paths[number], run.job) as path:
            writing(path, own_folder=paths[number] is None)
            text = _told(write_run(run, path, output, resume=resume), path, output_format)
        if process is None or mesh.world.first:
            show(text)
        else:
            hand_over(process, number, text)
    if process is not None and mesh.world.first:
        for number in range(share.stop, len(runs)):
            show(await_said(process, number))
    if process is not None:
        leave(process)


def _told(record: dict[str, Any], path: Path, output_format: Format) -> str:
    """What a finished run says: how it went on stderr, and its path or record for stdout."""
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in record["stages_s"].items())
    say(f"{stages}; peak {record['peak_mib']:,.0f} MiB; seed {record['seed']}")
    if record["step_cache"]:
        say(_cache_line(record["step_cache"]))
    if record["search"] is not None and "candidates" in record["search"]:
        say(_best_line(record["search"]))
    for warning in (record["drift"] or {}).get("warnings") or []:
        say(f"warning: {warning}")
    return json.dumps(record) if output_format is Format.JSON else str(path)


def _tell_attempt(event: Event) -> None:
    """Says what is at fault."""
    if event.attempt is None or event.attempt.finding.passed:
        return
    tried, why = event.attempt, event.attempt.finding.evidence
    found = "; ".join(str(one["text"]) for one in why[-2:])
    say(f"latent frames {tried.frames.start} to {tried.frames.stop - 1}, noise {tried.draw}: {found}")


def _cache_line(reports: list[dict[str, Any]]) -> str:
    """What step caches have skipped."""
    skipped, blocks = (sum(report[part] for report in reports) for part in ("skipped", "blocks"))
    return f"step cache {reports[0]['cache']}: {skipped} of {blocks} passes through a block were skipped"


def _best_line(search: dict[str, Any]) -> str:
    """How the clip that was kept compares, by laws that did not choose it."""
    scores = {arm: found["report"] for arm, found in search["scores"].items()}
    told = ", ".join(f"{arm} {'undecided' if score is None else f'{score:.2f}'}" for arm, score in scores.items())
    return f"best of {search['best_of']}: seed {search['chosen']}; plausibility by laws that did not choose: {told}"


@contextmanager
def _told_how_to_go_on(run: AnyRun, checkpoint: Checkpoint | None) -> Iterator[None]:
    """Says how to go on with a run that ends early."""
    done = False
    try:
        yield
        done = True
    finally:
        if checkpoint is not None and not done and checkpoint.in_use and checkpoint.begun:
            model = "" if run.model.id == EMBEDDED else f" --model {shlex.quote(run.model.id)}"
            options = [
                ({1: "--lora", 2: "--lora-2"}[one.transformer], one) for one in own_model(run.model).adapters.requests
            ]
            loras = "".join(f" {option} {shlex.quote(f'{one.path}@{one.scale:g}')}" for option, one in options)
            folder = shlex.quote(str(checkpoint.path))
            say(f"finished chunks are kept; go on with: vgen generate --resume {folder}{model}{loras}")


@contextmanager
def _cleared(checkpoint: Checkpoint | None, writer: VideoWriter, look: "_Previewer") -> Iterator[None]:
    """Leaves nothing of a run that ends before there is something to go on from."""
    done = False
    try:
        yield
        done = True
    finally:
        if not done and (checkpoint is None or not checkpoint.begun):
            look.drop()
            if checkpoint is not None and checkpoint.in_use:
                checkpoint.drop()
                writer.keep_partial = False  # removed once its encoder is gone, which may not have made it yet


class _Previewer:
    """Writes the present guess to a sheet, a few times in the fall of each frame."""

    def __init__(self, run: AnyRun, path: Path | None) -> None:
        self.run, self.path = run, path
        self.every = max(1, run.job.num_steps // PREVIEWS)
        self.written = False

    def __call__(self, event: Event) -> None:
        if self.path is None or event.x0_BCTHW is None or event.done % self.every:
            return
        frames_FYX3 = self.run.preview(event.x0_BCTHW)
        write_preview(self.path, frames_FYX3, title=f"step {event.done} of {event.total}")
        self.written = True

    def drop(self) -> None:
        """Removes the sheet that this run has written."""
        if self.path is not None and self.written:
            remove(self.path)


def _pictures(path: Path, job: Job | StockJob, output: OutputConfig) -> dict[str, Path]:
    """The pictures beside a clip."""
    wanted = {"image": job.image_YX3 is not None, "last-image": job.last_image_YX3 is not None}
    wanted |= {"sheet": output.sheet, "preview": output.preview}
    return {kind: path.with_suffix(f".{kind}.png") for kind, is_wanted in wanted.items() if is_wanted}


def _write_png(path: Path, picture: Image.Image) -> None:
    with replacing(path) as partial:
        picture.save(partial, format="PNG")
