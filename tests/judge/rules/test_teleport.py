"""teleport: jumps count, knocks, bounces, odd centres and frozen frames do not."""

import numpy as np
import pytest

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import DIAMETER, body, bounces, collide, event, seen, throw, uniform
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.teleport import RULE

FRAMES = 44


def thrown(severity: float, seed: int) -> Observation:
    motion = throw(FRAMES, (80, 150), (6, -3))
    xy_F2 = motion.xy_F2.copy()
    xy_F2[20:, 0] += 2 * severity * DIAMETER
    return seen(body(xy_F2, seed=seed), events=bounces(motion))


def resting(severity: float, seed: int) -> Observation:
    xy_F2 = uniform(FRAMES, (300.0, 388.0), (0.0, 0.0))
    xy_F2[20:, 0] -= 2 * severity * DIAMETER
    return seen(body(xy_F2, seed=seed))


@pytest.mark.parametrize("scene", [thrown, resting])
def test_law(scene) -> None:  # type: ignore[no-untyped-def]
    holds(RULE, scene, kept=0.02, broken=0.8)
    unit_free(RULE, scene)


def test_collisions_and_odd_centres_are_no_jumps() -> None:
    one, other, meet = collide(FRAMES, ((100, 300), (9, 0)), ((400, 300), (-4, 0)))
    knock = event("contact", meet, (0, 1))
    assert strength(RULE, seen(body(one), body(other, id=1), events=[knock])) < 0.02
    odd = uniform(FRAMES, (100, 388), (5, 0))
    odd[20, 1] -= 0.7 * DIAMETER
    assert strength(RULE, seen(body(odd))) < 0.02


def test_a_frozen_picture_is_no_jump() -> None:
    xy_F2 = uniform(FRAMES, (100, 388), (20, 0))
    xy_F2[20] = xy_F2[19]
    assert strength(RULE, seen(body(xy_F2))) < 0.02


def test_a_jump_under_a_new_id() -> None:
    old, new = np.zeros(FRAMES, np.uint8), np.zeros(FRAMES, np.uint8)
    old[20:], new[:20] = Sight.LOST, Sight.LOST
    xy_F2 = uniform(FRAMES, (100, 388), (5, 0))
    jumped = seen(body(xy_F2, sight_F=old), body(xy_F2 + np.array([0, -3 * DIAMETER]), id=1, sight_F=new))
    assert strength(RULE, jumped) == pytest.approx(2.8, abs=0.1)


def test_abstains() -> None:
    assert abstains(RULE, seen(body(uniform(3, (100, 388), (5, 0)))), "not_applicable")
    assert abstains(RULE, seen(body(uniform(FRAMES, (100, 388), (5, 0)), sigma=3.0)), "undecidable")
