"""Solvers against diffusers' own steps, and against the exact flow of a Gaussian."""

import math
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler, UniPCMultistepScheduler
from torch import Tensor

from tests.oracles import GaussianMean
from tests.samplers.runs import NOISE, SHAPE, latents, rollout, table
from vgen.samplers import Euler, Multistep, Pyramid, Renoise, SigmaTable, Step, Trapezoid

FIRST_BCTHW = NOISE.initial(0, SHAPE, None)[None, :, None]


def clean(x_BCTHW: Tensor, sigma: float) -> Tensor:
    return x_BCTHW * GaussianMean(0.6).gain(sigma)


def one_frame(steps: int) -> Pyramid:
    return Pyramid(num_steps=steps, lag=0)


def test_euler_converges_to_the_exact_flow_in_first_order() -> None:
    """The probability flow of a Gaussian maps noise eps to scale * eps."""
    errors = []
    for steps in (8, 16, 32):
        out = latents(rollout(GaussianMean(0.5), one_frame(steps), 1))
        errors.append(float((out - 0.5 * FIRST_BCTHW).abs().max()))
    assert math.log2(errors[0] / errors[2]) / 2 > 0.8, errors


def test_p25_euler_equals_stock_euler() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    run = replace(rollout(GaussianMean(0.6), one_frame(5), 1), table=SigmaTable.from_scheduler(scheduler, 5))
    x = FIRST_BCTHW
    scheduler.set_timesteps(5)
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[i])
        x = scheduler.step((x - clean(x, sigma)) / sigma, t, x, return_dict=False)[0]
    torch.testing.assert_close(latents(run), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_p25_multistep_equals_stock_unipc(steps: int, order: int) -> None:
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=3.0,
        solver_order=order,
    )
    run = rollout(GaussianMean(0.6), one_frame(steps), 1, solver=Multistep(order=order))
    run = replace(run, table=SigmaTable.from_scheduler(scheduler, steps))
    x = FIRST_BCTHW
    scheduler.set_timesteps(steps)
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[i])
        x = scheduler.step((x - clean(x, sigma)) / sigma, t, x, return_dict=False)[0]
    torch.testing.assert_close(latents(run), x, rtol=0, atol=2e-5)


def test_p25_renoise_equals_stock_lcm() -> None:
    scheduler = FlowMatchLCMScheduler(shift=3.0)
    scheduler.set_timesteps(4)
    run = rollout(GaussianMean(0.6), one_frame(4), 1, solver=Renoise())
    run = replace(run, table=SigmaTable.from_scheduler(scheduler, 4))
    x = FIRST_BCTHW
    for k, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[k])
        fresh = NOISE.fresh(0, k, SHAPE)[None, :, None]
        with patch("diffusers.schedulers.scheduling_flow_match_lcm.randn_tensor", return_value=fresh):
            x = scheduler.step((x - clean(x, sigma)) / sigma, t, x, return_dict=False)[0]
    torch.testing.assert_close(latents(run), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", [Euler(), Renoise(), Multistep()], ids=["euler", "renoise", "multistep"])
def test_p25_a_step_to_no_noise_is_the_prediction(solver: Euler | Renoise | Multistep) -> None:
    step = Step(index=3, frames=range(1), level_from=(2,), level_to=(0,), commit=range(0))
    x0 = NOISE.fresh(5, 5, SHAPE)[None, :, None]
    assert torch.equal(solver(FIRST_BCTHW, x0, step, table(4), NOISE, {})[0], x0)


@pytest.mark.parametrize("solver", [Euler(), Renoise(), Multistep()], ids=["euler", "renoise", "multistep"])
def test_p17_a_solver_leaves_frames_alone_that_do_not_fall(solver: Euler | Renoise | Multistep) -> None:
    """Clean ones, and those that wait as noise."""
    step = Step(index=3, frames=range(3), level_from=(0, 2, 4), level_to=(0, 1, 4), commit=range(0))
    x, x0 = (torch.stack([NOISE.fresh(f, k, SHAPE) for f in range(3)], dim=1)[None] for k in (0, 1))
    out, _ = solver(x, x0, step, table(4), NOISE, {})
    assert torch.equal(out[:, :, [0, 2]], x[:, :, [0, 2]])
    alone = Step(index=3, frames=range(1, 2), level_from=(2,), level_to=(1,), commit=range(0))
    assert torch.equal(out[:, :, 1:2], solver(x[:, :, 1:2], x0[:, :, 1:2], alone, table(4), NOISE, {})[0])


def test_multistep_runs_on_a_table_that_begins_at_pure_noise() -> None:
    """Euler folders have sigma 1 exactly, where the log-SNR is infinite."""
    euler_table = SigmaTable.from_scheduler(FlowMatchEulerDiscreteScheduler(shift=3.0), 64)
    assert euler_table.sigmas[-1] == 1
    run = replace(rollout(GaussianMean(0.5), one_frame(64), 1, solver=Multistep()), table=euler_table)
    torch.testing.assert_close(latents(run), 0.5 * FIRST_BCTHW, rtol=0, atol=0.05)


@pytest.mark.parametrize("lag", [1, 2])
def test_multistep_refuses_levels_that_would_mix(lag: int) -> None:
    for schedule in (Pyramid(num_steps=3, lag=lag), Trapezoid(num_steps=3, lag=lag)):
        reason = Multistep().refusal(schedule)
        assert reason is not None and "lag" in reason
    assert Multistep().refusal(Pyramid(num_steps=3, lag=3)) is None
