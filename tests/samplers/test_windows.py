"""Overlapping windows: put together without seams in weight, and made to agree."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.oracles import CausalMix, GaussianMean, KnownTarget
from tests.samplers.runs import SHAPE, latents, rollout, some_clip
from vgen.samplers import CoupledWindows, Cue, FixedNoise, NoiseSource, Pyramid, Renoise, Windowed
from vgen.shapes import window_starts

BASELINE = FixedNoise(NoiseSource(3))

sizes = st.integers(1, 8).flatmap(
    lambda window: st.tuples(st.integers(1, 20), st.just(window), st.integers(1, window))
)  # frames, window, stride


@dataclass(frozen=True)
class Answer:
    """A denoiser that is one function of the frames it is shown."""

    of: Callable[[tuple[int, ...]], list[float]]

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: Any,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        assert x_BCTHW.shape[2] == sigma_BT.shape[1] == len(frames) == len(cues)
        assert label_BT is None or label_BT.shape == sigma_BT.shape
        return torch.tensor(self.of(frames)).view(1, 1, -1, 1, 1).expand_as(x_BCTHW)

    def commit(
        self,
        x0_BCTHW: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: Any,
        label: float = 0.0,
    ) -> None:
        raise AssertionError("windows have no memory")


def ask(denoise: Windowed | CoupledWindows, x_BCTHW: Tensor, sigma: float = 0.5) -> Tensor:
    count = x_BCTHW.shape[2]
    return denoise(x_BCTHW, torch.full((1, count), sigma), frames=tuple(range(count)), cues=(Cue(prompt=0),) * count)


def together(frames: int, steps: int = 3) -> Pyramid:
    return Pyramid(num_steps=steps, lag=0, block=frames)


@given(sizes)
def test_windows_cover_all_frames_and_reach_beyond_none(size: tuple[int, int, int]) -> None:
    frames, window, stride = size
    starts = window_starts(frames, window, stride)
    covered = {f for start in starts for f in range(start, start + window)}
    assert covered >= set(range(frames)) and (covered == set(range(frames)) or frames < window)
    assert all(0 < b - a <= stride for a, b in pairwise(starts))
    assert starts[0] == 0


@given(sizes, st.sampled_from(["mean", "newest"]))
def test_p27_what_is_constant_stays_constant(size: tuple[int, int, int], merge: Literal["mean", "newest"]) -> None:
    """Weights are a partition of unity, at a ragged tail too (there diffusers' FreeNoise scales the last frames)."""
    frames, window, stride = size
    windowed = Windowed(denoise=Answer(lambda shown: [3.0] * len(shown)), window=window, stride=stride, merge=merge)
    out = ask(windowed, torch.zeros(1, 2, frames, 1, 1))
    torch.testing.assert_close(out, torch.full_like(out, 3.0), rtol=1e-6, atol=0)


@given(sizes)
def test_a_frame_is_the_mean_of_its_windows_or_that_of_the_newest(size: tuple[int, int, int]) -> None:
    frames, window, stride = size
    starts = window_starts(frames, window, stride)
    first = Answer(lambda shown: [float(shown[0])] * len(shown))
    holding = [[start for start in starts if start <= f < start + window] for f in range(frames)]
    mean = [sum(seen) / len(seen) for seen in holding]
    newest = [float(seen[-1]) for seen in holding]
    windowed = Windowed(denoise=first, window=window, stride=stride)
    for machine, expected in ((windowed, mean), (replace(windowed, merge="newest"), newest)):
        out = ask(machine, torch.zeros(1, 1, frames, 1, 1))
        torch.testing.assert_close(out.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("window", [5, 9])
@pytest.mark.parametrize("merge", ["mean", "newest"])
def test_p27_one_window_over_the_whole_clip_is_the_model_itself(window: int, merge: Literal["mean", "newest"]) -> None:
    mix = CausalMix(block=5)
    plain = rollout(mix, together(5), 5, known_CTHW=some_clip(1))
    assert torch.equal(
        latents(plain), latents(replace(plain, denoise=Windowed(denoise=mix, window=window, stride=2, merge=merge)))
    )


@given(sizes)
@settings(max_examples=15)
def test_p28_windows_change_nothing_where_frames_do_not_see_each_other(size: tuple[int, int, int]) -> None:
    frames, window, stride = size
    plain = rollout(GaussianMean(0.7), together(frames), frames)
    windowed = Windowed(denoise=GaussianMean(0.7), window=window, stride=stride)
    torch.testing.assert_close(latents(replace(plain, denoise=windowed)), latents(plain), rtol=1e-6, atol=1e-6)


def test_p28_windows_side_by_side_are_clips_of_their_own() -> None:
    mix, clip_BCTHW = CausalMix(block=4), some_clip(4)[None]
    out = ask(Windowed(denoise=mix, window=4, stride=4), torch.cat((clip_BCTHW, clip_BCTHW), dim=2))
    assert torch.equal(out[:, :, :4], out[:, :, 4:])
    assert torch.equal(out[:, :, :4], ask(Windowed(denoise=mix, window=4, stride=4), clip_BCTHW))


# --- SynCoS ----------------------------------------------------------------------------------------------------------


def coupled(denoise: Any, window: int, stride: int, iterations: int = 1, rate: float = 0.5) -> CoupledWindows:
    windows = Windowed(denoise=denoise, window=window, stride=stride)
    return CoupledWindows(windows=windows, noise=BASELINE, shape=SHAPE, iterations=iterations, rate=rate)


@given(sizes, st.integers(0, 3), st.floats(0, 1))
@settings(max_examples=25)
def test_windows_that_agree_on_the_answer_are_at_rest(size: tuple[int, int, int], iterations: int, rate: float) -> None:
    frames, window, stride = size
    target = some_clip(frames)
    out = ask(coupled(KnownTarget(target), window, stride, iterations, rate), some_clip(frames, seed=5)[None])
    torch.testing.assert_close(out[0], target, rtol=1e-6, atol=1e-6)


@given(sizes, st.sampled_from([0, 1, 2]))
@settings(max_examples=15)
def test_p20_syncos_ends_at_the_answer(size: tuple[int, int, int], iterations: int) -> None:
    """The preset: all frames together, new noise that is the same in every step, windows that are coupled."""
    frames, window, stride = size
    target = some_clip(frames)
    run = rollout(coupled(KnownTarget(target), window, stride, iterations), together(frames), frames, solver=Renoise())
    torch.testing.assert_close(latents(replace(run, noise=BASELINE))[0], target, rtol=1e-6, atol=1e-6)


def test_without_a_second_stage_it_is_plain_averaging() -> None:
    mix, x_BCTHW = CausalMix(block=4), some_clip(9)[None]
    plain = ask(Windowed(denoise=mix, window=4, stride=2), x_BCTHW)
    assert torch.equal(ask(coupled(mix, 4, 2, iterations=0), x_BCTHW), plain)
    torch.testing.assert_close(ask(coupled(mix, 4, 2, iterations=2, rate=0.0), x_BCTHW), plain, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(ask(coupled(mix, 4, 2), x_BCTHW), plain, atol=1e-3)


def test_the_second_stage_denoises_the_average_under_the_baseline_noise() -> None:
    """With one window nothing is mixed, and at rate 1 the window goes all the way to the new guess."""
    mix, x_BCTHW, sigma = CausalMix(block=4), some_clip(4)[None], 0.5
    windows = Windowed(denoise=mix, window=4, stride=2)
    baseline = torch.stack([BASELINE.initial(frame, SHAPE, None) for frame in range(4)], dim=1)
    first = ask(windows, x_BCTHW, sigma)
    second = ask(windows, (1 - sigma) * first + sigma * baseline, sigma)
    torch.testing.assert_close(ask(coupled(mix, 4, 2, rate=1.0), x_BCTHW, sigma), second, rtol=0, atol=1e-6)
    half = ask(coupled(mix, 4, 2, rate=0.5), x_BCTHW, sigma)
    torch.testing.assert_close(half, (first + second) / 2, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "moves"),
    [
        ((7.0, 7.0, 7.0), (8.0, 10.0, 12.0), (3.0, 3.0, 3.0)),  # all alike: all move by the mean
        ((0.0, 0.1, 50.0), (1.0, 3.1, 55.0), (2.5, 2.5, 3.7)),  # the third far off: by more of its own
    ],
)
def test_windows_move_by_the_residuals_of_those_that_are_like_them(
    first: tuple[float, ...], second: tuple[float, ...], moves: tuple[float, ...]
) -> None:
    """Each of three windows side by side gives one value in the first stage and another in the second."""
    values = iter((*first, *second))
    out = ask(coupled(Answer(lambda shown: [next(values)] * len(shown)), 2, 2, rate=1.0), some_clip(6)[None])
    moved = [float(out[:, :, 2 * i : 2 * i + 2].mean()) - first[i] for i in range(3)]
    assert moved == pytest.approx(moves, abs=0.15)


def test_windows_refuse_what_makes_no_sense() -> None:
    with pytest.raises(AssertionError, match="no gaps"):
        Windowed(denoise=GaussianMean(1.0), window=3, stride=4)
    with pytest.raises(AssertionError, match=r"rate in 0\.\.1"):
        coupled(GaussianMean(1.0), 3, 2, rate=1.5)
