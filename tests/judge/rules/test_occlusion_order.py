"""occlusion_order: what was in front and lacks area later counts by that area; a steady order does not."""

from dataclasses import replace

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import DIAMETER, body, seen, uniform
from vgen.judge.observation import Observation, Sight, Track
from vgen.judge.rules.occlusion_order import RULE

FRAMES = 120
BLUE = (50.0, 0.0, -40.0)


def scene(severity: float, seed: int) -> Observation:
    """Two discs cross, the first in front until they overlap by as many diameters as the severity."""
    one, other = uniform(FRAMES, (200.0, 300.0), (0.8, 0.0)), uniform(FRAMES, (296.0, 300.0), (-0.8, 0.0))
    deep_F = np.clip(1 - np.abs(other[:, 0] - one[:, 0]) / DIAMETER, 0, 1)
    flip = int(np.argmax(deep_F >= severity)) if severity else FRAMES
    before_F = np.arange(FRAMES) < flip
    tracks = (
        cut(body(one, seed=seed), np.where(before_F, 0, deep_F), seed),
        cut(body(other, id=1, seed=seed, lab=BLUE), np.where(before_F, deep_F, 0), seed),
    )
    return seen(*tracks)


def cut(track: Track, hidden_F: np.ndarray, seed: int) -> Track:
    noise_F = 1 + 0.01 * np.random.default_rng([seed, track.id]).standard_normal(FRAMES)
    sight_F = np.where(hidden_F > 0.9, Sight.OCCLUDED, np.where(hidden_F > 0.05, Sight.PARTLY, Sight.SEEN))
    return replace(track, area_px_F=track.area_px_F * (1 - hidden_F) * noise_F, sight_F=sight_F.astype(np.uint8))


def test_law() -> None:
    holds(RULE, scene, kept=0.0, broken=0.3)
    unit_free(RULE, scene)


def test_two_crossings_may_have_two_orders() -> None:
    obs = scene(0, 0)
    one, other = obs.tracks
    late = np.arange(FRAMES) > 100
    first = replace(one, area_px_F=np.where(late, 0.5, 1) * one.area_px_F)
    assert strength(RULE, replace(obs, tracks=(first, other))) == 0


def test_abstains() -> None:
    assert abstains(RULE, seen(body(uniform(FRAMES, (200, 300), (2, 0)))), "not_applicable")
    obs = scene(0.5, 0)
    alike = replace(obs.tracks[1], lab_F3=obs.tracks[0].lab_F3)
    assert abstains(RULE, replace(obs, tracks=(obs.tracks[0], alike)), "undecidable")


def test_what_is_never_seen_apart_is_no_thing_of_its_own() -> None:
    """Noise tears a tip off a thing, which then comes and goes at its edge."""
    obs = scene(0.5, 0)
    near_F = obs.gap(0, 1) <= 2
    sight_F = np.where(near_F, obs.tracks[1].sight_F, Sight.LOST).astype(np.uint8)
    tip = replace(obs.tracks[1], sight_F=sight_F)
    assert abstains(RULE, replace(obs, tracks=(obs.tracks[0], tip)), "not_applicable")
