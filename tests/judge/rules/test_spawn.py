"""spawn: out of nothing counts; from hiding, from outside and from the start do not."""

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import body, event, seen, uniform
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.lives import broken
from vgen.judge.rules.spawn import RULE

FRAMES = 48


def scene(severity: float, seed: int, code: Sight = Sight.LOST) -> Observation:
    sight_F = np.zeros(FRAMES, np.uint8)
    shown = round(0.6 * severity * FRAMES) or FRAMES
    sight_F[: FRAMES - shown] = code
    return seen(body(uniform(FRAMES, (100, 388), (5, 0)), seed=seed, sight_F=sight_F))


def test_law() -> None:
    holds(RULE, scene, kept=0.0, broken=0.3)
    unit_free(RULE, scene)


def test_what_was_hidden_or_comes_in_did_not_spawn() -> None:
    assert strength(RULE, scene(0.5, 0, Sight.OCCLUDED)) == 0
    assert strength(RULE, scene(0.5, 0, Sight.OUTSIDE)) == 0


def test_what_parts_from_another_was_there() -> None:
    obs = scene(0.5, 0)
    first = int(np.flatnonzero(obs.tracks[0].seen_F)[0])
    assert abstains(RULE, seen(*obs.tracks, events=[event("split", first, (0,))]), "not_applicable")


def test_pieces_are_told_though_something_else_parts_with_them() -> None:
    """A scrap of shadow that leaves a body with its pieces makes them no two things that stood together."""
    first = FRAMES // 2
    sight_F = np.where(np.arange(FRAMES) < first, Sight.LOST, Sight.SEEN).astype(np.uint8)
    whole = body(uniform(FRAMES, (100, 388), (0, 0)))
    piece = body(uniform(FRAMES, (100, 388), (3, 0)), id=1, sight_F=sight_F)
    scrap = body(uniform(FRAMES, (100, 400), (0, 0)), id=2, sight_F=sight_F, lab=(9.0, -7.0, 9.0))
    obs = seen(whole, piece, scrap, events=[event("split", first, (0, 1, 2))])
    assert broken(obs) == {0, 1}
    assert broken(seen(whole, scrap, events=[event("split", first, (0, 2))])) == frozenset()


def test_abstains_where_nothing_shows() -> None:
    assert abstains(RULE, seen(body(uniform(8, (0, 0), (1, 0)), sight_F=np.full(8, Sight.LOST))), "not_applicable")
