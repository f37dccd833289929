"""reappear: early and late count, beside the way does not."""

import math

import numpy as np
import pytest

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.hidden import behind, passer, path
from tests.judge.rules.world import DIAMETER, GRAVITY, body, seen
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.reappear import RULE


@pytest.mark.parametrize("way", [1, -1])
def test_law(way: int) -> None:
    def scene(severity: float, seed: int) -> Observation:
        return behind(passer(path(delay_px=2 * severity * way * DIAMETER), seed=seed))

    holds(RULE, scene, kept=0.05, broken=0.6)
    unit_free(RULE, scene)


def test_height_is_not_its_business() -> None:
    assert strength(RULE, behind(passer(path(beside_px=DIAMETER), floor=None))) < 0.1


def test_two_ids_of_one_passage_are_joined() -> None:
    xy_F2 = path(delay_px=DIAMETER)
    whole = passer(xy_F2)
    sight_F = whole.sight_F.copy()
    inside = [int(f) for f in (sight_F == 2).nonzero()[0]]
    before, after = sight_F.copy(), sight_F.copy()
    before[inside[0] :], after[: inside[-1] + 1] = 2, 2
    two = behind(body(xy_F2, sight_F=before), body(xy_F2, id=1, sight_F=after))
    assert strength(RULE, two) == pytest.approx(strength(RULE, behind(whole)), abs=0.1)


def test_abstains() -> None:
    assert abstains(RULE, seen(body(path())), "not_applicable")
    noisy = body(path(), sigma=4.0, sight_F=passer(path()).sight_F)
    assert abstains(RULE, behind(noisy), "undecidable")


FALL = math.sqrt(2 * 400 / GRAVITY)  # frames
HUNG = (60.0, 150.0, 240.0, 260.0)


def falling(*, out: bool, hider: tuple[float, float, float, float] = HUNG) -> Observation:
    """A ball falls behind something; it comes out below, or not."""
    y_F = 40 + GRAVITY / 2 * np.arange(FALL) ** 2
    xy_F2 = np.stack([np.full(len(y_F), 150.0), y_F], -1)
    r = DIAMETER / 2
    whole_F = (y_F + r <= hider[1]) | ((y_F - r >= hider[3]) & out)
    gone_F = (y_F - r >= hider[1]) & ((y_F + r <= hider[3]) | (not out))
    sight_F = np.where(whole_F, Sight.SEEN, np.where(gone_F, Sight.OCCLUDED, Sight.PARTLY)).astype(np.uint8)
    return seen(body(xy_F2, sight_F=sight_F, floor=900), occluders=(hider,))


def test_what_falls_behind_something_that_hangs_free_has_to_come_out_below() -> None:
    assert strength(RULE, falling(out=True)) < 0.2
    assert strength(RULE, falling(out=False)) > 0.5
    on_the_floor = (*HUNG[:3], 480.0)
    assert abstains(RULE, falling(out=False, hider=on_the_floor), "not_applicable")
