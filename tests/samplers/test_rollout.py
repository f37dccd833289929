"""Rollouts against denoisers whose answer is known, and against diffusers' own step."""

import itertools
import math
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler, UniPCMultistepScheduler
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import FrameContext, GaussianMean, KnownTarget
from vgen.errors import NumericalError
from vgen.samplers import (
    Euler,
    GivenNoise,
    IndependentNoise,
    Multistep,
    NoiseSource,
    Progress,
    Pyramid,
    Renoise,
    Rollout,
    SigmaTable,
    SinkWindow,
    Solver,
)

SHAPE = (2, 3, 4)
SOLVERS: list[Solver] = [Euler(), Renoise(), Multistep()]


def table(steps: int) -> SigmaTable:
    return SigmaTable.of([0.0, *torch.linspace(0, 1, steps + 1, dtype=torch.float64)[1:].mul(0.999).tolist()])


def rollout(denoise: object, steps: int, lag: int, frames: int | None, **options: object) -> Rollout[FrameContext]:
    base = {
        "schedule": Pyramid(num_steps=steps, lag=lag),
        "table": table(steps),
        "solver": Euler(),
        "noise": IndependentNoise(NoiseSource(7)),
        "text": None,
        "frames": frames,
        "shape": SHAPE,
    }
    return Rollout(denoise=denoise, **(base | options))  # type: ignore[arg-type]


def latents(run: Rollout[FrameContext], context: FrameContext | None = None) -> torch.Tensor:
    done = [p.latents_BCTHW for p in run.run(run.start(context)) if p.latents_BCTHW is not None]
    return torch.cat(done, dim=2)


@given(steps=st.integers(1, 5), lag=st.integers(0, 5), frames=st.integers(1, 4), which=st.sampled_from([0, 1, 2]))
def test_a_denoiser_that_knows_the_answer_gives_it(steps: int, lag: int, frames: int, which: int) -> None:
    target = NoiseSource(1).draw("target", 0, 0, (2, frames, 3, 4))
    run = rollout(KnownTarget(target), steps, min(lag, steps), frames, solver=SOLVERS[which])
    if run.solver.refusal(run.schedule) is None:
        torch.testing.assert_close(latents(run)[0], target, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lag", [0, 1, 3, 6])
def test_euler_carries_a_gaussian_to_its_known_spread(lag: int) -> None:
    steps, scale = 6, 0.7
    run = rollout(GaussianMean(scale), steps, lag, 3)
    start = torch.stack([run.noise.initial(f, SHAPE) for f in range(3)], dim=1)
    gain = 1.0
    for level in range(steps, 0, -1):  # the recursion x' = x0 + (s'/s)(x - x0) for a linear x0
        s, to = run.table.sigmas[level], run.table.sigmas[level - 1]
        mean = (1 - s) * scale**2 / ((1 - s) ** 2 * scale**2 + s**2)
        gain *= mean + to / s * (1 - mean)
    torch.testing.assert_close(latents(run)[0], gain * start, rtol=1e-5, atol=1e-6)


def test_euler_converges_to_the_exact_flow_in_first_order() -> None:
    """The probability flow of a Gaussian maps noise eps to scale * eps."""
    scale, errors = 0.5, []
    for steps in (8, 16, 32):
        run = rollout(GaussianMean(scale), steps, 0, 1)
        eps = run.noise.initial(0, SHAPE)
        errors.append(float((latents(run)[0, :, 0] - scale * eps).abs().max()))
    assert math.log2(errors[0] / errors[2]) / 2 > 0.8, errors


def test_euler_equals_stock_euler() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    run = rollout(GaussianMean(0.6), 5, 0, 1, table=SigmaTable.from_scheduler(scheduler, 5))
    x = run.noise.initial(0, SHAPE)[None, :, None]
    scheduler.set_timesteps(5)
    for i, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i].double()
        x0 = GaussianMean(0.6)(x, sigma[None, None], frames_T=None, text=None, context=None)
        x = scheduler.step((x - x0) / sigma.float(), t, x, return_dict=False)[0]
    torch.testing.assert_close(latents(run), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_multistep_equals_stock_unipc(steps: int, order: int) -> None:
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=3.0,
        solver_order=order,
    )
    run = rollout(
        GaussianMean(0.6), steps, 0, 1, table=SigmaTable.from_scheduler(scheduler, steps), solver=Multistep(order=order)
    )
    x = run.noise.initial(0, SHAPE)[None, :, None]
    scheduler.set_timesteps(steps)
    for i, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i].double()
        x0 = GaussianMean(0.6)(x, sigma[None, None], frames_T=None, text=None, context=None)
        x = scheduler.step((x - x0) / sigma.float(), t, x, return_dict=False)[0]
    torch.testing.assert_close(latents(run), x, rtol=0, atol=2e-5)


def test_renoise_equals_stock_lcm() -> None:
    scheduler = FlowMatchLCMScheduler(shift=3.0)
    scheduler.set_timesteps(4)
    run = rollout(GaussianMean(0.6), 4, 0, 1, table=SigmaTable.from_scheduler(scheduler, 4), solver=Renoise())
    x = run.noise.initial(0, SHAPE)[None, :, None]
    for k, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[k].double()
        x0 = GaussianMean(0.6)(x, sigma[None, None], frames_T=None, text=None, context=None)
        fresh = run.noise.fresh(0, k, SHAPE)[None, :, None]
        with patch("diffusers.schedulers.scheduling_flow_match_lcm.randn_tensor", return_value=fresh):
            x = scheduler.step((x - x0) / sigma.float(), t, x, return_dict=False)[0]
    torch.testing.assert_close(latents(run), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lag", [1, 2, 4])
def test_streaming_equals_asking_for_all(lag: int) -> None:
    """P21: a stream without end begins with the clip of any length."""
    short = latents(rollout(GaussianMean(0.6), 4, lag, 5))
    endless = rollout(GaussianMean(0.6), 4, lag, None)
    done = (p.latents_BCTHW for p in endless.run(endless.start()) if p.latents_BCTHW is not None)
    assert torch.equal(torch.cat(list(itertools.islice(done, 5)), dim=2), short)


@pytest.mark.parametrize("solver", SOLVERS, ids=["euler", "renoise", "multistep"])
def test_a_saved_state_goes_on_bit_for_bit_and_a_fork_disturbs_nothing(solver: Solver) -> None:
    run = rollout(GaussianMean(0.6), 4, 4, 3, solver=solver)
    whole = latents(run)
    state = run.start()
    walk = run.run(state)
    done: list[Progress] = [next(walk) for _ in range(6)]
    fork = state.fork()
    rest = [*done, *run.run(fork)]
    again = [*done, *run.run(state)]
    for progress in (rest, again):
        assert torch.equal(torch.cat([p.latents_BCTHW for p in progress if p.latents_BCTHW is not None], 2), whole)


def test_known_frames_stay_as_given_and_the_model_is_told_so() -> None:
    known = NoiseSource(3).draw("known", 0, 0, (2, 1, 3, 4))
    denoise = KnownTarget(torch.zeros(2, 3, 3, 4))
    out = latents(rollout(denoise, 3, 0, 3, schedule=Pyramid(num_steps=3, lag=0, block=3), known_CTHW=known))
    assert torch.equal(out[0, :, :1], known)
    assert all(sigmas[0] == 0 and min(sigmas[1:]) > 0 for _, sigmas in denoise.calls)


def test_the_window_forgets_all_but_sink_and_last_frames() -> None:
    context = FrameContext()
    denoise = KnownTarget(torch.zeros(2, 12, 3, 4))
    latents(rollout(denoise, 2, 2, 12, policy=SinkWindow(window=4, sink=1)), context)
    assert context.frames == [0, 8, 9, 10, 11]


def test_noise_is_keyed_by_frame_not_by_call() -> None:
    source = NoiseSource(5)
    assert torch.equal(source.draw("a", 3, 0, (4,)), source.draw("a", 3, 0, (4,)))
    draws = [source.draw(*key, (64,)) for key in (("a", 3, 0), ("b", 3, 0), ("a", 4, 0), ("a", 3, 1))]
    assert len({tuple(d.tolist()) for d in draws}) == 4
    assert abs(float(torch.stack([source.draw("x", i, 0, (64,)) for i in range(64)]).std()) - 1) < 0.05


def test_given_noise_is_what_the_model_sees_first() -> None:
    given_latents = NoiseSource(9).draw("given", 0, 0, (2, 2, 3, 4))
    seen: list[torch.Tensor] = []

    def watch(x_BCTHW: torch.Tensor, sigma_BT: torch.Tensor, **_: object) -> torch.Tensor:
        seen.append(x_BCTHW)
        return x_BCTHW

    run = rollout(watch, 2, 0, 2, schedule=Pyramid(num_steps=2, lag=0, block=2))
    run = replace(run, noise=GivenNoise(given_latents, NoiseSource(0)))
    next(run.run(run.start()))
    assert torch.equal(seen[0][0], given_latents)


def test_a_prediction_that_is_not_finite_stops_the_run_and_says_where() -> None:
    broken = KnownTarget(torch.full((2, 2, 3, 4), float("nan")))
    with pytest.raises(NumericalError, match=r"x0 became non-finite at step 1 of 4, latent frames 0 to 0"):
        latents(rollout(broken, 2, 2, 2))


def test_multistep_runs_on_a_table_that_begins_at_pure_noise() -> None:
    """Euler folders have sigma 1 exactly, where the log-SNR is infinite."""
    euler_table = SigmaTable.from_scheduler(FlowMatchEulerDiscreteScheduler(shift=3.0), 64)
    assert euler_table.sigmas[-1] == 1
    run = rollout(GaussianMean(0.5), 64, 0, 1, table=euler_table, solver=Multistep())
    torch.testing.assert_close(latents(run)[0, :, 0], 0.5 * run.noise.initial(0, SHAPE), rtol=0, atol=0.05)


@pytest.mark.parametrize("lag", [1, 2])
def test_multistep_refuses_levels_that_would_mix(lag: int) -> None:
    reason = Multistep().refusal(Pyramid(num_steps=3, lag=lag))
    assert reason is not None and "lag" in reason
    assert Multistep().refusal(Pyramid(num_steps=3, lag=3)) is None
