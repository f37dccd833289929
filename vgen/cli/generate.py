"""`vgen generate`: a prompt or an image in, a clip out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vgen.config import GenerateConfig, keys_of, merge, parse_assignments, read_config, require_prompt
from vgen.errors import ConfigError, InputError

if TYPE_CHECKING:
    from vgen.pipeline import Run, VideoPipeline

__all__ = ["generate", "write_run"]

PROMPTS_LIMIT_BYTES = 1 << 20
Flag = typer.Option


def generate(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROMPT [KEY=VALUE ...]", help="What should be seen; then config keys, if any."),
    ] = None,
    image: Annotated[str | None, Flag(help="First frame: path of a picture.")] = None,
    prompts: Annotated[Path | None, Flag(help="File with a prompt on each line, instead of PROMPT.")] = None,
    model: Annotated[str | None, Flag(help="'playground' (comes with vgen), or a diffusers-format folder.")] = None,
    sampler: Annotated[str | None, Flag(help="full, causal, ... (configs/sampler).")] = None,
    seconds: Annotated[float | None, Flag(help="Length in seconds.")] = None,
    num_frames: Annotated[int | None, Flag(help="Length in frames.")] = None,
    size: Annotated[str | None, Flag(metavar="WxH", help="Width and height in pixels.")] = None,
    fit: Annotated[str | None, Flag(help="How an image of another shape is fitted: crop, pad, stretch.")] = None,
    num_inference_steps: Annotated[int | None, Flag(help="Steps of the sampler.")] = None,
    guidance_scale: Annotated[float | None, Flag(help="Weight of the prompt; up to 1 turns guidance off.")] = None,
    negative_prompt: Annotated[str | None, Flag(help="What should not be seen.")] = None,
    seed: Annotated[int | None, Flag(help="The same seed gives the same frames.")] = None,
    num_videos: Annotated[int | None, Flag(help="Clips per prompt; seeds count up from --seed.")] = None,
    fps: Annotated[int | None, Flag(help="Frames per second.")] = None,
    output: Annotated[
        Path | None, Flag("-o", "--output", help=".mp4, .gif, .mkv (lossless), or a folder of PNG frames.")
    ] = None,
    sheet: Annotated[bool, Flag("--sheet", help="Also write a contact sheet beside the clip.")] = False,
    config: Annotated[Path | None, Flag(help="YAML with any config keys.")] = None,
    device: Annotated[str | None, Flag(help="auto, cpu, cuda, cuda:N.")] = None,
    dtype: Annotated[str | None, Flag(help="auto, float32, bfloat16, float16.")] = None,
    force_sampler: Annotated[
        bool, Flag("--force-sampler", help="Run a sampler that the model was not trained for.")
    ] = False,
    output_format: Annotated[str, Flag("--format", help="human: the path on stdout; json: the record.")] = "human",
) -> None:
    """Make a clip. Only the prompt is needed; everything else has a default that fits the model."""
    if output_format not in ("human", "json"):
        raise ConfigError(f"--format takes human or json, got '{output_format}'")
    prompt, assignments = _split(words or [], prompts)
    width, height = _size(size)
    flags = {
        "request.prompt": prompt,
        "request.image": image,
        "model.id": model,
        "sampler.name": sampler,
        "request.seconds": seconds,
        "request.num_frames": num_frames,
        "request.width": width,
        "request.height": height,
        "request.fit": fit,
        "request.num_inference_steps": num_inference_steps,
        "request.guidance_scale": guidance_scale,
        "request.negative_prompt": negative_prompt,
        "request.seed": seed,
        "request.num_videos": num_videos,
        "request.fps": fps,
        "output.path": None if output is None else str(output),
        "output.sheet": sheet or None,
        "run.device": device,
        "run.dtype": dtype,
        "sampler.force": force_sampler or None,
    }
    said_here = _once(flags, parse_assignments(assignments))
    layers = [] if config is None else [(f"config {config}", read_config(config))]
    merged, said = merge(*layers, ("command line", said_here))
    every_prompt = [merged.request.prompt] if prompts is None else _read_prompts(prompts)
    if prompts is not None and merged.request.prompt:
        raise ConfigError("PROMPT and --prompts both say what should be seen; give one of them")
    for text in every_prompt:
        require_prompt(text)
    _generate_all(merged, said, every_prompt, output_format)


def write_run(run: "Run", path: Path, *, sheet: bool) -> dict[str, Any]:
    """Runs a job and writes clip, record, conditioning image and contact sheet.

    Returns:
        the record, with the stage `write` and the files that were written.
    """
    import time

    import numpy as np
    from PIL import Image

    from vgen.cli.progress import watched
    from vgen.clip import Clip
    from vgen.files import replacing
    from vgen.records import comment_of, write_record
    from vgen.video.write import open_writer

    job, kept, write_s = run.job, [], 0.0
    files = {"clip": str(path)}
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
    if job.image_YX3 is not None:
        files["image"] = str(path.with_suffix(".image.png"))
        with replacing(Path(files["image"])) as partial:
            Image.fromarray(job.image_YX3).save(partial, format="PNG")
    if sheet:
        files["sheet"] = str(path.with_suffix(".sheet.png"))
        with replacing(Path(files["sheet"])) as partial:
            Clip(frames=np.concatenate(kept), fps=float(job.fps)).sheet().save(partial, format="PNG")
    write_record(path, record)
    return record | {"files": files}


def _generate_all(config: GenerateConfig, said: list[str], prompts: list[str], output_format: str) -> None:
    from vgen.cli.quiet import quiet

    quiet()
    from vgen.cli.progress import say
    from vgen.clip import default_output
    from vgen.pipeline import VideoPipeline
    from vgen.video.write import check_output

    pipeline = VideoPipeline.from_pretrained(config.model.id, device=config.run.device, dtype=config.run.dtype)
    count = len(prompts) * config.request.num_videos
    first = None
    for index in range(count):
        config.request.prompt = prompts[index // config.request.num_videos]
        if first is not None:
            config.request.seed = first + index % config.request.num_videos
        run = pipeline.start(config, said)
        first = run.job.seed if first is None else first
        asked = None if config.output.path is None else Path(config.output.path)
        if asked is None:
            path = default_output(run.job.prompt, run.job.seed)
        else:
            path = asked if count == 1 else asked.with_name(f"{asked.stem}-{index + 1}{asked.suffix}")
        check_output(path, fps=run.job.fps, height=run.job.height, width=run.job.width)
        if index == 0:
            _announce(pipeline, run, count)
        record = write_run(run, path, sheet=config.output.sheet)
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in record["stages_s"].items())
        say(f"{stages}; peak {record['peak_mib']:,.0f} MiB; seed {run.job.seed}")
        typer.echo(json.dumps(record) if output_format == "json" else str(path))


def _announce(pipeline: "VideoPipeline", run: "Run", count: int) -> None:
    from vgen.cli.progress import say

    job = run.job
    for note in run.notes:
        say(f"note: {note}")
    guidance = f", guidance {job.guidance_scale:g}" if job.guidance_scale > 1 else ""
    many = f"{count} clips of " if count > 1 else ""
    say(
        f"{pipeline.model.card.name} on {pipeline.device}: {many}{job.num_frames} frames of {job.width}x{job.height} "
        f"at {job.fps} fps ({job.num_frames / job.fps:.1f} s), sampler {job.sampler}, {job.table.num_steps} steps"
        f"{guidance}, seed {job.seed}, about {run.plan.peak:,.0f} MiB"
    )


def _split(words: list[str], prompts: Path | None) -> tuple[str | None, list[str]]:
    """The prompt and the key=value words behind it."""
    if not words:
        return None, []
    first_is_key = words[0].partition("=")[0] in keys_of()
    if prompts is not None or first_is_key:
        return None, words
    return words[0], words[1:]


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size is None:
        return None, None
    width, x, height = size.lower().partition("x")
    if not (x and width.isdigit() and height.isdigit()):
        raise InputError(f"--size takes WIDTHxHEIGHT in pixels, such as 96x96, got '{size}'")
    return int(width), int(height)


def _once(flags: dict[str, Any], assigned: dict[str, Any]) -> dict[str, Any]:
    """Flags and key=value words together; one field with two values is a contradiction."""
    given = {key: value for key, value in flags.items() if value is not None}
    for key, value in assigned.items():
        if key in given and given[key] != value:
            raise ConfigError(f"{key} is given twice: {given[key]!r} as an option and {value!r} as key=value")
    return given | assigned


def _read_prompts(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"--prompts {path}: no such file")
    if path.stat().st_size > PROMPTS_LIMIT_BYTES:
        raise InputError(f"--prompts {path}: {path.stat().st_size} bytes; at most {PROMPTS_LIMIT_BYTES}")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--prompts {path}: not readable as text") from error
    found = [line for line in lines if line]
    if not found:
        raise InputError(f"--prompts {path}: no prompt in it; write one on each line")
    return found
