"""count: one in, one out; a thing that stops behind the slab may stay there."""

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.hidden import FRAMES, SLAB, START, behind, passer, path
from tests.judge.rules.world import DIAMETER, FLOOR_Y, body, seen, slide, uniform
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.count import RULE


def one_too_many(severity: float, seed: int) -> Observation:
    """A second thing comes out some frames later, as large as the first from severity .5 on."""
    first = passer(path(), seed=seed)
    if severity == 0:
        return behind(first)
    size = DIAMETER * min(1.0, 2 * severity)
    xy_F2 = path() - (60, 0)
    xy_F2[:, 1] = FLOOR_Y - size / 2
    sight_F = np.where(xy_F2[:, 0] - size / 2 >= SLAB[2], Sight.SEEN, Sight.OCCLUDED).astype(np.uint8)
    return behind(first, body(xy_F2, id=1, seed=seed, diameter=size, sight_F=sight_F))


def test_law() -> None:
    holds(RULE, one_too_many, kept=0.0, broken=0.3, monotone_to=0.5)
    unit_free(RULE, one_too_many)


def test_what_goes_in_and_stays_away_is_missed() -> None:
    xy_F2 = path()
    sight_F = passer(xy_F2).sight_F.copy()
    sight_F[xy_F2[:, 0] > SLAB[2]] = Sight.OCCLUDED
    sight_F[(xy_F2[:, 0] > SLAB[0]) & (sight_F == Sight.PARTLY)] = Sight.OCCLUDED
    assert strength(RULE, behind(body(xy_F2, sight_F=sight_F))) > 0.3


def test_what_slows_down_behind_the_slab_may_stay() -> None:
    speed = 11.0
    xy_F2 = slide(FRAMES, START, speed, braking=speed**2 / 2 / (425 - START[0]))  # comes to rest in its middle
    sight_F = np.where(xy_F2[:, 0] + DIAMETER / 2 < SLAB[0], Sight.SEEN, Sight.OCCLUDED).astype(np.uint8)
    assert abstains(RULE, behind(body(xy_F2, sight_F=sight_F)), "not_applicable")


def test_what_was_behind_the_slab_all_along_may_come_out() -> None:
    xy_F2 = uniform(FRAMES, (450.0, START[1]), (3.0, 0.0))
    sight_F = np.where(xy_F2[:, 0] - DIAMETER / 2 >= SLAB[2], Sight.SEEN, Sight.OCCLUDED).astype(np.uint8)
    assert abstains(RULE, behind(body(xy_F2, sight_F=sight_F)), "not_applicable")


def test_abstains_without_an_occluder() -> None:
    assert abstains(RULE, seen(body(path())), "not_applicable")
