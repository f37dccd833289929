"""`vgen plan`: what a request will take, before anything is loaded. `vgen generate` says the same in three lines."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from vgen.cli.formats import Format
from vgen.errors import ConfigError, ResourceError, VgenError
from vgen.schema import GenerateConfig

if TYPE_CHECKING:
    from vgen.job import Job
    from vgen.pipeline import VideoPipeline
    from vgen.plan.estimate import Estimate
    from vgen.search import AnyRun

__all__ = ["Foreseen", "foreseen", "remedies", "show", "three_lines"]

GIB = 1024
SHARES = (0.75, 0.5, 0.25, 0.1)  # of the length or the area, that are tried in turn where a request does not fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What a request will take.

    Args:
        runs: that would be run, by a model without weights; none for a model that is not planned.
        found: of each.
        lacking: why it does not fit, in a line; None where it does.
    """

    runs: "list[AnyRun]"
    found: "list[Estimate]"
    lacking: str | None = None


def foreseen(
    config: GenerateConfig,
    said: list[str],
    runs_of: "Callable[[VideoPipeline, GenerateConfig, list[str]], list[AnyRun]]",
    machine: str | None,
    alone: bool,
    processes: int | None = None,
) -> Foreseen:
    """The plan of a request. A model that runs through a pipeline of diffusers has none, and checks once it is loaded.

    Args:
        config, said: as merged.
        runs_of: the runs of a pipeline, for a config and what was said.
        machine: whose plan: a shipped profile's, this one's where None, and measured first where `measure`.
        alone: whether the plan is all that is wanted; what does not fit is planned too then.
        processes: that would share it; those that do where None.

    Raises:
        ResourceError: it does not fit, and is to be run; with the flags that would make it fit.
        ConfigError: a machine that is not this one, for a clip that is to be made here.
        VgenError: the request cannot be served at all.
    """
    from vgen.models.folder import runs_elsewhere

    if _other(machine) is not None and not alone:
        raise ConfigError(f"a clip is made on this machine; for a plan on another: vgen plan --machine {machine}")
    if not alone and runs_elsewhere(config.model.id):
        return Foreseen(runs=[], found=[])
    config, said, planner = _planner(config, said, machine, processes)
    try:
        runs, lacking = runs_of(planner, config, said), None
    except ResourceError as error:
        flags = remedies(planner, config, said)
        lacking = f"{error}; would fit: {', or '.join(flags)}" if flags else str(error)
        if not alone:
            raise ResourceError(lacking) from error
        free, planner.room_mib = planner.free_mib, math.inf
        runs = runs_of(planner, config, said)
        planner.room_mib = free
    return Foreseen(runs=runs, found=_estimates(planner, runs[:1], machine) * len(runs), lacking=lacking)


def _planner(
    config: GenerateConfig, said: list[str], machine: str | None, processes: int | None
) -> "tuple[GenerateConfig, list[str], VideoPipeline]":
    """A pipeline without weights, and the request as it is asked of it: on another machine of that one's device."""
    import torch

    from vgen.pipeline import VideoPipeline
    from vgen.plan.machines import memory_of

    device: str | torch.device = config.run.device
    room_mib, other = None, _other(machine)
    if other is not None:
        room_mib = memory_of(other)
        if config.run.device not in ("auto", "cuda"):
            raise ConfigError(f"machine '{other}' is a CUDA device, device={config.run.device} is asked; leave it out")
        device = torch.device("cuda")
        config = replace(config, run=replace(config.run, device="auto"))
        said = [key for key in said if key != "run.device"]
    planner = VideoPipeline.without_weights(
        config.model.id,
        device=device,
        dtype=config.run.dtype,
        performance=config.performance,
        lora=config.model.lora or (),
        quantization=config.model.quantization,
        gguf=config.model.gguf,
        room_mib=room_mib,
        parallel=config.parallel,
        processes=processes,
    )
    return config, said, planner


def _other(machine: str | None) -> str | None:
    """The machine that is not this one, where one was named."""
    from vgen.plan.machines import MEASURE

    return None if machine == MEASURE else machine


def _estimates(pipeline: "VideoPipeline", runs: "list[AnyRun]", machine: str | None) -> "list[Estimate]":
    from vgen.models.loaded import own_model
    from vgen.plan.estimate import estimate
    from vgen.plan.machines import pick_profile

    model = own_model(pipeline.model)
    profile = pick_profile(machine, pipeline.device, pipeline.dtype)
    free, here = pipeline.free_mib + model.residence.held_mib, _other(machine) is None
    return [
        estimate(_job(run), model, run.plan, free_mib=free, profile=profile, here=here, degrees=run.mesh.degrees)
        for run in runs
    ]


def show(plan: Foreseen, output_format: Format) -> None:
    """The plan of each clip, on stdout; ends with 1 where it does not fit."""
    pairs = list(zip(plan.runs, plan.found, strict=True))
    if output_format is Format.JSON:
        typer.echo(json.dumps([_request(run) | one.as_json() | {"lacking": plan.lacking} for run, one in pairs]))
    else:
        for run, one in pairs:
            for line in _lines(run, one):
                typer.echo(line)
    if plan.lacking is not None:
        from vgen.cli.progress import say

        say(f"does not fit: {plan.lacking}")
        raise typer.Exit(1)


def three_lines(one: "Estimate") -> list[str]:
    """What a user should know before a run starts, behind the line that says what is made."""
    work, memory = one.work, one.memory
    best = ", ".join(f"{times:.2f} at density {density:g}" for density, times in one.sparse_at_best.items())
    return [
        f"plan: {one.tokens_per_pass:,} tokens in each of {work.forwards:,} passes, {_flops(one.clips * work.total)}; "
        f"self-attention is {work.attention_share:.0%} of the transformer's; times as fast if sparse, at most {best}",
        f"plan: {_mib(memory.weights + memory.more)} of {_mib(one.free_mib)} free (weights {_mib(memory.weights)}), "
        f"key-value cache {_mib(one.kv_cache_mib)}; {_time(one)}",
    ]


def remedies(pipeline: "VideoPipeline", config: GenerateConfig, said: list[str]) -> list[str]:
    """Flags each of which would make a request fit that does not, as tried on the model without weights."""
    from vgen.pipeline import VideoPipeline
    from vgen.schema import PerformanceConfig

    found = []
    if config.performance.mode != "memory":
        frugal = VideoPipeline(pipeline.model, PerformanceConfig(mode="memory"), pipeline.parallel, pipeline.world)
        frugal.room_mib = pipeline.room_mib
        if _fits(frugal, replace(config, performance=frugal.performance), said):
            found.append("--performance memory")
    found += _smaller(pipeline, config, said)
    return found


def _smaller(pipeline: "VideoPipeline", config: GenerateConfig, said: list[str]) -> list[str]:
    """The longest and the largest clip of those tried that fit."""
    request, card = config.request, pipeline.model.card
    frames = request.num_frames or round((request.seconds or 0) * (request.fps or card.fps)) or card.num_frames
    height, width = request.height or card.height, request.width or card.width
    grid, per_latent = pipeline.model.grid_px, pipeline.model.vae.config.scale_factor_temporal
    found = []
    for share in SHARES:
        count = 1 + int(share * frames) // per_latent * per_latent
        shorter = replace(request, num_frames=count, seconds=None)
        if _fits(pipeline, replace(config, request=shorter), said):
            found.append(f"--num-frames {count}")
            break
    for share in SHARES:
        y, x = (max(grid, int(share**0.5 * side) // grid * grid) for side in (height, width))
        smaller = replace(request, height=y, width=x)
        if _fits(pipeline, replace(config, request=smaller), said):
            found.append(f"--size {x}x{y}")
            break
    return found


def _fits(pipeline: "VideoPipeline", config: GenerateConfig, said: list[str]) -> bool:
    """Whether a request could be served; one that is wrong otherwise could not."""
    try:
        pipeline.begin(config, said)
    except VgenError:
        return False
    return True


def _job(run: "AnyRun") -> "Job":
    from vgen.job import Job

    assert isinstance(run.job, Job), "a model without weights is one of ours"
    return run.job


def _request(run: "AnyRun") -> dict[str, Any]:
    job = run.job
    return {
        "prompt": job.prompt,
        "frames": job.num_frames,
        "fps": job.fps,
        "width": job.width,
        "height": job.height,
        "sampler": job.sampler,
        "steps": job.num_steps,
        "processes": run.mesh.degrees.processes,
        "notes": list(run.notes),
    }


def _lines(run: "AnyRun", one: "Estimate") -> list[str]:
    job, work, memory = run.job, one.work, one.memory
    attention = "chosen by the data" if work.self_attention is None else _flops(work.self_attention)
    density = "" if work.density is None or work.density == 1 else f" (density {work.density:.2f})"
    at_best = ", ".join(f"{times:.2f}x at density {density:g}" for density, times in one.sparse_at_best.items())
    search = "" if one.clips == 1 else f"; a search makes up to {one.clips:g} clips' worth"
    disk, degrees = one.disk_mib, run.mesh.degrees
    shared = (
        f"  shared    by {degrees.processes} processes, {degrees}: memory is that of one, work and time that of all"
    )
    return [
        f"{job.num_frames} frames of {job.width}x{job.height} at {job.fps} fps, sampler {job.sampler}, "
        f"{job.num_steps} steps",
        *([shared] if degrees.processes > 1 else []),
        f"  tokens    {one.tokens_per_frame:,} per latent frame, {one.tokens_per_pass:,} per pass, "
        f"{one.tokens:,} in all",
        f"  passes    {work.forwards:,}, {work.commits:,} of them into a cache{search}",
        f"  work      {_flops(work.total)} a clip: text {_flops(work.text_encoder)}, image "
        f"{_flops(work.image_encoder)}, linear {_flops(work.linear)}, cross-attention "
        f"{_flops(work.cross_attention)}, self-attention {attention}{density}, encode "
        f"{_flops(work.vae_encode)}, decode {_flops(work.vae_decode)}",
        f"  sparse    self-attention is {work.attention_share:.0%} of a dense transformer: at best {at_best}",
        f"  memory    {_mib(memory.weights + memory.more)} of {_mib(one.free_mib)} free: weights "
        f"{_mib(memory.weights)}; beside them text {_mib(memory.text)}, encode {_mib(memory.encode)}, denoise "
        f"{_mib(memory.denoise)} (key-value cache {_mib(one.kv_cache_mib)}), decode {_mib(memory.decode)}",
        f"  host      {_mib(one.host_mib)}{_limit(one)}",
        f"  disk      clip about {_mib(disk['clip'])} (lossless up to {_mib(disk['clip_lossless_at_most'])}), "
        f"checkpoint {_mib(disk['checkpoint'])}, record {_mib(disk['record'])}",
        f"  time      {_time(one)}",
        *(f"  note      {note}" for note in run.notes),
    ]


def _limit(one: "Estimate") -> str:
    return "" if one.host_limit_mib is None else f" of {_mib(one.host_limit_mib)} that its processes may take"


def _time(one: "Estimate") -> str:
    if one.seconds is None or one.profile is None:
        return "no profile of this machine for the time: vgen plan --machine measure"
    stages = ", ".join(f"{stage} {_seconds(seconds)}" for stage, seconds in one.seconds.items())
    return f"{_seconds(sum(one.seconds.values()))} ({stages}) by {one.profile.name}, {one.profile.basis}"


def _seconds(seconds: float) -> str:
    if seconds < 0.01:
        return "under 0.01 s"
    return f"about {seconds:.3g} s" if seconds < 600 else f"about {seconds / 60:,.0f} min"


def _flops(count: float) -> str:
    for size, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e6:.3g} MFLOP"


def _mib(mib: float) -> str:
    return f"{mib / GIB:,.1f} GiB" if mib >= 10 * GIB else f"{mib:,.3g} MiB" if mib < 1000 else f"{mib:,.0f} MiB"
