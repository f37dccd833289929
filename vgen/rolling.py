"""From a job's sampling to a `Rollout`, over whatever denoises: a model, or what only counts its calls."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vgen.job import Job
from vgen.models.experts import Experts
from vgen.samplers import Branches, CoupledWindows, NoisePolicy, Rollout, Windowed

__all__ = ["in_windows", "over_experts", "rollout_over"]


def over_experts(
    job: Job,
    boundary: float | None,
    expert: Callable[[str, float], Any],
    memory: Callable[[], Any],
    *,
    one_branch: bool = False,
) -> tuple[Any, Any]:
    """The denoiser of all transformers, and the memory of its guidance branches; None where nothing is remembered.

    Args:
        boundary: between two transformers; None where there is one.
        expert: what denoises with a transformer, by its name and guidance.
        memory: makes an empty one.
        one_branch: what denoises remembers one of the branches alone.
    """
    denoise, context = expert("transformer", job.guidance_scale), memory()
    if context is not None and job.guidance_scale > 1 and not one_branch:
        context = Branches(context, memory())
    if job.guidance_scale_2 is not None:
        assert boundary is not None and context is None, "two transformers share no memory"
        low = expert("transformer_2", job.guidance_scale_2)
        denoise = Experts(high=denoise, low=low, boundary=boundary)
    return denoise, context


def in_windows(job: Job, denoise: Any, noise: NoisePolicy, shape: tuple[int, int, int]) -> Any:
    """A denoiser of all frames that shows the given one a window at a time; the given one where there are none."""
    sampling, values = job.sampling, job.sampling.values
    if sampling.windows is None:
        return denoise
    merge: Any = "newest" if sampling.windows == "newest" else "mean"
    windows = Windowed(denoise=denoise, window=values["window"], stride=values["stride"], merge=merge)
    if sampling.windows != "coupled":
        return windows
    return CoupledWindows(
        windows=windows, noise=noise, shape=shape, iterations=values["iterations"], rate=values["rate"]
    )


def rollout_over(
    job: Job,
    denoise: Any,
    noise: NoisePolicy,
    *,
    shape: tuple[int, int, int],
    known_CTHW: Tensor | None,
    device: torch.device,
) -> Rollout[Any]:
    """The job's axes over a denoiser.

    Args:
        shape: of a latent frame; the job's, or a smaller one where nobody looks at the latents.
        known_CTHW: as `Rollout` takes it.
        device: where latents live.
    """
    sampling = job.sampling
    return Rollout(
        denoise=denoise,
        schedule=sampling.schedule,
        table=sampling.table,
        solver=sampling.solver,
        noise=noise,
        frames=job.frames,
        shape=shape,
        policy=sampling.policy,
        prompts=sampling.prompts(job.starts),
        known_CTHW=known_CTHW,
        device=device,
    )
