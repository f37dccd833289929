"""Noise policies: keyed, of unit variance, the same whichever frame is asked for first."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vgen.errors import ConfigError
from vgen.samplers.noise import (
    FixedNoise,
    GivenNoise,
    IndependentNoise,
    NoiseSource,
    ProgressiveNoise,
    RescheduledNoise,
    fresh_clip,
)
from vgen.samplers.protocols import NoisePolicy

SHAPE = (2, 3, 4)
LARGE = (16, 32, 32)
SOURCE = NoiseSource(7)

POLICIES: dict[str, Callable[[NoiseSource], NoisePolicy]] = {
    "fixed": FixedNoise,
    "given": lambda source: GivenNoise(NoiseSource(1).draw("given", 0, 0, (2, 40, 3, 4)), source),
    "independent": IndependentNoise,
    "progressive": lambda source: ProgressiveNoise(source, 2.0),
    "rescheduled": lambda source: RescheduledNoise(source, window=6, stride=4),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frame, or group, of each draw since."""
    frames: list[int] = []
    draw = NoiseSource.draw

    def counted(source: NoiseSource, purpose: str, frame: int, step: int, shape: tuple[int, ...]) -> Tensor:
        frames.append(frame)
        return draw(source, purpose, frame, step, shape)

    monkeypatch.setattr(NoiseSource, "draw", counted)
    return frames


def initial(noise: NoisePolicy, frame: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return noise.initial(frame, shape, None)


@pytest.mark.parametrize("name", POLICIES)
def test_the_order_of_asking_changes_nothing(name: str) -> None:
    ahead, back, anew = (POLICIES[name](SOURCE) for _ in range(3))
    there = [initial(ahead, frame) for frame in range(30)]
    assert all(eps_CHW.shape == SHAPE and eps_CHW.dtype == torch.float32 for eps_CHW in there)
    assert all(torch.equal(initial(back, frame), there[frame]) for frame in (29, 3, 17, 17, 0, 18))
    assert torch.equal(anew.initial(20, SHAPE, torch.ones(SHAPE)), there[20])


@pytest.mark.parametrize("name", POLICIES)
def test_what_the_caller_writes_stays_with_the_caller(name: str) -> None:
    noise = POLICIES[name](SOURCE)
    first = initial(noise, 5)
    kept = first.clone()
    first.clamp_(-0.1, 0.1)
    assert torch.equal(initial(noise, 5), kept)


@pytest.mark.parametrize("name", POLICIES)
def test_noise_comes_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(0)
    noise, same, other = POLICIES[name](SOURCE), POLICIES[name](NoiseSource(7)), POLICIES[name](NoiseSource(8))
    before = torch.get_rng_state()
    assert torch.equal(noise.fresh(2, 5, SHAPE), same.fresh(2, 5, SHAPE))
    assert not torch.equal(noise.fresh(2, 5, SHAPE), other.fresh(2, 5, SHAPE))
    assert torch.equal(initial(noise, 2), initial(same, 2))
    assert torch.equal(initial(noise, 2), initial(other, 2)) == (name == "given")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", POLICIES)
def test_fresh_noise_is_new_to_each_step_save_for_the_fixed_one(name: str) -> None:
    noise = POLICIES[name](SOURCE)
    first, second = noise.fresh(4, 0, SHAPE), noise.fresh(4, 1, SHAPE)
    fixed = name == "fixed"
    assert torch.equal(first, second) == fixed
    assert torch.equal(first, initial(noise, 4)) == fixed


@pytest.mark.parametrize("name", POLICIES)
def test_again_is_the_fresh_noise_side_by_side(name: str) -> None:
    noise = POLICIES[name](SOURCE)
    again_CTHW = noise.again(torch.ones(2, 3, 3, 4), range(4, 7), 9)
    for column, frame in enumerate(range(4, 7)):
        assert torch.equal(again_CTHW[:, column], noise.fresh(frame, 9, SHAPE))


def test_a_clip_of_fresh_noise_has_as_many_latents_as_frames() -> None:
    with pytest.raises(AssertionError, match="3 latents"):
        fresh_clip(IndependentNoise(SOURCE), torch.ones(2, 3, 3, 4), range(4), 0)


def test_given_latents_are_what_they_are_and_no_more() -> None:
    latents_CTHW = torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    noise = GivenNoise(latents_CTHW, SOURCE)
    assert torch.equal(initial(noise, 2), latents_CTHW[:, 2].float())
    for frame in (-1, 3):
        with pytest.raises(AssertionError, match="3 frames"):
            initial(noise, frame)
    with pytest.raises(AssertionError, match="for a rollout of"):
        initial(noise, 0, (2, 4, 3))


windows = st.integers(1, 12).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window)))


@given(windows, st.integers(0, 99))
def test_rescheduled_noise_permutes_the_base_in_every_aligned_window(sizes: tuple[int, int], seed: int) -> None:
    """P22, and the definition: each group is a permutation of the group one window before it."""
    window, stride = sizes
    noise = RescheduledNoise(NoiseSource(seed), window=window, stride=stride)
    base = [noise.base_frame(frame) for frame in range(7 * window)]
    assert base[:window] == [*range(window)]
    for start in range(0, len(base) - window + 1, stride):
        assert sorted(base[start : start + window]) == [*range(window)]
    for start in range(window, len(base) - stride + 1, stride):
        group, earlier = base[start : start + stride], base[start - window : start - window + stride]
        assert sorted(group) == sorted(earlier)


def test_rescheduled_noise_is_that_of_its_base_frame() -> None:
    """So each frame is standard normal; the first window, whatever comes after it, is untouched."""
    noise, independent = RescheduledNoise(SOURCE, window=6, stride=4), IndependentNoise(SOURCE)
    for frame in range(-2, 40):
        assert torch.equal(initial(noise, frame), initial(independent, noise.base_frame(frame)))
    assert [noise.base_frame(frame) for frame in range(-2, 6)] == [*range(-2, 6)]


@pytest.mark.parametrize(("window", "stride"), [(6, 3), (5, 3)])
def test_all_shuffles_are_equally_likely(window: int, stride: int) -> None:
    """In the first group, and in one that lies behind several others."""
    for group in (0, 5):
        start, seeds = window + group * stride, 1200
        seen: dict[tuple[int, ...], int] = {}
        for seed in range(seeds):
            noise = RescheduledNoise(NoiseSource(seed), window=window, stride=stride)
            order = tuple(noise.base_frame(start + place) for place in range(stride))
            earlier = [noise.base_frame(start + place - window) for place in range(stride)]
            relative = tuple(earlier.index(frame) for frame in order)
            seen[relative] = seen.get(relative, 0) + 1
        assert set(seen) == set(itertools.permutations(range(stride)))
        share = 1 / math.factorial(stride)
        assert max(abs(count / seeds - share) for count in seen.values()) < 4 * math.sqrt(share / seeds)


@pytest.mark.parametrize(("stride", "groups"), [(4, 4), (5, 2004)])
def test_a_far_frame_draws_no_shuffle_twice(drawn: list[int], stride: int, groups: int) -> None:
    """Only its own where the stride divides the window, else at most each group in front of it."""
    noise = RescheduledNoise(NoiseSource(stride), window=16, stride=stride)
    far = [noise.base_frame(frame) for frame in range(10_000, 10_016)]
    assert all(0 <= frame < 16 for frame in far)
    assert len(drawn) == len(set(drawn)) <= groups


@pytest.mark.parametrize("frame", [0, 1, 7, 40])
def test_progressive_noise_without_its_past_is_independent(frame: int) -> None:
    assert torch.equal(initial(ProgressiveNoise(SOURCE, 0), frame), initial(IndependentNoise(SOURCE), frame))


def test_progressive_noise_follows_its_definition() -> None:
    alpha = 1.5
    noise, eta = ProgressiveNoise(SOURCE, alpha), IndependentNoise(SOURCE)
    eps_CHW = initial(eta, 0).double()
    assert torch.equal(initial(noise, -1), initial(eta, -1))
    for frame in range(1, 20):
        eps_CHW = (alpha * eps_CHW + initial(eta, frame).double()) / math.sqrt(1 + alpha**2)
        torch.testing.assert_close(initial(noise, frame).double(), eps_CHW, atol=1e-6, rtol=0)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0, 10.0])
def test_progressive_noise_keeps_unit_variance(alpha: float) -> None:
    """P24, and frames d apart correlate by rho^d."""
    noise, rho = ProgressiveNoise(SOURCE, alpha), alpha / math.sqrt(1 + alpha**2)
    sigmas_5 = 5 / math.sqrt(math.prod(LARGE))  # of a mean of products of standard normals
    there = {frame: initial(noise, frame, LARGE) for frame in range(30)}
    for frame in (0, 1, 5, 29):
        assert there[frame].square().mean().item() == pytest.approx(1, abs=sigmas_5 * math.sqrt(2))
    for apart in (1, 3):
        assert (there[20] * there[20 + apart]).mean().item() == pytest.approx(rho**apart, abs=sigmas_5 * math.sqrt(2))


def test_progressive_noise_of_a_long_clip_draws_each_frame_once(drawn: list[int]) -> None:
    noise = ProgressiveNoise(SOURCE, 1.0)
    for frame in range(1000):
        initial(noise, frame)
    assert len(drawn) <= 1001


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RescheduledNoise(SOURCE, window=0, stride=1), "window=0 .* possible: 1 frame and more"),
        (lambda: RescheduledNoise(SOURCE, window=4, stride=0), "stride=0 .* possible: 1 to the window, 4"),
        (lambda: RescheduledNoise(SOURCE, window=4, stride=5), "stride=5 .* possible: 1 to the window, 4"),
        (lambda: ProgressiveNoise(SOURCE, -0.5), r"alpha=-0\.5 .* possible: 0 and more"),
        (lambda: ProgressiveNoise(SOURCE, math.inf), "alpha=inf .* possible: 0 and more, finite"),
        (lambda: ProgressiveNoise(SOURCE, math.nan), "alpha=nan"),
    ],
)
def test_impossible_knobs_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
