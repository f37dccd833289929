"""Rollouts against denoisers whose answer is known, over all schedules and solvers."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.oracles import CausalMix, FrameContext, GaussianMean, KnownTarget, MixContext
from tests.samplers.cases import CASES
from tests.samplers.runs import NOISE, SHAPE, latents, rollout, some_clip, table
from vgen.errors import NumericalError
from vgen.samplers import (
    Capped,
    Cue,
    Euler,
    FrameSchedule,
    GivenNoise,
    Lift,
    Multistep,
    NoiseSource,
    Pyramid,
    Queue,
    Renoise,
    Repeated,
    SinkWindow,
    Solver,
    Trapezoid,
)

SOLVERS: dict[str, Solver] = {"euler": Euler(), "renoise": Renoise(), "multistep": Multistep()}
POLICIES = st.none() | st.builds(
    SinkWindow,
    window=st.integers(1, 9),
    sink=st.integers(0, 3),
    memory=st.sampled_from(["kv", "refeed"]),
    noise=st.sampled_from([0.0, 0.1]),
    on_prompt=st.sampled_from(["keep", "flush", "recache"]),
)
every_schedule = pytest.mark.parametrize("kind", CASES)


@every_schedule
@given(data=st.data(), solver=st.sampled_from(list(SOLVERS.values())), policy=POLICIES)
@settings(max_examples=40)
def test_p20_a_denoiser_that_knows_the_answer_gives_it(
    kind: str, data: st.DataObject, solver: Solver, policy: SinkWindow | None
) -> None:
    case = data.draw(CASES[kind])
    if solver.refusal(case.schedule) is not None:
        return
    target = some_clip(case.frames)
    if isinstance(case.schedule, Capped):  # a ramp frame without noise is the last known frame again
        for frame in range(case.known, case.frames):
            if case.schedule.caps[frame - case.known :][:1] == (0,):
                target[:, frame] = target[:, case.known - 1]
    known = target[:, : case.known] if case.known else None
    run = rollout(KnownTarget(target), case.schedule, case.frames, solver=solver, policy=policy, known_CTHW=known)
    context = FrameContext() if policy is not None and policy.memory == "kv" else None
    torch.testing.assert_close(latents(run, context)[0], target, rtol=0, atol=1e-6)


@every_schedule
@given(data=st.data(), solver=st.sampled_from([Euler(), Renoise()]))
@settings(max_examples=20)
def test_p17_frames_that_a_step_leaves_alone_keep_their_bits(kind: str, data: st.DataObject, solver: Solver) -> None:
    case = data.draw(CASES[kind])
    known = some_clip(case.known) if case.known else None
    run = rollout(GaussianMean(0.7), case.schedule, case.frames, solver=solver, known_CTHW=known)
    state = run.start()
    before: dict[int, Tensor] = {}
    for progress in run.run(state):
        move = progress.move
        if isinstance(move, Lift):
            changed = {f for f, level in zip(move.frames, move.levels, strict=True) if level > 0}
        else:
            changed = {f for f, a, b in zip(move.frames, move.level_from, move.level_to, strict=True) if a != b}
        for frame in set(before) & set(state.latents) - changed:
            assert torch.equal(before[frame], state.latents[frame])
        before = {frame: latent.clone() for frame, latent in state.latents.items()}


# --- a linear denoiser: what Euler makes of the noise can be computed ------------------------------------------------


def fall(scale: float, levels: list[int], steps: int) -> float:
    """What remains of x where Euler goes down these levels: the product of mean + (s' / s) (1 - mean), x0 = mean x."""
    gain, sigmas = 1.0, table(steps).sigmas
    for level, to in pairwise(levels):
        mean = float(GaussianMean(scale).gain(sigmas[level]))
        gain *= mean + sigmas[to] / sigmas[level] * (1 - mean)
    return gain


def initial(frames: range) -> Tensor:
    return torch.stack([NOISE.initial(f, SHAPE, None) for f in frames], dim=1)


ALONE: list[FrameSchedule] = [
    *(Pyramid(num_steps=6, lag=lag, block=block) for lag in (0, 1, 4, 6) for block in (1, 2)),
    Pyramid(num_steps=6, lag=2, block=1, clip=2),
    Pyramid(num_steps=6, lag=0, block=2, clip=2),
    Pyramid(num_steps=6, lag=6, ahead=3),
    Trapezoid(num_steps=6, lag=0),
    Trapezoid(num_steps=6, lag=2),
    Trapezoid(num_steps=6, lag=6),
    Queue(num_steps=6, window=3, lookahead=False, primer=False),
    Queue(num_steps=6, window=4, lookahead=True, primer=False),
    Repeated(num_steps=6, passes=1),
]


@pytest.mark.parametrize(
    ("solver", "schedule"),
    [(name, schedule) for name in ("euler", "multistep") for schedule in ALONE if not SOLVERS[name].refusal(schedule)],
    ids=repr,
)
def test_p20_each_frame_falls_as_if_it_were_alone(solver: str, schedule: FrameSchedule) -> None:
    """The covariance at the end is known: gain^2 times that of the noise."""
    alone = latents(rollout(GaussianMean(0.7), Pyramid(num_steps=6, lag=0), 1, solver=SOLVERS[solver]))
    gain = float((alone[0, :, 0] / initial(range(1))[:, 0]).mean())
    if solver == "euler":
        assert gain == pytest.approx(fall(0.7, [6, 5, 4, 3, 2, 1, 0], 6), rel=1e-5)
    out = latents(rollout(GaussianMean(0.7), schedule, 4, solver=SOLVERS[solver]))
    torch.testing.assert_close(out[0], gain * initial(range(4)), rtol=1e-5, atol=1e-6)


def test_p20_a_ramp_starts_from_the_known_frame_at_its_own_noise() -> None:
    steps, caps, known = 4, (1, 3), some_clip(2)
    out = latents(rollout(GaussianMean(0.7), Capped(num_steps=steps, caps=caps), 6, known_CTHW=known))[0]
    assert torch.equal(out[:, :2], known)
    for i, cap in enumerate(caps):
        sigma = table(steps).sigmas[cap]
        start = (1 - sigma) * known[:, -1] + sigma * NOISE.initial(2 + i, SHAPE, None)
        gain = fall(0.7, list(range(cap, -1, -1)), steps)
        torch.testing.assert_close(out[:, 2 + i], gain * start, rtol=1e-5, atol=1e-6)
    gain = fall(0.7, list(range(steps, -1, -1)), steps)
    torch.testing.assert_close(out[:, 4:], gain * initial(range(4, 6)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fast", [False, True])
def test_p20_a_repeated_fall_starts_from_the_clip_under_new_noise(fast: bool) -> None:
    steps = 4
    out = latents(rollout(GaussianMean(0.7), Repeated(num_steps=steps, passes=2, fast=fast), 3))[0]
    first = [4, 2, 0] if fast else [4, 3, 2, 1, 0]
    sigma = table(steps).sigmas[steps]
    again = torch.stack([NOISE.fresh(f, len(first) - 1, SHAPE) for f in range(3)], dim=1)
    start = (1 - sigma) * fall(0.7, first, steps) * initial(range(3)) + sigma * again
    torch.testing.assert_close(out, fall(0.7, [4, 3, 2, 1, 0], steps) * start, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lookahead", [False, True])
def test_p20_a_queue_starts_from_a_clip_under_noise_by_place(lookahead: bool) -> None:
    steps, window = 8, 4
    out = latents(rollout(GaussianMean(0.7), Queue(num_steps=steps, window=window, lookahead=lookahead), 7))[0]
    whole = fall(0.7, list(range(steps, -1, -1)), steps)
    for frame in range(window):
        level = steps - window + 1 + frame
        sigma = table(steps).sigmas[level]
        start = (1 - sigma) * whole * NOISE.initial(frame, SHAPE, None) + sigma * NOISE.fresh(frame, steps, SHAPE)
        gain = fall(0.7, list(range(level, -1, -1)), steps)
        torch.testing.assert_close(out[:, frame], gain * start, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out[:, window:], whole * initial(range(window, 7)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("primer", [False, True])
@pytest.mark.parametrize("frames", [3, 9])
def test_p29_looking_ahead_changes_nothing_where_frames_do_not_see_each_other(frames: int, primer: bool) -> None:
    plain, looking = (Queue(num_steps=8, window=4, lookahead=ahead, primer=primer) for ahead in (False, True))
    a, b = (latents(rollout(GaussianMean(0.7), queue, frames)) for queue in (plain, looking))
    assert torch.equal(a, b)


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_p18_known_frames_leave_the_others_as_they_would_be(lag: int) -> None:
    schedule = Pyramid(num_steps=3, lag=lag, block=2)
    whole = latents(rollout(GaussianMean(0.7), schedule, 8))
    known = latents(rollout(GaussianMean(0.7), schedule, 8, known_CTHW=whole[0, :, :4]))
    assert torch.equal(known, whole)


# --- the two ends of the family, written out --------------------------------------------------------------------------


def fallen(x_BCTHW: Tensor, x0_BCTHW: Tensor, level: int, steps: int) -> Tensor:
    """Euler's next latents."""
    sigmas = table(steps).sigmas
    return x0_BCTHW + (sigmas[level - 1] / sigmas[level]) * (x_BCTHW - x0_BCTHW)


def ask(
    denoise: CausalMix, x_BCTHW: Tensor, level: int, steps: int, first: int, memory: MixContext | None = None
) -> Tensor:
    count = x_BCTHW.shape[2]
    sigma_BT = torch.full((1, count), table(steps).sigmas[level], dtype=torch.float64)
    frames = tuple(range(first, first + count))
    return denoise(x_BCTHW, sigma_BT, frames=frames, cues=(Cue(prompt=0),) * count, context=memory)


def test_p14_lag_0_is_the_ordinary_sampler() -> None:
    steps, frames, mix = 5, 6, CausalMix(block=6)
    x_BCTHW = initial(range(frames))[None]
    for level in range(steps, 0, -1):
        x_BCTHW = fallen(x_BCTHW, ask(mix, x_BCTHW, level, steps, 0), level, steps)
    for schedule in (
        Pyramid(num_steps=steps, lag=0),
        Pyramid(num_steps=steps, lag=0, block=6),
        Repeated(num_steps=steps, passes=1),
        Trapezoid(num_steps=steps, lag=0),
    ):
        assert torch.equal(latents(rollout(mix, schedule, frames)), x_BCTHW)


@pytest.mark.parametrize("block", [1, 2])
def test_p14_lag_s_is_one_block_after_the_other(block: int) -> None:
    """Each falls with the clean ones before it in a cache, and is then written to it."""
    steps, blocks, mix, memory = 3, 4, CausalMix(block=block), MixContext()
    done = []
    for first in range(0, blocks * block, block):
        frames = range(first, first + block)
        x_BCTHW = initial(frames)[None]
        for level in range(steps, 0, -1):
            x_BCTHW = fallen(x_BCTHW, ask(mix, x_BCTHW, level, steps, first, memory), level, steps)
        mix.commit(x_BCTHW, frames=tuple(frames), cues=(Cue(prompt=0),) * block, context=memory)
        done.append(x_BCTHW)
    run = rollout(mix, Pyramid(num_steps=steps, lag=steps, block=block), blocks * block)
    assert torch.equal(latents(run, MixContext()), torch.cat(done, dim=2))


# --- what is known, what is given, what fails ------------------------------------------------------------------------


def test_known_frames_stay_as_given_and_the_model_is_told_so() -> None:
    known = some_clip(1)
    denoise = KnownTarget(torch.zeros(2, 3, 3, 4))
    out = latents(rollout(denoise, Pyramid(num_steps=3, lag=0, block=3), 3, known_CTHW=known))
    assert torch.equal(out[0, :, :1], known)
    assert all(call.sigmas[0] == call.labels[0] == 0 and min(call.sigmas[1:]) > 0 for call in denoise.calls)


def test_a_ramp_is_told_one_level_for_all() -> None:
    denoise = KnownTarget(torch.zeros(2, 4, 3, 4))
    latents(rollout(denoise, Capped(num_steps=3, caps=(1,)), 4, known_CTHW=some_clip(1)))
    sigmas = table(3).sigmas
    assert [call.labels for call in denoise.calls] == [[sigmas[level]] * 4 for level in (3, 2, 1)]
    assert [call.sigmas for call in denoise.calls] == [
        [0, sigmas[1], sigmas[level], sigmas[level]] for level in (3, 2, 1)
    ]


def test_given_noise_is_what_the_model_sees_first() -> None:
    given_CTHW = some_clip(2)
    denoise = KnownTarget(torch.zeros(2, 2, 3, 4))
    run = rollout(denoise, Pyramid(num_steps=2, lag=0, block=2), 2)
    run = replace(run, noise=GivenNoise(given_CTHW, NoiseSource(0)))
    next(run.run(run.start()))
    assert torch.equal(denoise.calls[0].x_BCTHW[0], given_CTHW)


def test_a_noise_policy_is_shown_the_frame_in_front_as_it_stands() -> None:
    """Noisy as it is, and nothing where it is gone or was never there."""
    asked: dict[int, Tensor | None] = {}

    class Asked:
        def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
            asked[frame] = before
            return NOISE.initial(frame, shape, before)

        def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
            return NOISE.fresh(frame, step, shape)

        def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
            return NOISE.again(x0_CTHW, frames, step)

    run = replace(rollout(GaussianMean(0.7), Pyramid(num_steps=2, lag=1), 3), noise=Asked())
    state = run.start()
    held: list[dict[int, Tensor]] = []
    for _ in run.run(state):
        held.append(dict(state.latents))
    assert asked[0] is None
    for frame in (1, 2):
        before = asked[frame]
        assert before is not None and torch.equal(before, held[frame - 1][frame - 1][0])


@pytest.mark.parametrize(
    ("schedule", "where"),
    [
        (Pyramid(num_steps=2, lag=2), "step 1 of 4, latent frames 0 to 0"),
        (Repeated(num_steps=2, passes=1), "step 1 of 2, latent frames 0 to 1"),
    ],
)
def test_a_prediction_that_is_not_finite_stops_the_run_and_says_where(schedule: FrameSchedule, where: str) -> None:
    broken = KnownTarget(torch.full((2, 2, 3, 4), math.nan))
    with pytest.raises(NumericalError, match=f"x0 became non-finite at {where}"):
        latents(rollout(broken, schedule, 2))


def test_a_failed_step_leaves_the_state_where_it_was() -> None:
    target = some_clip(2)
    target[:, 1] = math.inf
    run = rollout(KnownTarget(target), Pyramid(num_steps=2, lag=2), 2)
    state = run.start()
    with pytest.raises(NumericalError, match="step 3 of 4, latent frames 1 to 1"):
        list(run.run(state))
    assert (state.step, state.front) == (2, 1)
