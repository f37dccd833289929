"""size: growth in full view counts, coming nearer does not."""

from dataclasses import replace

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import body, seen, uniform
from vgen.judge.observation import Floats, Observation
from vgen.judge.rules.size import RULE

FRAMES = 44


def sized(factor_F: Floats, seed: int) -> Observation:
    track = body(uniform(FRAMES, (100, 388), (5, 0)), seed=seed)
    noise_F = 1 + 0.01 * np.random.default_rng(seed).standard_normal(FRAMES)
    return seen(replace(track, area_px_F=track.area_px_F * noise_F * factor_F**2))


def scene(severity: float, seed: int) -> Observation:
    return sized(1 + severity * np.clip((np.arange(FRAMES) - 20) / 5, 0, 1), seed)


def test_law() -> None:
    holds(RULE, scene, kept=0.03, broken=0.25)
    unit_free(RULE, scene, thin=0.35)


def test_coming_nearer_is_no_growth() -> None:
    assert strength(RULE, sized(60 / (60 - np.arange(FRAMES)), 0)) < 0.05


def test_abstains() -> None:
    assert abstains(RULE, seen(body(uniform(9, (100, 388), (5, 0)))), "not_applicable")
