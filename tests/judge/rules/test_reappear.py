"""reappear: early and late count, beside the way does not."""

import pytest

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.hidden import behind, passer, path
from tests.judge.rules.world import DIAMETER, body, seen
from vgen.judge.observation import Observation
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
