"""rigid_deform: a form that changes with a blow counts; one that changes alone is not its business."""

from dataclasses import replace

import numpy as np

from tests.judge.rules.checks import abstains, holds, unit_free
from tests.judge.rules.world import body, bounces, seen, throw, uniform
from vgen.judge.observation import OUTLINE_DIRECTIONS, Observation
from vgen.judge.rules.rigid_deform import RULE

FRAMES = 34
TURN_A = np.arange(OUTLINE_DIRECTIONS) * 2 * np.pi / OUTLINE_DIRECTIONS


def scene(severity: float, seed: int) -> Observation:
    motion = throw(FRAMES, (80, 250), (3, 0))
    track = body(motion.xy_F2, seed=seed)
    outline_FA = track.outline_px_FA * (1 + 0.03 * np.random.default_rng(seed).standard_normal((FRAMES, 24)))
    q = 1 + severity
    after_F = np.arange(FRAMES) > motion.hits[0][0]
    outline_FA[after_F] *= 1 + (q - 1) / (q + 1) * np.cos(2 * TURN_A)
    return seen(replace(track, outline_px_FA=outline_FA), events=bounces(motion))


def test_law() -> None:
    holds(RULE, scene, kept=0.03, broken=0.12)
    unit_free(RULE, scene)


def test_abstains_where_nothing_is_struck() -> None:
    assert abstains(RULE, seen(body(uniform(FRAMES, (80, 150), (3, 0)))), "not_applicable")
