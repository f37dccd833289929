"""path_behind_occluder: another height or direction counts, another time does not."""

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.hidden import behind, passer, path
from tests.judge.rules.world import DIAMETER, body, seen
from vgen.judge.observation import Observation
from vgen.judge.rules.path_behind_occluder import RULE


def scene(severity: float, seed: int) -> Observation:
    return behind(passer(path(beside_px=2 * severity * DIAMETER), seed=seed, floor=None))


def test_law() -> None:
    holds(RULE, scene, kept=0.05, broken=0.6)
    unit_free(RULE, scene)


def test_coming_back_out_is_a_turn() -> None:
    assert strength(RULE, behind(passer(path(back=True)))) > 1


def test_time_is_not_its_business() -> None:
    assert strength(RULE, behind(passer(path(delay_px=DIAMETER)))) < 0.1


def test_abstains() -> None:
    assert abstains(RULE, seen(body(path())), "not_applicable")
    noisy = body(path(), sigma=4.0, sight_F=passer(path()).sight_F)
    assert abstains(RULE, behind(noisy), "undecidable")
