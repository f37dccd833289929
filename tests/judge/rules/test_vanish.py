"""vanish: gone from full view counts, hidden and gone out of the picture do not."""

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import body, seen, uniform
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.vanish import RULE

FRAMES = 48


def scene(severity: float, seed: int, code: Sight = Sight.LOST) -> Observation:
    sight_F = np.zeros(FRAMES, np.uint8)
    missing = round(0.6 * severity * FRAMES)
    sight_F[FRAMES - missing :] = code
    return seen(body(uniform(FRAMES, (100, 388), (5, 0)), seed=seed, sight_F=sight_F))


def test_law() -> None:
    holds(RULE, scene, kept=0.0, broken=0.3)
    unit_free(RULE, scene)


def test_what_is_hidden_or_left_the_picture_did_not_vanish() -> None:
    assert strength(RULE, scene(0.5, 0, Sight.OCCLUDED)) == 0
    assert strength(RULE, scene(0.5, 0, Sight.OUTSIDE)) == 0


def test_a_miss_of_two_frames_is_the_trackers() -> None:
    sight_F = np.zeros(FRAMES, np.uint8)
    sight_F[20:22] = Sight.LOST
    assert strength(RULE, seen(body(uniform(FRAMES, (100, 388), (5, 0)), sight_F=sight_F))) == 0


def test_a_jump_under_a_new_id_is_no_vanishing() -> None:
    old, new = np.zeros(FRAMES, np.uint8), np.zeros(FRAMES, np.uint8)
    old[20:], new[:20] = Sight.LOST, Sight.LOST
    xy_F2 = uniform(FRAMES, (100, 388), (5, 0))
    jumped = seen(body(xy_F2, sight_F=old), body(xy_F2 + np.array([60, 0]), id=1, sight_F=new))
    assert strength(RULE, jumped) == 0


def test_abstains_where_nothing_shows() -> None:
    assert abstains(RULE, seen(body(uniform(8, (0, 0), (1, 0)), sight_F=np.full(8, Sight.LOST))), "not_applicable")
