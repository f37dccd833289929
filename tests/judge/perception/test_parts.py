"""The pieces of perception that have an answer on paper: fits, kinks, gaps, turns, cuts, the cache."""

from pathlib import Path

import numpy as np
import pytest

from tests.judge.perception.worlds import painted, rolling, room
from vgen.judge.observation import OUTLINE_DIRECTIONS, Floats
from vgen.judge.perception.cache import ObservationCache, content_key
from vgen.judge.perception.cuts import longest_shot
from vgen.judge.perception.gaps import least_gap, polygon_gap, polygons
from vgen.judge.perception.motion import fit_pieces, kink, scatter
from vgen.judge.perception.refine import POLAR_ANGLES, POLAR_RINGS, turns

SIGMA = 0.1


def bounce(frames: int = 30, when: float = 14.4) -> Floats:
    """Falls, and goes up again with its speed at `when`."""
    t = np.arange(frames)
    y = 80 - np.where(t < when, 0.3 * (when**2 - t**2), (t - when) * 0.6 * when - 0.3 * (t - when) ** 2)
    noise = np.random.default_rng(1).normal(0, SIGMA, (frames, 2))
    return np.stack([2.0 * t, y], 1) + noise


def test_scatter_is_the_noise_of_a_smooth_path() -> None:
    t = np.arange(200)
    noise = np.random.default_rng(0).normal(0, SIGMA, (200, 2))
    assert scatter(np.stack([0.02 * t**2, 3.0 * t], 1) + noise) == pytest.approx(SIGMA, rel=0.25)
    assert np.isnan(scatter(noise[:4]))


def test_a_bounce_is_two_pieces() -> None:
    pieces = [piece for piece in fit_pieces(bounce(), SIGMA) if piece.last > piece.first]
    assert len(pieces) == 2
    assert (pieces[0].last, pieces[1].first) == (14, 15)
    np.testing.assert_allclose(2 * pieces[0].terms_32[2], (0, 0.6), atol=0.02)


def test_a_parabola_with_a_gap_is_one_piece() -> None:
    path = np.stack([np.arange(30.0), 0.2 * np.arange(30.0) ** 2], 1)
    path[10:15] = np.nan
    assert len(fit_pieces(path, SIGMA)) == 1


def test_a_kink_is_told_from_a_smooth_curve() -> None:
    jump, error = kink(bounce(), 14.4, (0, 29), SIGMA)
    assert jump[1] == pytest.approx(-2 * 0.6 * 14.4, abs=5 * error)
    t = np.arange(40)
    swing = np.stack([25 * np.sin(0.3 * t), 5 * np.cos(0.6 * t)], 1)
    jump, error = kink(swing, 20.0, (0, 39), 0.05)
    assert np.hypot(*jump) < 1.0
    assert kink(swing, 1.0, (0, 39), 0.05)[1] == np.inf


@pytest.mark.parametrize("distance", [30.0, 20.5, 15.0])
def test_gap_of_discs(distance: float) -> None:
    one = polygons(np.array([[50.0, 50.0]]), np.full((1, OUTLINE_DIRECTIONS), 10.0))
    other = polygons(np.array([[50.0 + distance, 50.0]]), np.full((1, OUTLINE_DIRECTIONS), 10.0))
    assert polygon_gap(one, other)[0] == pytest.approx(distance - 20, abs=0.3)
    assert polygon_gap(other, one)[0] == polygon_gap(one, other)[0]


def test_circles_around_polygons_never_say_too_much() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        one, other = (polygons(draw.uniform(0, 60, (3, 2)), draw.uniform(2, 9, (3, OUTLINE_DIRECTIONS))) for _ in "ab")
        assert least_gap(one, other) <= polygon_gap(one, other).min()
    assert least_gap(one * np.nan, other) == np.inf
    assert np.isnan(polygon_gap(one * np.nan, other)).all()


def test_turns_follow_a_pattern_and_stay_unknown_without_one() -> None:
    angle = np.arange(POLAR_ANGLES) * 2 * np.pi / POLAR_ANGLES
    true_F = np.cumsum(np.full(20, 0.21))
    pattern = np.stack([np.stack([50 + 20 * np.cos(2 * (angle - turn))] * len(POLAR_RINGS)) for turn in true_F])
    outline = np.ones((20, 1, POLAR_ANGLES))
    np.testing.assert_allclose(turns(np.concatenate([pattern, outline], 1)), true_F - true_F[0], atol=0.08)
    assert np.isnan(turns(np.ones((20, len(POLAR_RINGS) + 1, POLAR_ANGLES)))).all()


def test_longest_shot() -> None:
    assert longest_shot(30, ()) == (0, 30)
    assert longest_shot(30, (5, 20)) == (5, 20)


def test_cache_gives_back_what_was_seen(tmp_path: Path) -> None:
    clip = room([(rolling(16), painted(16))])
    fresh = ObservationCache(tmp_path).observe(clip, 12)
    (path,) = tmp_path.iterdir()
    assert path.name == f"{content_key(clip, 12)}.npz"
    again = ObservationCache(tmp_path).observe(clip, 12)
    assert again is not fresh
    assert again.events == fresh.events and again.camera.reference == fresh.camera.reference
    assert again.gap_px.keys() == fresh.gap_px.keys() and again.occluders == fresh.occluders
    for one, other in zip(again.tracks, fresh.tracks, strict=True):
        assert (one.id, one.kind, one.sigma_px) == (other.id, other.kind, other.sigma_px)
        np.testing.assert_array_equal(one.outline_px_FA, other.outline_px_FA)
    path.write_bytes(b"broken")
    assert ObservationCache(tmp_path).observe(clip, 12).events == fresh.events


def test_cache_remembers_in_memory_and_tells_clips_apart() -> None:
    clip = room([(rolling(12), painted(12))])
    cache = ObservationCache(size=1)
    first = cache.observe(clip, 12)
    assert cache.observe(clip.copy(), 12) is first
    assert content_key(clip, 12) != content_key(clip, 24)
    assert cache.observe(clip[::-1], 12) is not first
    assert cache.observe(clip, 12) is not first  # the only place was taken
