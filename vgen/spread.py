"""Where a process stands among those that share a run with it, and what of a job they can share."""

import secrets
from collections.abc import Iterator
from dataclasses import asdict, replace

import torch

from vgen.attention import MixtureOfBlocks, PerHead, PerLayer
from vgen.attention.catalogue import Made, make_pattern
from vgen.clipwise import uncut
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.job import SEED_BITS, Job
from vgen.machine import pick_device
from vgen.models.loaded import LoadedModel
from vgen.models.stock.model import StockModel
from vgen.parallel.degrees import Work
from vgen.parallel.mesh import World, join, own_device
from vgen.plan import free_mib
from vgen.plan.memory import tokens_per_frame
from vgen.schema import GenerateConfig, ParallelConfig

__all__ = ["device_of", "free_share_mib", "placed", "seeded", "stock_work", "work_of"]

ALL_HEADS = ("overall", "block")  # what competes over all heads of a layer


def device_of(name: str, world: World) -> torch.device:
    """The device that a name means to this process."""
    return pick_device(name if world.size == 1 else own_device(name))


def placed(
    device: str | torch.device, parallel: ParallelConfig | str | None
) -> tuple[torch.device, World, ParallelConfig]:
    """This process's device, those that it shares clips with, and how.

    Args:
        device: its name; or the device itself.
        parallel: as `VideoPipeline.from_pretrained` takes it.

    Raises:
        ConfigError, ResourceError, PeerLostError: a value or device that is not possible, or a process did not come.
    """
    if isinstance(parallel, str) and parallel != "auto":
        raise ConfigError(f"parallel='{parallel:.40}' is not possible; possible: auto, or a ParallelConfig")
    if parallel is None:
        return pick_device(device) if isinstance(device, str) else device, World(), ParallelConfig()
    where = pick_device(own_device(device)) if isinstance(device, str) else device
    asked = ParallelConfig() if isinstance(parallel, str) else parallel
    checked, _ = merge(("parallel", {f"parallel.{name}": value for name, value in asdict(asked).items()}))
    return where, join(checked.parallel.timeout_s, where), checked.parallel


def seeded(config: GenerateConfig, world: World) -> GenerateConfig:
    """The request with a seed that all processes have alike; one process draws its own later."""
    if world.size == 1 or config.request.seed is not None:
        return config
    seed = world.peers.told(secrets.randbits(SEED_BITS))
    return replace(config, request=replace(config.request, seed=seed))


def free_share_mib(world: World, device: torch.device) -> float:
    """Memory that this process may still take; of a CPU's its share."""
    return free_mib(device) / (world.local_size if device.type == "cpu" else 1)


def work_of(job: Job, model: LoadedModel, clips: int = 1) -> Work:
    """What several processes could share of a job.

    Args:
        clips: that are asked for, of which this is one.
    """
    return Work(
        heads=model.dit.config.num_attention_heads,
        tokens_per_frame=tokens_per_frame(job, model),
        guided=job.guided,
        prompts=len(job.prompts),
        clips=clips,
        one_sequence=_one_sequence(job),
        uncut=uncut(job),
        apart=_apart(job),
    )


def stock_work(model: StockModel, clips: int = 1) -> Work:
    """The same of a model that runs through a pipeline of diffusers: whole clips alone."""
    return Work(
        heads=1,
        tokens_per_frame=1,
        guided=False,
        clips=clips,
        one_device=f"model '{model.id}' runs through diffusers' {model.pipeline}, which makes a clip in one process",
    )


def _apart(job: Job) -> str | None:
    """Why the branches of guidance do not run the same blocks in each step; None where they do."""
    if job.guidance_interval is not None:
        return "outside of guidance_interval one of them rests"
    if job.step_cache.name == "first-block":
        return "step cache 'first-block' skips blocks of each by its own data"
    return None


def _one_sequence(job: Job) -> str | None:
    """Why tokens and heads cannot be split; None where they can."""
    if job.step_cache.name == "first-block":
        return "step cache 'first-block' looks at all tokens to say which blocks are skipped"
    if job.attention.pattern == "dense":
        return None
    wide = [one for one in _parts(make_pattern(job.attention.pattern, job.attention.knobs)) if _spans_heads(one)]
    return f"in {wide[0]} all heads of a layer compete" if wide else None


def _parts(pattern: Made) -> Iterator[Made]:
    if isinstance(pattern, PerHead | PerLayer):
        for part in pattern.patterns:
            yield from _parts(part)
    else:
        yield pattern


def _spans_heads(pattern: Made) -> bool:
    return isinstance(pattern, MixtureOfBlocks) and pattern.scope in ALL_HEADS
