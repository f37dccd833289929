"""shadow_follows: a shadow that falls behind counts; slant light and hops do not."""

from dataclasses import replace

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import FLOOR_Y, body, seen, throw, uniform
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.shadow_follows import RULE

FRAMES = 46


def scene(severity: float, seed: int, slant: float = 0.3) -> Observation:
    motion = throw(FRAMES, (80, 250), (7, 0))
    clock_F = np.arange(FRAMES) - 8 * severity * np.clip((np.arange(FRAMES) - 15) / 8, 0, 1)
    x_F, y_F = (np.interp(clock_F, np.arange(FRAMES), motion.xy_F2[:, axis]) for axis in (0, 1))
    shadow_F2 = np.stack([x_F + slant * (FLOOR_Y - y_F), np.full(FRAMES, FLOOR_Y + 4)], -1)
    shadow = replace(body(shadow_F2, id=1, seed=seed, floor=None), kind="shadow")
    return seen(body(motion.xy_F2, seed=seed), shadow)


def test_law() -> None:
    holds(RULE, scene, kept=0.05, broken=0.2)
    unit_free(RULE, scene)


def test_abstains() -> None:
    assert abstains(RULE, seen(body(uniform(FRAMES, (80, 150), (3, 0)))), "not_applicable")
    still = uniform(FRAMES, (80, 150), (0, 0))
    shadow = replace(body(still + np.array([0, 100]), id=1), kind="shadow")
    assert abstains(RULE, seen(body(still), shadow), "not_applicable")


def test_a_shadow_that_stays_behind_altogether() -> None:
    obs = scene(0, 0)
    fixed = replace(obs.tracks[1], xy_F2=obs.tracks[1].xy_F2[:1] + 0 * obs.tracks[1].xy_F2)
    assert strength(RULE, seen(obs.tracks[0], fixed)) > 1


def test_a_patch_that_comes_up_and_stays_for_a_moment_is_no_shadow() -> None:
    obs = scene(0, 0)
    stain_F2 = np.tile((240.0, FLOOR_Y + 4), (FRAMES, 1))
    sight_F = np.where((np.arange(FRAMES) < 4) | (np.arange(FRAMES) > 15), Sight.LOST, Sight.SEEN).astype(np.uint8)
    stain = replace(body(stain_F2, id=1, sight_F=sight_F, floor=None), kind="shadow")
    assert abstains(RULE, seen(obs.tracks[0], stain), "not_applicable")


def test_a_shadow_is_of_the_thing_that_it_stays_nearest_to() -> None:
    """Two things pass each other; only one of them has a shadow that shows."""
    obs = scene(0, 0)
    other_F2 = uniform(FRAMES, (400, FLOOR_Y - 12), (-6, 0))
    both = seen(obs.tracks[0], obs.tracks[1], body(other_F2, id=2))
    found = RULE.measure(both)
    assert isinstance(found, tuple) and {measurement.objects for measurement in found} == {(0,)}
    assert strength(RULE, both) < 0.05


def test_a_darkening_high_in_the_air_is_not_the_shadow_on_the_floor() -> None:
    obs = scene(0, 0)
    thing, shadow = obs.tracks
    first_F = np.arange(FRAMES) < 9
    xy_F2 = np.where(first_F[:, None], thing.xy_F2 + np.array([-70.0, 10.0]), shadow.xy_F2)
    assert strength(RULE, seen(thing, replace(shadow, xy_F2=xy_F2))) < 0.05
