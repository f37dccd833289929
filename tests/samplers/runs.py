"""Small rollouts for tests."""

from typing import Any

import torch
from torch import Tensor

from vgen.samplers import (
    Denoiser,
    Euler,
    FrameSchedule,
    IndependentNoise,
    NoiseSource,
    Rollout,
    SigmaTable,
    SinkWindow,
    Solver,
    Timeline,
)

__all__ = ["NOISE", "SHAPE", "latents", "rollout", "some_clip", "table"]

SHAPE = (2, 3, 4)
NOISE = IndependentNoise(NoiseSource(7))


def table(steps: int) -> SigmaTable:
    return SigmaTable.of([0.0, *torch.linspace(0, 1, steps + 1, dtype=torch.float64)[1:].mul(0.999).tolist()])


def rollout(
    denoise: Denoiser[Any],
    schedule: FrameSchedule,
    frames: int | None,
    *,
    solver: Solver | None = None,
    policy: SinkWindow | None = None,
    prompts: Timeline | None = None,
    known_CTHW: Tensor | None = None,
) -> Rollout[Any]:
    return Rollout(
        denoise=denoise,
        schedule=schedule,
        table=table(schedule.num_steps),
        solver=solver or Euler(),
        noise=NOISE,
        frames=frames,
        shape=SHAPE,
        policy=policy,
        prompts=prompts or Timeline(),
        known_CTHW=known_CTHW,
    )


def latents(run: Rollout[Any], context: Any = None) -> Tensor:
    """The whole clip, [B, C, T, H, W]."""
    done = [p.latents_BCTHW for p in run.run(run.start(context)) if p.latents_BCTHW is not None]
    return torch.cat(done, dim=2)


def some_clip(frames: int, seed: int = 1) -> Tensor:
    """[C, T, H, W]."""
    return NoiseSource(seed).draw("clip", frames, 0, (SHAPE[0], frames, *SHAPE[1:]))
