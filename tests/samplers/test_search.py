"""Search over rollouts: what it makes, what it leaves alone, and how much it may cost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.oracles import CausalMix, MixContext
from tests.samplers.cases import CASES
from tests.samplers.runs import NOISE, SHAPE, latents, rollout
from vgen.samplers import (
    Attempt,
    Finding,
    IndependentNoise,
    NoisePolicy,
    NoiseSource,
    Piece,
    Progress,
    Pyramid,
    RedrawnNoise,
    Rollout,
    SinkWindow,
    redone,
    redraw,
    replayed,
)

SOURCE = NoiseSource(7)
CAUSAL = Pyramid(num_steps=3, lag=3, block=2)


def noise_of(draw: int) -> NoisePolicy:
    return NOISE if draw == 0 else RedrawnNoise(NOISE, IndependentNoise(redraw(SOURCE, draw)))


def wrong(since: int, score: float = 0.0) -> Finding:
    return Finding(score=score, passed=False, since=since)


@dataclass
class Scripted:
    """Says of a clip up to a piece what a script says of (its first frame, how often that was judged)."""

    script: dict[int, list[Finding]] = field(default_factory=dict)
    asked: Counter[int] = field(default_factory=Counter)

    def begin(self) -> tuple[int, ...]:
        return ()

    def __call__(self, past: tuple[int, ...], latents_BCTHW: Tensor, frames: range) -> tuple[Finding, tuple[int, ...]]:
        assert (*past, *frames) == tuple(range(frames.stop)), f"{frames} do not follow {past}"
        assert latents_BCTHW.shape[2] == len(frames)
        says = self.script.get(frames.start, [Finding(score=1.0, passed=True)])
        finding = says[min(self.asked[frames.start], len(says) - 1)]
        self.asked[frames.start] += 1
        return finding, (*past, *frames)


@dataclass(frozen=True)
class Brightness:
    """Likes bright latents; a clip is as good as its mean, and at fault from its first dark piece on."""

    needed: float

    def begin(self) -> list[tuple[int, float]]:
        return []

    def __call__(
        self, past: list[tuple[int, float]], latents_BCTHW: Tensor, frames: range
    ) -> tuple[Finding, list[tuple[int, float]]]:
        seen = [*past, (frames.start, float(latents_BCTHW.mean()))]
        dark = [start for start, mean in seen if mean < self.needed]
        score = sum(mean for _, mean in seen) / len(seen)
        return Finding(score=score, passed=not dark, since=min(dark, default=0)), seen


def causal(frames: int, policy: SinkWindow | None = None) -> Rollout[Any]:
    return rollout(CausalMix(block=2), CAUSAL, frames, policy=policy)


def searched(
    run: Rollout[Any], verifier: Any, *, redo: int, known: Sequence[Attempt] = ()
) -> list[Progress | Attempt | Piece]:
    return [*redone(run, run.start(MixContext()), verifier, noise_of=noise_of, redo=redo, known=known)]


def pieces(made: list[Any]) -> list[Piece]:
    return [one for one in made if isinstance(one, Piece)]


def judged(made: list[Any]) -> list[Attempt]:
    return [one for one in made if isinstance(one, Attempt)]


def attempts(made: list[Any]) -> list[tuple[int, int]]:
    return [(one.frames.start, one.draw) for one in judged(made)]


def steps(made: list[Any]) -> list[int]:
    return [one.move.index for one in made if isinstance(one, Progress)]


def draws(made: list[Any]) -> list[int]:
    return [piece.draw for piece in pieces(made)]


def clip(made: list[Any]) -> Tensor:
    return torch.cat([one.latents_BCTHW for one in pieces(made) if one.latents_BCTHW is not None], dim=2)


@given(data=st.data(), kind=st.sampled_from(sorted(CASES)))
@settings(max_examples=60)
def test_a_verifier_that_is_content_changes_nothing(data: st.DataObject, kind: str) -> None:
    case = data.draw(CASES[kind])
    known = torch.ones(2, case.known, 3, 4) if case.known else None
    run = rollout(CausalMix(), case.schedule, case.frames, known_CTHW=known)
    made = [*redone(run, run.start(), Scripted(), noise_of=noise_of, redo=2)]
    assert torch.equal(clip(made), latents(run))
    assert {draw for _, draw in attempts(made)} == {0}
    assert steps(made) == list(range(len(steps(made))))
    assert all(one.latents_BCTHW is None for one in made if isinstance(one, Progress))


def test_a_clip_is_made_anew_from_its_first_fault() -> None:
    made = searched(causal(6), Scripted({4: [wrong(3), Finding(score=1.0, passed=True)]}), redo=3)
    assert attempts(made) == [(0, 0), (2, 0), (4, 0), (2, 1), (4, 1)]
    assert draws(made) == [0, 1, 1]
    plain = latents(causal(6), MixContext())
    assert torch.equal(clip(made)[:, :, :2], plain[:, :, :2])
    assert not torch.equal(clip(made)[:, :, 2:4], plain[:, :, 2:4])


def test_where_that_does_not_help_it_goes_back_farther() -> None:
    made = searched(causal(6), Scripted({4: [wrong(4, 0.5)]}), redo=3)
    back = [(4, 1), (2, 2), (4, 2), *((frame, draw) for draw in (3, 4) for frame in (0, 2, 4))]
    assert attempts(made) == [(0, 0), (2, 0), (4, 0), *back]
    assert draws(made) == [0, 0, 0]


def test_what_is_left_goes_into_as_much_as_it_pays_for() -> None:
    made = searched(causal(6), Scripted({4: [wrong(4, 0.5)]}), redo=1)
    assert attempts(made)[3:] == [(4, 1), (2, 2), (4, 2)]
    made = searched(causal(6), Scripted({4: [wrong(2, 0.5)]}), redo=1)
    assert attempts(made)[3:] == [(2, 1), (4, 1)]  # the last piece alone would not mend the one before it


def test_a_bad_beginning_may_end_well() -> None:
    made = searched(causal(6), Scripted({0: [wrong(0)], 2: [wrong(0)]}), redo=3)
    assert attempts(made) == [(0, 0), (2, 0), (4, 0)]


def test_a_try_that_looks_no_better_is_given_up() -> None:
    verifier = Scripted({0: [wrong(0, 0.9), wrong(0, 0.4), wrong(0, 0.6)], 4: [wrong(0, 0.5)]})
    made = searched(causal(6), verifier, redo=2)
    assert attempts(made)[3:] == [(0, 1), (0, 2), (2, 2), (4, 2)]


def test_the_best_that_was_seen_is_what_is_mended() -> None:
    verifier = Scripted({4: [wrong(2, 0.1), wrong(4, 0.3), wrong(4, 0.2), wrong(4, 0.3)]})
    made = searched(causal(6), verifier, redo=2)
    assert attempts(made)[3:] == [(2, 1), (4, 1), (4, 2), (2, 3), (4, 3), (4, 4)]
    assert draws(made) == [0, 1, 1]


def test_of_equals_the_one_that_is_sound_for_longer_stays() -> None:
    made = searched(causal(6), Scripted({4: [wrong(2), wrong(4)]}), redo=1)
    assert draws(made) == [0, 1, 1]


policies = st.builds(SinkWindow, window=st.integers(2, 8), block=st.just(2), noise=st.sampled_from([0.0, 0.2]))


@given(needed=st.floats(-0.2, 0.4), redo=st.integers(0, 3), policy=policies)
@settings(max_examples=40)
def test_tries_leave_no_trace_and_the_draws_make_the_clip_again(needed: float, redo: int, policy: SinkWindow) -> None:
    run = causal(8, policy)
    start = run.start(MixContext())
    made = [*redone(run, start, Brightness(needed), noise_of=noise_of, redo=redo)]
    assert start.step == 0
    assert not start.context.values
    assert [piece.frames for piece in pieces(made)] == [range(0, 2), range(2, 4), range(4, 6), range(6, 8)]
    again = [*replayed(run, run.start(MixContext()), noise_of=noise_of, draws=draws(made))]
    assert torch.equal(clip(again), clip(made))
    by_frame = rollout(CausalMix(block=2), CAUSAL, 8, policy=policy)
    noise = {"noise": ByFrame(draws(made))}
    plain = Rollout(**{name: getattr(by_frame, name) for name in by_frame.__slots__} | noise)
    assert torch.equal(latents(plain, MixContext()), clip(made))
    assert len({*attempts(made)}) == len(attempts(made))  # no noise is tried twice at a place


@given(redo=st.integers(0, 4), needed=st.floats(-0.2, 1.0), frames=st.sampled_from([2, 6, 8]))
@settings(max_examples=40)
def test_it_takes_no_more_steps_than_were_granted_and_ends_no_worse_than_it_began(
    redo: int, needed: float, frames: int
) -> None:
    run = causal(frames)
    made = searched(run, Brightness(needed), redo=redo)
    assert run.total is not None
    assert len(steps(made)) <= (1 + redo) * run.total
    assert steps(made)[: run.total] == [*range(run.total)]  # the first clip is made whole
    first = latents(run, MixContext())
    whole = [one.finding for one in judged(made) if one.step == run.total]
    dark = first.unflatten(2, (-1, 2)).mean(dim=(0, 1, 3, 4, 5)).min() < needed
    assert float(clip(made).mean()) >= float(first.mean()) - 1e-6 or (dark and whole[-1].passed)
    assert float(clip(made).mean()) == pytest.approx(max(whole, key=lambda one: (one.passed, one.score)).score)


@given(needed=st.floats(-0.2, 0.4), redo=st.integers(0, 2), data=st.data())
@settings(max_examples=30)
def test_a_search_that_was_cut_off_goes_on_as_it_would_have(needed: float, redo: int, data: st.DataObject) -> None:
    run, verifier = causal(8), Brightness(needed)
    whole = searched(run, verifier, redo=redo)
    cut = data.draw(st.integers(0, len(judged(whole))))
    rest = searched(run, verifier, redo=redo, known=judged(whole)[:cut])
    assert judged(rest) == judged(whole)[cut:]
    assert draws(rest) == draws(whole)
    assert torch.equal(clip(rest), clip(whole))
    assert len(steps(rest)) <= len(steps(whole))


def test_what_another_search_has_judged_is_not_followed() -> None:
    other = [Attempt(frames=range(0, 2), draw=5, step=3, given=False, finding=wrong(0))]
    made = searched(causal(6), Scripted(), redo=1, known=other)
    assert attempts(made) == [(0, 0), (2, 0), (4, 0)]


def test_a_state_behind_a_piece_goes_on_as_the_search_did() -> None:
    run = causal(8, SinkWindow(window=4, block=2))
    made = searched(run, Scripted({6: [wrong(4), Finding(score=1.0, passed=True)]}), redo=1)
    third = pieces(made)[2]
    redrawn = replace(run, noise=noise_of(third.draw))
    rest = [p.latents_BCTHW for p in redrawn.run(third.state.fork()) if p.latents_BCTHW is not None]
    assert third.draw == 1
    assert torch.equal(torch.cat(rest, dim=2), clip(made)[:, :, 6:])


def test_draws_differ_and_the_first_is_the_seeds_own() -> None:
    assert redraw(SOURCE, 0) == SOURCE
    assert len({redraw(SOURCE, draw).seed for draw in range(100)}) == 100
    assert torch.equal(noise_of(3).fresh(5, -1, SHAPE), NOISE.fresh(5, -1, SHAPE))
    assert not torch.equal(noise_of(3).fresh(5, 0, SHAPE), NOISE.fresh(5, 0, SHAPE))


@dataclass(frozen=True)
class ByFrame:
    """The noise of the draw that each block of two frames took."""

    draws: list[int]

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return noise_of(self.draws[frame // 2]).initial(frame, shape, before)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return noise_of(self.draws[frame // 2]).fresh(frame, step, shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        raise AssertionError("nothing is lifted here")
