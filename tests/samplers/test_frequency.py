"""Low-pass filters and mixing: linear, exact at the ends, equal to the published formulas; the two policies on top."""

import math
from collections.abc import Callable

import pytest
import torch
from diffusers.pipelines.free_init_utils import FreeInitMixin
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vgen.errors import ConfigError
from vgen.samplers.frequency import FILTERS, CoherentTail, FreeInitNoise, LowPass, mix
from vgen.samplers.noise import FixedNoise, IndependentNoise, NoiseSource, RescheduledNoise

SOURCE = NoiseSource(3)
INDEPENDENT = IndependentNoise(SOURCE)
SHAPES = [(2, 4, 6, 8), (2, 5, 6, 7), (1, 1, 1, 1), (3, 1, 5, 2)]

low_passes = st.builds(
    LowPass,
    kind=st.sampled_from(sorted(FILTERS)),
    space=st.floats(0.05, 2),
    time=st.none() | st.floats(0.05, 2),
)


def noise(name: str, shape: tuple[int, ...]) -> Tensor:
    return SOURCE.draw(name, 0, 0, shape)


def by_matrix(share: Tensor, sizes: tuple[int, ...], x: Tensor) -> Tensor:
    """What passes the filter, in float64 with the Fourier matrix of each axis written out."""
    spectrum = x.to(torch.complex128)
    turns = [torch.outer(torch.arange(n), torch.arange(n)).double() * (-2j * math.pi / n) for n in sizes]
    for axis, turn in enumerate(turns, start=x.ndim - len(sizes)):
        spectrum = torch.tensordot(spectrum, turn.exp(), dims=([axis], [0])).movedim(-1, axis)
    spectrum = spectrum * share
    for axis, turn in enumerate(turns, start=x.ndim - len(sizes)):
        spectrum = torch.tensordot(spectrum, (-turn).exp() / len(turn), dims=([axis], [0])).movedim(-1, axis)
    assert spectrum.imag.abs().max() < 1e-12
    return spectrum.real


def butterworth(sizes: tuple[int, ...], stops: tuple[float, ...]) -> Tensor:
    """1 / (1 + (d / d0)^8) over all frequencies, those above the highest being the negative ones."""
    full = torch.empty(sizes, dtype=torch.float64)
    for place in torch.cartesian_prod(*map(torch.arange, sizes), torch.arange(1)).tolist():
        *place, _ = place
        cycles = [min(k, n - k) / (n / 2) for k, n in zip(place, sizes, strict=True)]
        full[tuple(place)] = 1 / (1 + math.hypot(*(c / s for c, s in zip(cycles, stops, strict=True))) ** 8)
    return full


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axes", [2, 3])
def test_mixing_keeps_to_its_ends(shape: tuple[int, ...], axes: int) -> None:
    """P23: a filter of ones returns the first argument, of zeros the second; mix(x, x) = x."""
    low, high = noise("low", shape), noise("high", shape)
    ones = torch.ones_like(LowPass(time=0.25 if axes == 3 else None).share(shape))
    assert ones.ndim == axes
    torch.testing.assert_close(mix(low, high, ones), low, atol=2e-6, rtol=0)
    assert torch.equal(mix(low, high, 0 * ones), high)
    assert torch.equal(mix(low, low, 0.3 * ones), low)


@given(low_passes, st.sampled_from(SHAPES), st.floats(-2, 2))
def test_mixing_is_linear_and_real(low_pass: LowPass, shape: tuple[int, ...], factor: float) -> None:
    share = low_pass.share(shape)
    assert share.min() >= 0 and share.max() <= 1
    a, b, c, d = (noise(name, shape) for name in "abcd")
    together = mix(a + factor * b, c + factor * d, share)
    assert together.dtype == torch.float32 and together.shape == shape
    torch.testing.assert_close(together, mix(a, c, share) + factor * mix(b, d, share), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("space", "time"), [(0.25, 0.25), (0.5, 0.3), (0.4, None)])
def test_butterworth_equals_its_definition(shape: tuple[int, ...], space: float, time: float | None) -> None:
    stops = (space, space) if time is None else (time, space, space)
    sizes = shape[-len(stops) :]
    full = butterworth(sizes, stops)
    share = LowPass(space=space, time=time).share(shape)
    torch.testing.assert_close(share.double(), full[..., : sizes[-1] // 2 + 1], atol=1e-6, rtol=0)
    low, high = noise("low", shape), noise("high", shape)
    expected = by_matrix(full, sizes, low.double()) + by_matrix(1 - full, sizes, high.double())
    torch.testing.assert_close(mix(low, high, share).double(), expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize("kind", ["butterworth", "gaussian"])
@pytest.mark.parametrize("shape", [(2, 4, 6, 8), (1, 8, 10, 4)])
def test_even_sizes_equal_the_published_code(kind: str, shape: tuple[int, ...]) -> None:
    published = FreeInitMixin()
    space, time = 0.3, 0.4
    theirs = published._get_free_init_freq_filter((1, *shape), torch.device("cpu"), kind, 4, space, time)
    low, high = noise("low", shape), noise("high", shape)
    ours = mix(low, high, LowPass(kind=kind, space=space, time=time).share(shape))
    torch.testing.assert_close(ours, published._apply_freq_filter(low[None], high[None], theirs)[0], atol=5e-6, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_mean_passes_every_filter(shape: tuple[int, ...]) -> None:
    """Which the published code misses on axes of odd length."""
    low, high = noise("low", shape), noise("high", shape)
    for kind in FILTERS:
        mixed = mix(low, high, LowPass(kind=kind).share(shape))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), low.mean((1, 2, 3)), atol=2e-6, rtol=0)


def test_filters_at_and_beyond_the_stop_frequency() -> None:
    """Of eight columns, bins 0..4 are the frequencies 0, 1/4, ..., 1."""
    rows = {kind: LowPass(kind=kind, space=0.5, time=None).share((1, 1, 1, 8))[0] for kind in FILTERS}
    assert rows["all"].tolist() == [1, 1, 1, 1, 1]
    assert rows["ideal"].tolist() == [1, 1, 1, 0, 0]
    assert rows["butterworth"].tolist() == pytest.approx([1, 256 / 257, 0.5, 1 / (1 + 1.5**8), 1 / 257])
    assert rows["gaussian"].tolist() == pytest.approx([math.exp(-(d**2) / 2) for d in (0, 0.5, 1, 1.5, 2)])


def test_a_filter_without_time_treats_each_frame_alone() -> None:
    low, high = noise("low", (2, 5, 6, 7)), noise("high", (2, 5, 6, 7))
    share = LowPass(time=None).share(low.shape)
    for frame in range(5):
        alone = mix(low[:, frame], high[:, frame], share)
        torch.testing.assert_close(mix(low, high, share)[:, frame], alone, atol=1e-6, rtol=0)


def test_a_coherent_tail_has_the_layout_of_the_frame_before() -> None:
    shape = (4, 12, 10)
    tail = CoherentTail(INDEPENDENT)
    eta, before = INDEPENDENT.initial(5, shape, None), noise("before", shape)
    new = tail.initial(5, shape, before)
    low, high = (LowPass(kind="ideal", space=space, time=None).share(shape) for space in (0.1, 0.4))
    zero = torch.zeros(shape)
    torch.testing.assert_close(mix(new, zero, low), mix(before, zero, low), atol=2e-3, rtol=0)
    torch.testing.assert_close(mix(zero, new, high), mix(zero, eta, high), atol=2e-2, rtol=0)
    assert torch.equal(tail.initial(5, shape, before), new)
    assert new.dtype == torch.float32


def test_a_coherent_tail_starts_and_goes_on_with_the_noise_inside() -> None:
    shape = (2, 3, 4)
    inner = RescheduledNoise(SOURCE, window=2, stride=1)
    tail = CoherentTail(inner)
    assert torch.equal(tail.initial(7, shape, None), inner.initial(7, shape, None))
    assert torch.equal(tail.fresh(7, 2, shape), inner.fresh(7, 2, shape))
    x0_CTHW = torch.ones(2, 2, 3, 4)
    assert torch.equal(tail.again(x0_CTHW, range(2), 1), inner.again(x0_CTHW, range(2), 1))


def original(shape: tuple[int, int, int, int]) -> Tensor:
    channels, frames, height, width = shape
    return torch.stack([INDEPENDENT.initial(f, (channels, height, width), None) for f in range(frames)], dim=1)


@pytest.mark.parametrize("sigma", [1.0, 0.96, 0.5, 0.0])
def test_freeinit_mixes_the_noised_clip_into_fresh_noise(sigma: float) -> None:
    shape = (4, 5, 6, 7)
    x0, frames, low_pass = noise("x0", shape), range(5), LowPass(space=0.5, time=0.5)
    z = ((1 - sigma) * x0 + sigma * original(shape)) / math.sqrt((1 - sigma) ** 2 + sigma**2)
    expected = mix(z, INDEPENDENT.again(x0, frames, 9), low_pass.share(shape))
    again = FreeInitNoise(INDEPENDENT, low_pass=low_pass, sigma=sigma).again(x0, frames, 9)
    torch.testing.assert_close(again, expected, atol=1e-6, rtol=0)


def test_freeinit_equals_the_published_code_at_an_equal_ratio() -> None:
    """Its q_sample at the last timestep, sqrt(a) x0 + sqrt(1 - a) eps, and its filter, with AnimateDiff's numbers."""
    shape, a = (4, 4, 6, 8), 0.0397**2
    ratio = math.sqrt(a / (1 - a))
    x0, frames = noise("x0", shape), range(4)
    published = FreeInitMixin()
    theirs = published._get_free_init_freq_filter((1, *shape), torch.device("cpu"), "butterworth", 4, 0.25, 0.25)
    z_t = math.sqrt(a) * x0 + math.sqrt(1 - a) * original(shape)
    expected = published._apply_freq_filter(z_t[None], INDEPENDENT.again(x0, frames, 2)[None], theirs)[0]
    again = FreeInitNoise(INDEPENDENT, sigma=1 / (1 + ratio)).again(x0, frames, 2)
    torch.testing.assert_close(again, expected, atol=5e-6, rtol=0)


def test_freeinit_is_new_with_each_lift_and_keeps_the_rest_of_the_policy() -> None:
    shape, x0 = (2, 3, 4), noise("x0", (2, 3, 3, 4))
    again = FreeInitNoise(INDEPENDENT)
    assert not torch.equal(again.again(x0, range(3), 1), again.again(x0, range(3), 2))
    assert torch.equal(again.initial(1, shape, None), INDEPENDENT.initial(1, shape, None))
    assert torch.equal(again.fresh(1, 4, shape), INDEPENDENT.fresh(1, 4, shape))
    everything = FreeInitNoise(FixedNoise(SOURCE), sigma=1)
    torch.testing.assert_close(everything.again(x0, range(3), 1), original((2, 3, 3, 4)), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LowPass(kind="butterwort"), "kind='butterwort' is unknown; did you mean 'butterworth'"),
        (lambda: LowPass(space=0), "space=0 .* possible: a frequency above 0"),
        (lambda: LowPass(time=-1), "time=-1 .* possible: a frequency above 0, or none"),
        (lambda: LowPass(space=math.nan), "space=nan"),
        (lambda: CoherentTail(INDEPENDENT, LowPass()), r"time=0\.25 .* possible: none"),
        (lambda: FreeInitNoise(INDEPENDENT, sigma=1.5), r"sigma=1\.5 .* possible: 0 to 1"),
    ],
)
def test_impossible_knobs_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
