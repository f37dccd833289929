"""liquid_level: a surface aslant counts; ripples of one frame and short surfaces do not."""

from dataclasses import replace

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength
from tests.judge.rules.world import body, seen, uniform
from vgen.judge.observation import Liquid, Observation
from vgen.judge.rules.liquid_level import RULE

FRAMES = 40
WIDTH = 80.0


def scene(severity: float, seed: int, *, factor: float = 1.0, side: int = 1, step: int = 1) -> Observation:
    slant_F = np.radians(30 * severity) * np.clip((np.arange(FRAMES) - 13) / 6, 0, 1) * side
    slant_F += 0.01 * np.random.default_rng(seed).standard_normal(FRAMES)
    half_F2 = WIDTH / 2 * np.stack([np.ones(FRAMES), np.tan(slant_F)], -1)
    middle_F2 = 200 + np.stack([np.arange(FRAMES), np.zeros(FRAMES)], -1)
    ends_F22 = np.stack([middle_F2 - half_F2, middle_F2 + half_F2], 1)[::step] * factor
    liquid = Liquid(ends_F22=ends_F22, sigma_px=0.2 * factor, width_px=WIDTH * factor)
    return replace(seen(body(uniform(len(ends_F22), (20, 388), (0, 0)))), liquids=(liquid,))


def test_law() -> None:
    holds(RULE, scene, kept=0.05, broken=0.7)


def test_unit_free() -> None:
    plain = strength(RULE, scene(0.5, 1))
    np.testing.assert_allclose(strength(RULE, scene(0.5, 1, factor=2.5)), plain)
    np.testing.assert_allclose(strength(RULE, scene(0.5, 1, side=-1)), plain, atol=0.1)
    np.testing.assert_allclose(strength(RULE, scene(0.5, 1, step=2)), plain, atol=0.1)


def test_a_ripple_of_one_frame_is_none() -> None:
    obs = scene(0, 0)
    ends_F22 = obs.liquids[0].ends_F22.copy()
    ends_F22[20, 1, 1] += 30
    rippled = replace(obs, liquids=(replace(obs.liquids[0], ends_F22=ends_F22),))
    assert strength(RULE, rippled) < 0.05


def test_abstains() -> None:
    assert abstains(RULE, seen(body(uniform(FRAMES, (20, 388), (0, 0)))), "not_applicable")
    obs = scene(0, 0)
    short = replace(obs.liquids[0], sigma_px=5.0)
    assert abstains(RULE, replace(obs, liquids=(short,)), "undecidable")
