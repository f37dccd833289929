"""Drift: still, looping, fading and dying clips with known answers; figures that no chunking changes."""

import gc
import json
import sys
from itertools import pairwise
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.moving import moving_frames
from vgen.drift import GAPS, LIMITS, MAX_BINS, QUANTITIES, DriftMeter
from vgen.frames import FloatFrames, Frames, to_uint8

FPS = 12


def report(frames: Frames, fps: float = FPS, cuts: list[int] | None = None) -> dict[str, Any]:
    meter = DriftMeter(fps, *frames.shape[1:3])
    for chunk in np.split(frames, cuts or []):
        meter.add(chunk)
    return meter.report()


def looping(frames: int = 96, period: float = 20.0, side: int = 32) -> FloatFrames:
    """A bright disc on a coloured slope, going round once in `period` frames; in 0..1."""
    y, x = np.mgrid[:side, :side] / side
    slope = np.stack([0.3 + 0.2 * x, 0.35 + 0.1 * y, 0.5 - 0.2 * y], axis=-1)
    turn = 2 * np.pi * np.arange(frames)[:, None, None] / period
    distance = np.hypot(y - 0.5 - 0.3 * np.sin(turn), x - 0.5 - 0.3 * np.cos(turn))
    disc = np.clip((0.12 - distance) * side + 0.5, 0, 1)[..., None]
    return (slope * (1 - disc) + np.array([0.9, 0.8, 0.1]) * disc).astype(np.float32)


def words(frames: FloatFrames, fps: float = FPS) -> list[str]:
    """What the clip is warned of, without the figures."""
    return [line.partition(":")[0] for line in report(to_uint8(frames), fps)["warnings"]]


def blurred(frames: FloatFrames) -> FloatFrames:
    for axis in (1, 1, 2, 2):
        sides = np.roll(frames, 1, axis) + np.roll(frames, -1, axis)
        frames = (sides / 4 + frames / 2).astype(np.float32)
    return frames


ALONG = np.linspace(0, 1, 96, dtype=np.float32)[:, None, None, None]


def test_a_still_has_no_drift_and_is_called_a_still() -> None:
    found = report(np.repeat(moving_frames(1), 80, axis=0))
    assert [ends["change"] for ends in found["ends"].values()] == [0.0] * len(QUANTITIES)
    assert set(found["similarity"]["gaps"].values()) == {1.0}
    assert found["similarity"]["adjacent"] == {"mean": 1.0, "least": 1.0}
    assert found["warnings"] == ["hardly anything moves: 0.00% of the picture at a time"]


@pytest.mark.parametrize("frames", [48, 96, 300])
@pytest.mark.parametrize("period", [5.0, 11.3, 20.0])
def test_a_motion_that_repeats_warns_of_nothing(frames: int, period: float) -> None:
    assert words(looping(frames, period)) == []


CHANGES = {
    "the picture darkens": looping() * (1 - ALONG),
    "the picture brightens": looping() + 0.1 * ALONG,
    "the contrast fades": 0.4 + (looping() - 0.4) * (1 - 0.5 * ALONG),
    "the contrast grows": 0.4 + (looping() - 0.4) * (0.55 + 0.45 * ALONG),
    "the colours fade": looping() + (looping().mean(-1, keepdims=True) - looping()) * 0.5 * ALONG,
    "the colours deepen": looping() + (looping() - looping().mean(-1, keepdims=True)) * 0.7 * ALONG,
    "the colours turn red": looping() + np.array([0.1, -0.05, 0], np.float32) * ALONG,
    "the colours turn green": looping() + np.array([-0.05, 0.05, 0], np.float32) * ALONG,
    "the colours turn blue": looping() + np.array([0, 0, 0.1], np.float32) * ALONG,
    "the colours turn yellow": looping() + np.array([0, 0, -0.1], np.float32) * ALONG,
    "the picture blurs": looping() * (1 - ALONG) + blurred(looping()) * ALONG,
    "the picture grows sharper or noisier": blurred(looping()) * (1 - ALONG) + looping() * ALONG,
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_named(change: str) -> None:
    assert change in words(CHANGES[change])


def test_every_limit_is_tried_both_ways() -> None:
    assert set(CHANGES) == {words for limit in LIMITS for words in (limit.falls, limit.rises)}


@pytest.mark.parametrize("change", CHANGES)
def test_half_a_second_of_it_is_no_drift(change: str) -> None:
    """What comes and goes inside the clip is none: only the ends are compared."""
    frames = looping()
    frames[40:46] = CHANGES[change][-6:]
    assert words(frames) == []


@pytest.mark.parametrize("last", [0.3, 0.5, 0.7])
def test_a_motion_that_stops_is_named(last: float) -> None:
    index = np.minimum(np.arange(96), round(96 * last))
    assert words(looping()[index]) == ["the motion dies"]


def test_a_motion_that_slows_to_nothing_is_named() -> None:
    turns = 4 * (1 - (1 - np.linspace(0, 1, 144)) ** 4)
    frames = looping(100, 100.0)[np.round(100 * turns).astype(int) % 100]
    assert words(frames) == ["the motion dies"]


def test_a_fade_to_black_does_not_blur() -> None:
    """Sharpness is that of the edges by the contrast there is; of a black frame there is none to tell."""
    found = report(to_uint8(CHANGES["the picture darkens"]))
    sharpness, undimmed = (clip["series"]["sharpness"] for clip in (found, report(to_uint8(looping()))))
    assert sharpness[-1] is None
    half = len(sharpness) // 2
    assert sharpness[:half] == pytest.approx(undimmed[:half], rel=0.03)
    assert not [line for line in found["warnings"] if "blur" in line or "sharper" in line]


def test_motion_does_not_depend_on_the_frame_rate() -> None:
    slow, fast = looping(96, 24.0), looping(192, 48.0)
    means = [np.mean([value for value in report(to_uint8(frames), fps)["series"]["motion"] if value is not None])
             for frames, fps in ((slow, 12), (fast, 24))]  # fmt: skip
    assert means[0] == pytest.approx(means[1], rel=0.1)


@given(
    cuts=st.lists(st.integers(0, 60), max_size=6).map(sorted),
    fps=st.sampled_from([1.0, 8.0, 12.0, 60.0]),
    layout=st.sampled_from(["as it is", "columns first", "a view"]),
)
def test_chunking_and_memory_layout_change_no_figure(cuts: list[int], fps: float, layout: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (60, 9, 7, 3), np.uint8)
    whole = report(frames, fps)
    if layout == "columns first":
        frames = np.asfortranarray(frames)
    if layout == "a view":
        frames = np.repeat(frames, 2, axis=2)[:, :, ::2]
    assert report(frames, fps, cuts) == whole


def test_asking_between_chunks_changes_nothing() -> None:
    frames = moving_frames(70)
    meter = DriftMeter(FPS, 32, 48)
    for chunk in np.split(frames, 7):
        meter.add(chunk)
        meter.report()
    assert meter.report() == report(frames)
    assert meter.report()["frames"] == 70


@pytest.mark.parametrize("frames", [48, 360, 361, 1000])
def test_series_are_means_over_equal_stretches(frames: int) -> None:
    """Against the plain formulas in floats, also where stretches were joined."""
    clip = np.random.default_rng(1).integers(0, 256, (frames, 6, 5, 3), np.uint8)
    clip = (clip * np.linspace(0.2, 1, frames)[:, None, None, None]).astype(np.uint8)
    found = report(clip)
    count = round(found["bin_s"] * FPS)
    luma = clip @ np.array([54, 183, 19]) / 256 / 255
    values = {
        "brightness": luma.mean((1, 2)),
        "contrast": luma.std((1, 2)),
        "red_green": (clip[..., 0] / 255 - clip[..., 1] / 255).mean((1, 2)),
        "saturation": (np.ptp(clip, axis=-1) / 255).mean((1, 2)),  # a cell of so small a picture is a pixel
    }
    for name, per_frame in values.items():
        wanted = [per_frame[start : start + count].mean() for start in range(0, frames, count)]
        assert found["series"][name] == pytest.approx(wanted, abs=1e-4)
        ends = [per_frame[:FPS].mean(), per_frame[-FPS:].mean()]
        assert [found["ends"][name]["first"], found["ends"][name]["last"]] == pytest.approx(ends, abs=1e-4)
    assert len(found["series"]["motion"]) <= MAX_BINS


def test_similarity_is_the_correlation_of_small_pictures() -> None:
    frames = moving_frames(40, 8, 6)
    found = report(frames)["similarity"]
    flat = (frames - frames.mean((1, 2), keepdims=True)).reshape(40, -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    assert found["gaps"].keys() == {"1", "2", "5", "10", "20"}
    for gap, similarity in found["gaps"].items():
        wanted = [one @ other for one, other in zip(flat, flat[int(gap) :], strict=False)]
        assert similarity == pytest.approx(np.mean(wanted), abs=1e-3)
    adjacent = [one @ other for one, other in pairwise(flat)]
    assert found["adjacent"]["least"] == pytest.approx(min(adjacent), abs=1e-3)


def test_a_loop_is_most_similar_after_whole_turns() -> None:
    gaps = report(to_uint8(looping(420, 100.0)))["similarity"]["gaps"]
    assert gaps["100"] == gaps["200"] == 1.0
    assert gaps["1"] > gaps["5"] > gaps["10"] > gaps["50"]


def test_a_cut_is_seen_between_neighbours() -> None:
    frames = looping(96, 200.0)
    frames[50:] = frames[50:, ::-1, ::-1]
    adjacent = report(to_uint8(frames))["similarity"]["adjacent"]
    assert adjacent["least"] < 0.5 < 0.9 < adjacent["mean"]


@pytest.mark.parametrize(("frames", "enough"), [(0, False), (1, False), (47, False), (48, True)])
def test_a_short_clip_is_said_to_be_too_short(frames: int, enough: bool) -> None:
    found = report(np.zeros((frames, 8, 8, 3), np.uint8))
    assert (found["ends"] is not None, found["note"] is None) == (enough, enough)
    assert enough or found["warnings"] == []
    assert enough or found["note"] == f"{frames / 12:.2f} s are too short to tell drift; at least 4 s are needed"


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 2), (100, 40)])
def test_any_size_is_measured(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(2).integers(0, 256, (50, *size, 3), np.uint8)
    found = report(frames)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for name in ("brightness", "contrast", "saturation", "motion"):
        assert all(value is None or 0 <= value <= 1 for value in found["series"][name])


def test_frames_of_another_size_are_refused() -> None:
    meter = DriftMeter(FPS, 8, 8)
    with pytest.raises(AssertionError, match="in a clip of"):
        meter.add(np.zeros((1, 8, 9, 3), np.uint8))


def held_bytes(thing: object) -> int:
    """What an object keeps alive, arrays included."""
    seen: dict[int, object] = {}
    todo = [thing]
    while todo:
        one = todo.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen[id(one)] = one
            todo += gc.get_referents(one)
    return sum(one.nbytes if isinstance(one, np.ndarray) else sys.getsizeof(one) for one in seen.values())


def test_memory_does_not_grow_with_the_length() -> None:
    chunk = np.random.default_rng(3).integers(0, 256, (500, 4, 4, 3), np.uint8)
    meter = DriftMeter(FPS, 4, 4)
    held = []
    for _ in range(40):
        meter.add(chunk)
        held.append(held_bytes(meter))
    found = meter.report()
    assert found["frames"] == 20_000
    assert len(found["series"]["brightness"]) <= MAX_BINS
    assert set(found["similarity"]["gaps"]) == {str(gap) for gap in GAPS if gap < 20_000}
    assert max(held[20:]) < 1.1 * max(held[:20]) < 2**20
