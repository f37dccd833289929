"""`vgen generate`: a prompt or an image in, a clip out."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from vgen.cli.download import Download, ready
from vgen.cli.formats import Format
from vgen.cli.together import WORDS, Nproc, Parallel, joined, parallel_keys, start
from vgen.config import merge, parse_assignments, read_config, read_story, require_prompt
from vgen.errors import ConfigError, InputError
from vgen.models.lora_request import lora_rows
from vgen.schema import GROUPS, GenerateConfig, flat

if TYPE_CHECKING:
    from vgen.parallel.mesh import World
    from vgen.pipeline import VideoPipeline
    from vgen.plan.estimate import Estimate
    from vgen.search import AnyRun

__all__ = ["GenerateCommand", "generate", "size_of"]

PromptAt = typer.Option("--prompt-at", metavar="TIME PROMPT", help="What is seen from a time on: 4s 'a cube falls'.")
PROMPTS_LIMIT_BYTES = 1 << 20
Flag = typer.Option
Words = typer.Argument(metavar="PROMPT [KEY=VALUE ...]", help="What should be seen; then config keys, if any.")
Output = typer.Option("-o", "--output", help=".mp4, .gif, .mkv (lossless), or a folder of PNG frames.")
Lora = typer.Option(
    "--lora", metavar="PATH[@SCALE]", help="LoRA file, folder or cached hub id to put on the model; may be repeated."
)
Lora2 = typer.Option(
    "--lora-2", metavar="PATH[@SCALE]", help="The same for a model's second transformer; --lora is for the first."
)
Quantized = typer.Option("--quantization", help="Transformer in fewer bits: int8wo, int8dq, fp8wo, fp8dq.")
Gguf = typer.Option("--gguf", metavar="FILE", help="GGUF file in place of the transformer's weights; one for each.")
Interval = typer.Option(metavar="LOW HIGH", help="Noise levels within which guidance works, in 0..1.")
Force = typer.Option("--force-sampler", help="Run a sampler that the model was not trained for.")

FreeText = typer.Option("--free-text-encoder/--keep-text-encoder", help="Free it once the prompts are encoded.")


class GenerateCommand(TyperCommand):
    """`--prompt-at` takes two words, which typer cannot say of an option that may be repeated; they travel as one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[WORDS] = [self.name, *args]
        joined: list[str] = []
        words = iter(args)
        for word in words:
            joined.append(word)
            if word.partition("=")[0] == "--prompt-at":
                pair = list(itertools.islice(words, 2))
                if "=" in word or len(pair) < 2 or pair[0].startswith("-") or pair[1].startswith("--"):
                    raise InputError("--prompt-at takes a time and a prompt: --prompt-at 4s 'a green cube falls'")
                joined.append("\n".join(pair))
        return super().parse_args(ctx, joined)


Machine = typer.Option(metavar="NAME", help="Plan for another machine: h200, ...; or measure this one, once.")


def generate(
    ctx: typer.Context,
    words: Annotated[list[str] | None, Words] = None,
    image: Annotated[str | None, Flag(help="First frame: path of a picture.")] = None,
    last_image: Annotated[str | None, Flag(help="Last frame, for models that take one: path of a picture.")] = None,
    prompts: Annotated[Path | None, Flag(help="File with a prompt on each line, instead of PROMPT.")] = None,
    model: Annotated[
        str | None, Flag(help="'playground' (comes with vgen), a diffusers-format folder, or a hub id; [:VARIANT].")
    ] = None,
    download: Annotated[bool | None, Download] = None,
    lora: Annotated[list[str] | None, Lora] = None,
    lora_2: Annotated[list[str] | None, Lora2] = None,
    quantization: Annotated[str | None, Quantized] = None,
    gguf: Annotated[list[str] | None, Gguf] = None,
    prompt_at: Annotated[list[str] | None, PromptAt] = None,
    story: Annotated[Path | None, Flag(help="YAML list of {at: seconds, prompt: words}.")] = None,
    extend: Annotated[str | None, Flag(help="Clip (or its .json) to go on from; the length is what is added.")] = None,
    resume: Annotated[Path | None, Flag(help="Go on with a killed run: its folder <name>.run.")] = None,
    sampler: Annotated[str | None, Flag(help="full, causal, streaming, ... (vgen samplers).")] = None,
    attention: Annotated[str | None, Flag(help="dense, radial, ... (vgen attention list), or a YAML of one.")] = None,
    step_cache: Annotated[str | None, Flag(help="Skip blocks between steps: first-block, mag, taylorseer.")] = None,
    seconds: Annotated[float | None, Flag(help="Length in seconds.")] = None,
    num_frames: Annotated[int | None, Flag(help="Length in frames.")] = None,
    size: Annotated[str | None, Flag(metavar="WxH", help="Width and height in pixels.")] = None,
    fit: Annotated[str | None, Flag(help="How an image of another shape is fitted: crop, pad, stretch.")] = None,
    num_inference_steps: Annotated[int | None, Flag(help="Steps of the sampler.")] = None,
    guidance_scale: Annotated[float | None, Flag(help="Weight of the prompt; up to 1 turns guidance off.")] = None,
    guidance_scale_2: Annotated[float | None, Flag(help="The same for a model's second transformer.")] = None,
    guidance_interval: Annotated[tuple[float, float] | None, Interval] = None,
    negative_prompt: Annotated[str | None, Flag(help="What should not be seen.")] = None,
    best_of: Annotated[int | None, Flag(help="Make so many and keep the one that the judge likes best.")] = None,
    redo: Annotated[int | None, Flag(help="Mend a clip from its first fault on, at the cost of up to so many.")] = None,
    seed: Annotated[int | None, Flag(help="The same seed gives the same frames.")] = None,
    num_videos: Annotated[int | None, Flag(help="Clips per prompt; seeds count up from --seed.")] = None,
    fps: Annotated[int | None, Flag(help="Frames per second.")] = None,
    output: Annotated[str | None, Output] = None,
    sheet: Annotated[bool, Flag("--sheet", help="Also write a contact sheet beside the clip.")] = False,
    preview: Annotated[bool, Flag("--preview", help="Write a sheet of the present guess while it runs.")] = False,
    config: Annotated[Path | None, Flag(help="YAML with any config keys.")] = None,
    device: Annotated[str | None, Flag(help="auto, cpu, cuda, cuda:N.")] = None,
    dtype: Annotated[str | None, Flag(help="auto, float32, bfloat16, float16.")] = None,
    performance: Annotated[str | None, Flag(help="Where weights are kept: auto, speed, memory, manual.")] = None,
    offload: Annotated[str | None, Flag(help="none, model (one component on the device at a time), group.")] = None,
    storage_dtype: Annotated[str | None, Flag(help="Keep the transformer's weights in it: float8_e4m3fn, ...")] = None,
    compiled: Annotated[bool, Flag("--compile", help="Compile the transformer's blocks first.")] = False,
    cuda_graphs: Annotated[bool, Flag("--cuda-graphs", help="Record passes once per layout and replay them.")] = False,
    vae_tiling: Annotated[bool | None, Flag(help="Decode in tiles; pixels differ.")] = None,
    free_text_encoder: Annotated[bool | None, FreeText] = None,
    force_sampler: Annotated[bool, Force] = False,
    nproc: Annotated[int | None, Nproc] = None,
    parallel: Annotated[str | None, Parallel] = None,
    machine: Annotated[str | None, Machine] = None,
    output_format: Annotated[Format, Flag("--format", help="The path, or the record, on stdout.")] = Format.HUMAN,
) -> None:
    """Make a clip. Only the prompt is needed; everything else has a default that fits the model."""
    prompt, assignments = _split(words or [], prompts is not None or resume is not None)
    width, height = size_of(size)
    flags = {
        "request.prompt": prompt,
        "request.story": _story(prompt_at, story),
        "request.image": image,
        "request.last_image": last_image,
        "request.extend": extend,
        "model.id": model,
        "model.lora": lora_rows(lora, lora_2),
        "model.quantization": quantization,
        "model.gguf": gguf or None,
        "step_cache.name": step_cache,
        "sampler.name": sampler,
        "attention.name": attention,
        "request.seconds": seconds,
        "request.num_frames": num_frames,
        "request.width": width,
        "request.height": height,
        "request.fit": fit,
        "request.num_inference_steps": num_inference_steps,
        "request.guidance_scale": guidance_scale,
        "request.guidance_scale_2": guidance_scale_2,
        "request.guidance_interval": None if guidance_interval is None else list(guidance_interval),
        "request.negative_prompt": negative_prompt,
        "request.seed": seed,
        "request.num_videos": num_videos,
        "search.best_of": best_of,
        "search.redo": redo,
        "request.fps": fps,
        "output.path": output,
        "output.sheet": sheet or None,
        "output.preview": preview or None,
        "run.device": device,
        "run.dtype": dtype,
        "performance.mode": performance,
        "performance.offload": offload,
        "performance.storage": storage_dtype,
        "performance.vae_tiling": vae_tiling,
        "performance.keep_text_encoder": None if free_text_encoder is None else not free_text_encoder,
        "performance.compile": compiled or None,
        "performance.cuda_graphs": cuda_graphs or None,
        "sampler.force": force_sampler or None,
    }
    flags |= parallel_keys(parallel)
    layers = [] if config is None else [(f"config {config}", read_config(config))]
    if attention is not None and Path(attention).suffix in (".yaml", ".yml"):
        layers.append((f"attention {attention}", read_config(Path(attention), group="attention")))
        flags["attention.name"] = None
    asked = _once(flags, parse_assignments(assignments))
    if resume is not None and prompts is not None:
        raise ConfigError("--resume goes on with one run, --prompts begins several; give one of them")
    plan_alone = ctx.command.name == "plan"  # one set of options for both commands
    if resume is not None and plan_alone:
        raise ConfigError("--resume goes on with a run that is planned already; say of a new one what it shall be")
    if resume is not None:
        start(ctx.meta[WORDS], nproc)
        from vgen.cli.resume import go_on

        go_on(resume, [*layers, ("command line", asked)], output_format, download)
        return
    merged, said = merge(*layers, ("command line", asked))
    every_prompt = _every_prompt(merged, prompts)
    from vgen.cli.quiet import quiet

    quiet()
    if nproc is not None and nproc > 1 and not plan_alone:
        ready(merged.model.id, download)  # here, where a terminal can be asked
    if not plan_alone:
        start(ctx.meta[WORDS], nproc)
    from vgen.cli.plan import foreseen, show

    world, merged = joined(merged)
    if world.first:
        ready(merged.model.id, download)
    world.peers.told()

    def runs_of(pipeline: "VideoPipeline", config: GenerateConfig, said: list[str]) -> "list[AnyRun]":
        return _runs(pipeline, config, said, every_prompt)

    plan = foreseen(merged, said, runs_of, machine, plan_alone, nproc if plan_alone else None)
    if plan_alone:
        show(plan, output_format)
        return
    if world.size > 1:
        from vgen.run_record import asked_of

        asked_for = [[*asked_of(run.job, run.model), str(run.mesh.degrees)] for run in plan.runs]
        world.peers.agree("the request", [flat(merged), every_prompt, asked_for])
    _generate_all(merged, said, every_prompt, output_format, plan.found, world)


def _generate_all(
    config: GenerateConfig,
    said: list[str],
    prompts: list[str],
    output_format: Format,
    found: "list[Estimate]",
    world: "World",
) -> None:
    from vgen.cli.output import check_files, make_all
    from vgen.cli.plan import three_lines
    from vgen.cli.progress import say
    from vgen.pipeline import VideoPipeline

    pipeline = VideoPipeline.from_pretrained(
        config.model.id,
        device=config.run.device,
        dtype=config.run.dtype,
        performance=config.performance,
        lora=config.model.lora or (),
        quantization=config.model.quantization,
        gguf=config.model.gguf,
        parallel=config.parallel,
    )
    runs = _runs(pipeline, config, said, prompts)
    paths = _paths(config.output.path, len(runs))
    for run, path in zip(runs, paths, strict=True):
        if path is not None and world.first:
            check_files(path, run.job, config.output)
    world.peers.told()  # so that nothing is written before everything is checked
    _announce(pipeline, runs)
    if found and world.size > 1:
        say(f"note: the plan's memory is that of one of {world.size} processes, its work that of all")
    for line in three_lines(found[0]) if found else []:
        say(line)
    make_all(runs, paths, config.output, output_format)


def _runs(pipeline: "VideoPipeline", config: GenerateConfig, said: list[str], prompts: list[str]) -> "list[AnyRun]":
    """A checked run for each clip, so that a request that cannot be served is refused before the first one."""
    runs: list[AnyRun] = []
    first, count = config.request.seed, len(prompts) * config.request.num_videos
    for prompt in prompts:
        for number in range(config.request.num_videos):
            seed = None if first is None else first + number * config.search.best_of
            one = replace(config, request=replace(config.request, prompt=prompt, seed=seed))
            decided = {"request.prompt", "request.seed"} if runs else {"request.prompt"}
            runs.append(pipeline.begin(one, sorted({*said} | decided), clips=count))
            first = runs[0].job.seed  # drawn once where it was not said
    return runs


def _paths(asked: str | None, count: int) -> list[Path | None]:
    """Where each clip goes; None where that is a new folder."""
    if asked is None:
        return [None] * count
    path = Path(asked)
    if count == 1 or not path.name:
        return [path] * count
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def _announce(pipeline: "VideoPipeline", runs: "list[AnyRun]") -> None:
    from vgen.cli.progress import say
    from vgen.job import Job

    job = runs[0].job
    scales = dict.fromkeys(f"{scale:g}" for scale in (job.guidance_scale, job.guidance_scale_2) if scale is not None)
    guidance = f", guidance {' and '.join(scales)}" if job.guided else ""
    attention = "" if job.attention.pattern == "dense" else f", attention {job.attention.pattern}"
    if isinstance(job, Job) and job.step_cache.name != "none":
        attention += f", step cache {job.step_cache.name}"
    model = pipeline.model
    name = model.card.name + ("" if model.quantization is None else f" ({model.quantization.scheme})")
    many = f"{len(runs)} clips of " if len(runs) > 1 else ""
    mesh = runs[0].mesh
    where = (
        f"{pipeline.device}" if mesh.world.size == 1 else f"{mesh.world.size} x {pipeline.device.type} ({mesh.degrees})"
    )
    say(
        f"{name} on {where}: {many}{job.num_frames} frames of {job.width}x{job.height} "
        f"at {job.fps} fps ({job.num_frames / job.fps:.1f} s), sampler {job.sampler}, {job.num_steps} steps"
        f"{guidance}{attention}, seed {job.seed}"
    )


def _split(words: list[str], no_prompt: bool) -> tuple[str | None, list[str]]:
    """The prompt and the key=value words behind it; `request.promt=...` in front is a misspelt key, not a prompt."""
    if not words:
        return None, []
    key, equals, _ = words[0].partition("=")
    if (no_prompt and equals) or (equals and key.startswith(tuple(f"{group}." for group in GROUPS))):
        return None, words
    return words[0], words[1:]


def size_of(size: str | None) -> tuple[int | None, int | None]:
    """Width and height of `--size`.

    Raises:
        InputError: it is no WxH.
    """
    if size is None:
        return None, None
    sides = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size.lower())
    if sides is None:
        raise InputError(f"--size takes WIDTHxHEIGHT in pixels, such as 96x96, got '{size[:40]}'")
    return int(sides[1]), int(sides[2])


def _once(flags: dict[str, Any], assigned: dict[str, Any]) -> dict[str, Any]:
    """Flags and key=value words together; one field with two values is a contradiction."""
    given = {key: value for key, value in flags.items() if value is not None}
    for key, value in assigned.items():
        if key in given and given[key] != value:
            raise ConfigError(f"{key} is given twice: {given[key]!r} as an option and {value!r} as key=value")
    return given | assigned


def _every_prompt(config: GenerateConfig, prompts: Path | None) -> list[str]:
    if prompts is not None and config.request.prompt:
        raise ConfigError("PROMPT and --prompts both say what should be seen; give one of them")
    if prompts is not None and config.request.story is not None:
        raise ConfigError("--prompts and a story both say what should be seen; give one of them")
    found = [config.request.prompt] if prompts is None else _read_prompts(prompts)
    for prompt in found if config.request.story is None else []:
        require_prompt(prompt)
    return found


def _story(prompt_at: list[str] | None, story: Path | None) -> list[Any] | None:
    """Timed prompts from either source."""
    if prompt_at and story is not None:
        raise ConfigError("--prompt-at and --story both say what is seen when; give one of them")
    if story is not None:
        return read_story(story)
    pairs = [words.partition("\n") for words in prompt_at or []]
    return [{"at": at, "prompt": prompt} for at, _, prompt in pairs] or None


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
