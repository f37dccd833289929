"""From what a user asks of memory and speed to a `Fit`: where weights are kept, why, and what is left to try.

`vgen.placement` says how the parts of this relate.
"""

from dataclasses import dataclass, replace
from typing import Any

from vgen.errors import ConfigError, ResourceError
from vgen.job import Job
from vgen.models.loaded import LoadedModel
from vgen.models.quantization import Quantization
from vgen.parallel.degrees import ALONE, Degrees
from vgen.placement import Placement
from vgen.plan import Plan, plan_of, with_holes
from vgen.schema import PerformanceConfig

__all__ = ["Fit", "advice", "fit", "placed_keys", "rungs_of", "tiling_note"]

FASTEST = (
    Placement(),
    Placement(keep_text_encoder=False),
    Placement(offload="model", keep_text_encoder=False),
    Placement(offload="group", keep_text_encoder=False),
)
FRUGAL = Placement(offload="group", keep_text_encoder=False, vae_tiling=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What one run starts with.

    Args:
        rungs: the placement to start with, then those to go down to when memory runs out.
        plan: under the first.
        why: the first, in a line.
    """

    rungs: tuple[Placement, ...]
    plan: Plan
    why: str


def rungs_of(
    config: PerformanceConfig, quantization: Quantization | None = None, *, shared: bool = False
) -> tuple[Placement, ...]:
    """Placements that a request allows, from the fastest to the most frugal; what was said is the same in all.

    Args:
        config: what was asked for.
        quantization: of the transformers, whose weights then stay as and where they are.
        shared: whether several processes share the transformers' weights, which then do so too.

    Raises:
        ConfigError: `manual` without anything said, or quantised or shared weights are to be moved or cast.
    """
    names = ("offload", "storage", "vae_tiling", "keep_text_encoder")
    told: dict[str, Any] = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    if config.mode == "manual" and not told:
        raise ConfigError(
            "performance=manual leaves it to the flags, and none is given; possible: --offload, --storage-dtype, "
            "--vae-tiling, --free-text-encoder"
        )
    usual = {"manual": (Placement(),), "memory": (FRUGAL,)}.get(config.mode, FASTEST)
    rungs = tuple(dict.fromkeys(replace(rung, **told) for rung in usual))
    if quantization is None and not shared:
        return rungs
    still = tuple(rung for rung in rungs if rung.offload == "none" and rung.storage is None)
    possible = "possible: --performance auto or speed"
    if not still and quantization is not None:
        quantization.refuse_with(str(rungs[0]), possible)
    if not still:
        raise ConfigError(
            f"parallel.fsdp keeps shares of the weights on the device, which rules out {rungs[0]}; {possible}"
        )
    return still


def fit(
    job: Job,
    model: LoadedModel,
    config: PerformanceConfig,
    free_mib: float,
    what: str,
    degrees: Degrees = ALONE,
) -> Fit:
    """The first rung whose plan fits; with `speed` that is the fastest or none.

    Args:
        free_mib: what the process may still take of the device's memory.
        what: is made, for the message.
        degrees: how processes share it.

    Raises:
        ResourceError: none fits; with the estimate, what is free, and the flags that would make it fit.
        ConfigError: as `rungs_of`.
    """
    residence = model.residence
    rungs, held = rungs_of(config, model.quantization, shared=residence.shared), residence.held_mib
    able_mib, needed_mib = free_mib + held, []
    for i, rung in enumerate(rungs[:1] if config.mode == "speed" else rungs):
        plan = plan_of(job, model, rung, degrees)
        needed_mib.append(plan.weights + plan.more)
        if needed_mib[i] <= able_mib:
            roomy = with_holes(plan)
            if config.mode != "memory" and roomy.weights + roomy.more <= able_mib:
                plan = roomy
            why = f"performance {config.mode}: {rung}, about {plan.weights + plan.more:,.0f} of {able_mib:,.0f} MiB"
            if i:
                why += f"; {rungs[0]} would take {needed_mib[0]:,.0f}"
            return Fit(rungs=rungs[i:], plan=plan, why=why)
    least = rungs[len(needed_mib) - 1]
    frugal = plan_of(job, model, replace(FRUGAL, storage=least.storage), degrees)
    flags = advice(least) if frugal.weights + frugal.more <= able_mib else ""
    raise ResourceError(
        f"{what} would take about {needed_mib[-1] - held:,.0f} MiB more, {free_mib:,.0f} MiB are free; "
        f"ask for a smaller --size or fewer frames{flags and f', or for {flags}'}"
    )


def advice(placement: Placement) -> str:
    """Flags that would take less memory than a placement; empty where there are none."""
    flags = {
        "--offload group": placement.offload != "group",
        "--free-text-encoder": placement.offload == "none" and placement.keep_text_encoder,
        "--vae-tiling": not placement.vae_tiling,
    }
    return " ".join(flag for flag, helps in flags.items() if helps)


def placed_keys(placement: Placement) -> dict[str, Any]:
    """Config keys that ask for exactly this placement."""
    keys = {
        "performance.mode": "manual",
        "performance.offload": placement.offload,
        "performance.vae_tiling": placement.vae_tiling,
        "performance.keep_text_encoder": placement.keep_text_encoder,
    }
    return keys if placement.storage is None else keys | {"performance.storage": placement.storage}


def tiling_note(job: Job, model: LoadedModel, placement: Placement) -> tuple[str, ...]:
    """What tiling will do to the frames of a job."""
    if not placement.vae_tiling:
        return ()
    height, width = model.vae.tile_sample_min_height, model.vae.tile_sample_min_width
    if job.height <= height and job.width <= width:
        return (f"VAE tiling has nothing to cut: frames are not larger than a tile of {width}x{height}",)
    return (f"VAE in tiles of {width}x{height}, blended where they overlap: pixels differ from those without",)
