"""speed_jerk: a step of speed on the ground and a halt of some frames count; braking, blows and flights do not."""

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import body, bounces, event, seen, slide, throw, uniform
from vgen.judge.observation import Observation
from vgen.judge.rules.lives import noise_px
from vgen.judge.rules.speed_jerk import RULE

FRAMES = 44


def scene(severity: float, seed: int) -> Observation:
    xy_F2 = slide(FRAMES, (100, 388), 9.0, braking=0.06)
    xy_F2[20:] = xy_F2[20] + (1 - severity) * (xy_F2[20:] - xy_F2[20])
    return seen(body(xy_F2, seed=seed))


def test_law() -> None:
    holds(RULE, scene, kept=0.03, broken=0.4)
    unit_free(RULE, scene)


def test_a_halt_of_two_frames() -> None:
    xy_F2 = uniform(FRAMES, (100, 388), (9, 0))
    xy_F2[20:22] = xy_F2[19]
    xy_F2[22:] -= 3 * xy_F2[1] - 3 * xy_F2[0]
    assert strength(RULE, seen(body(xy_F2))) > 0.7


def test_braking_flying_and_blows_are_lawful() -> None:
    assert strength(RULE, seen(body(slide(FRAMES, (100, 388), 9.0, braking=0.3)))) < 0.05
    motion = throw(FRAMES, (80, 150), (6, -3))
    assert strength(RULE, seen(body(motion.xy_F2), events=bounces(motion))) < 0.05
    struck = scene(0.5, 0)
    assert strength(RULE, seen(*struck.tracks, events=[event("contact", 20, (0,))])) < 0.05


def test_abstains_where_nothing_moves() -> None:
    assert abstains(RULE, seen(body(uniform(FRAMES, (100, 388), (0, 0)))), "not_applicable")


def test_noise_of_what_moves_is_told_though_it_stands_for_long() -> None:
    """Along its way a thing is off by parts of a pixel, and at rest by the same in every frame."""
    for seed in range(4):
        xy_F2 = slide(FRAMES, (100, 388), 4.0, braking=0.16)
        xy_F2[:26, 0] += 0.4 * np.random.default_rng(seed).normal(size=26)
        track = body(xy_F2, sigma=0.02)
        assert 0.25 < noise_px(track) < 0.6
        assert strength(RULE, seen(track)) < 0.1
