"""Saving, resuming and forking: the same bits, wherever a run is cut."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.oracles import CausalMix, GaussianMean, MixContext
from tests.samplers.cases import CASES
from tests.samplers.runs import NOISE, latents, rollout, some_clip
from vgen.samplers import (
    CoherentTail,
    Euler,
    Multistep,
    Progress,
    ProgressiveNoise,
    Pyramid,
    Renoise,
    Rollout,
    RolloutState,
    SinkWindow,
    Solver,
    Timeline,
)
from vgen.samplers.context import Memory, OnPrompt
from vgen.samplers.noise import NoiseSource


@dataclass
class Cut:
    """A run after a number of moves: what is saved, and what had become of the context."""

    saved: dict[str, Tensor]
    context: MixContext | None
    finished: list[Tensor]


def cuts(run: Rollout[Any], context: MixContext | None, moves: int | None = None) -> list[Cut]:
    """A run at its beginning and after each move."""

    def cut() -> Cut:
        saved = {key: value.clone() for key, value in state.state_dict().items()}
        return Cut(saved, None if context is None else state.context.fork(), list(finished))

    state, finished = run.start(context), list[Tensor]()
    all_cuts = [cut()]
    for progress in run.run(state):
        finished += chunk(progress)
        all_cuts.append(cut())
        if moves is not None and len(all_cuts) > moves:
            break
    return all_cuts


def chunk(progress: Progress) -> list[Tensor]:
    return [] if progress.latents_BCTHW is None else [progress.latents_BCTHW]


def brought_back(run: Rollout[Any], at: Cut) -> RolloutState:
    """The state from what was saved and the frames that had been handed out."""
    state = RolloutState.from_state_dict(at.saved, context=None if at.context is None else MixContext())
    run.resume(state, lambda frames: torch.cat(at.finished, dim=2)[:, :, frames.start : frames.stop])
    return state


def assert_same(state: RolloutState, at: Cut) -> None:
    now = state.state_dict()
    assert now.keys() == at.saved.keys()
    assert all(torch.equal(now[key], at.saved[key]) for key in now)
    assert at.context is None or state.context.same(at.context)


def assert_any_cut_heals(make: Callable[[], Rollout[Any]], context: bool, moves: int | None = None) -> None:
    """Brought back at any cut the state is what it was, and one move later what it was then; so are all that follow."""
    run = make()
    along = cuts(run, MixContext() if context else None, moves)
    assert len(along) > 5
    for at, after in pairwise(along):
        run = make()
        state = brought_back(run, at)
        assert_same(state, at)
        progress = next(run.run(state))
        assert_same(state, after)
        got = [*at.finished, *chunk(progress)]
        assert len(got) == len(after.finished)
        assert all(torch.equal(a, b) for a, b in zip(got, after.finished, strict=True))
    end = brought_back(make(), along[-1])
    assert moves is not None or list(make().run(end)) == []


@pytest.mark.parametrize("lag", [1, 2, 3])
@pytest.mark.parametrize("sink", [0, 2])
@pytest.mark.parametrize("on_prompt", ["keep", "flush", "recache"])
@pytest.mark.parametrize("memory", ["kv", "refeed"])
def test_p33_a_run_goes_on_from_any_move_to_the_last_bit(
    memory: Memory, on_prompt: OnPrompt, sink: int, lag: int
) -> None:
    """With two changes of prompt, one within a block, and noise on what is remembered."""

    def make() -> Rollout[Any]:
        return rollout(
            CausalMix(block=2),
            Pyramid(num_steps=3, lag=lag, block=2),
            12,
            solver=Renoise(),
            policy=SinkWindow(window=6, sink=sink, memory=memory, noise=0.1, on_prompt=on_prompt, kept=1, block=2),
            prompts=Timeline((0, 4, 9)),
            known_CTHW=some_clip(3),
        )

    assert_any_cut_heals(make, memory == "kv")


@pytest.mark.parametrize("kind", CASES)
@given(data=st.data(), solver=st.sampled_from([Renoise(), Multistep()]))
@settings(max_examples=10)
def test_p33_every_schedule_can_be_cut(kind: str, data: st.DataObject, solver: Solver) -> None:
    case = data.draw(CASES[kind].filter(lambda c: c.schedule.total(c.frames, known=c.known) > 4))
    solver = Euler() if solver.refusal(case.schedule) else solver
    known = some_clip(case.known) if case.known else None
    assert_any_cut_heals(
        lambda: rollout(CausalMix(), case.schedule, case.frames, solver=solver, known_CTHW=known), context=False
    )


@pytest.mark.parametrize(
    "noise", [CoherentTail(NOISE), ProgressiveNoise(NoiseSource(7), 2.0)], ids=["tail", "progressive"]
)
def test_p33_noise_that_depends_on_the_frame_in_front_comes_back(noise: CoherentTail | ProgressiveNoise) -> None:
    policy = SinkWindow(window=4, memory="refeed")

    def make() -> Rollout[Any]:
        fresh = replace(noise)  # what it may keep for speed is not part of a state
        return replace(rollout(CausalMix(), Pyramid(num_steps=3, lag=1), 8, policy=policy), noise=fresh)

    assert_any_cut_heals(make, context=False)


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize("memory", ["kv", "refeed"])
def test_p21b_ten_frames_and_then_ten_more_are_twenty(memory: Memory, lag: int) -> None:
    """A stream without end, left, saved and taken up again; what it has made of a clip is that clip's beginning."""

    def make() -> Rollout[Any]:
        return rollout(
            CausalMix(),
            Pyramid(num_steps=3, lag=lag),
            None,
            policy=SinkWindow(window=8, sink=1, memory=memory),
            prompts=Timeline((0, 6)),
        )

    def made(run: Rollout[Any], state: RolloutState, count: int) -> list[Tensor]:
        done = list[Tensor]()
        for progress in run.run(state):
            done += chunk(progress)
            if len(done) == count:
                break
        return done

    context = MixContext() if memory == "kv" else None
    first, state = make(), make().start(context)
    ten = made(first, state, 10)
    saved = Cut(state.state_dict(), state.context, ten)
    again = make()
    ten_more = made(again, brought_back(again, saved), 10)
    whole = make()
    twenty = made(whole, whole.start(MixContext() if memory == "kv" else None), 20)
    assert all(torch.equal(a, b) for a, b in zip([*ten, *ten_more], twenty, strict=True))


def test_a_stream_without_end_can_be_cut_anywhere() -> None:
    policy = SinkWindow(window=3, sink=1, on_prompt="recache")

    def make() -> Rollout[Any]:
        return rollout(CausalMix(), Pyramid(num_steps=2, lag=1), None, policy=policy, prompts=Timeline((0, 3)))

    assert_any_cut_heals(make, context=True, moves=14)


@pytest.mark.parametrize("lag", [1, 3])
def test_p34_forks_are_equal_and_leave_the_parent_alone(lag: int) -> None:
    run = rollout(
        CausalMix(block=2),
        Pyramid(num_steps=3, lag=lag, block=2),
        8,
        policy=SinkWindow(window=4, sink=2),
        solver=Renoise(),
    )
    whole = latents(run, MixContext())
    state = run.start(MixContext())
    walk = run.run(state)
    done = [piece for _ in range(5) for piece in chunk(next(walk))]
    before = Cut({key: value.clone() for key, value in state.state_dict().items()}, state.context.fork(), done)
    ends = []
    for fork in (state.fork(), state.fork()):
        rest = [piece for progress in run.run(fork) for piece in chunk(progress)]
        ends.append(torch.cat([*done, *rest], dim=2))
        assert_same(state, before)
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], whole)
    rest = [piece for progress in walk for piece in chunk(progress)]
    assert torch.equal(torch.cat([*done, *rest], dim=2), whole)


def test_a_fork_may_take_another_way() -> None:
    run = rollout(GaussianMean(0.7), Pyramid(num_steps=3, lag=3), 3, solver=Renoise())
    state = run.start()
    walk = run.run(state)
    first = [piece for _ in range(3) for piece in chunk(next(walk))]
    other = replace(run, noise=replace(NOISE, source=NoiseSource(8)))
    branch = torch.cat([*first, *(piece for p in other.run(state.fork()) for piece in chunk(p))], dim=2)
    main = torch.cat([*first, *(piece for p in walk for piece in chunk(p))], dim=2)
    assert torch.equal(main, latents(run))
    assert torch.equal(branch[:, :, :1], main[:, :, :1]) and not torch.allclose(branch[:, :, 1:], main[:, :, 1:])
