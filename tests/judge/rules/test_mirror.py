"""mirror: a reflection that falls behind counts; two things that meet are no reflections."""

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import FLOOR_Y, body, bounces, collide, event, seen, throw, uniform
from vgen.judge.observation import Observation
from vgen.judge.rule import Abstention
from vgen.judge.rules import RULES
from vgen.judge.rules.mirror import RULE
from vgen.judge.rules.reflections import images

FRAMES = 42
PANE = 420.0


def scene(severity: float, seed: int) -> Observation:
    motion = throw(FRAMES, (80, 250), (6, 0))
    clock_F = np.arange(FRAMES) - 8 * severity * np.clip((np.arange(FRAMES) - FRAMES // 3) / 8, 0, 1)
    image_F2 = np.stack([np.interp(clock_F, np.arange(FRAMES), motion.xy_F2[:, axis]) for axis in (0, 1)], -1)
    image_F2[:, 0] = 2 * PANE - image_F2[:, 0]
    return seen(body(motion.xy_F2, seed=seed), body(image_F2, id=1, seed=seed))


def test_law() -> None:
    holds(RULE, scene, kept=0.05, broken=0.4)
    unit_free(RULE, scene)


def test_abstains() -> None:
    assert abstains(RULE, seen(body(uniform(FRAMES, (80, 150), (3, 0)))), "not_applicable")
    one, other, meet = collide(FRAMES, ((100, 300), (6, 0)), ((400, 300), (-6, 0)))
    meeting = seen(body(one), body(other, id=1), events=[event("contact", meet, (0, 1))])
    assert abstains(RULE, meeting, "not_applicable")


def hops(off_px: float) -> Observation:
    """A ball that bounces beside a pane, and its image, under which there is no floor; late by `off_px` in the end."""
    motion = throw(FRAMES, (80, 150), (5, 0))
    image_F2 = motion.xy_F2.copy()
    image_F2[:, 0] = 2 * PANE - image_F2[:, 0]
    image_F2[FRAMES // 2 :, 0] += off_px
    return seen(body(motion.xy_F2), body(image_F2, id=1, floor=None), events=bounces(motion))


def test_an_image_has_no_forces_of_its_own() -> None:
    assert images(hops(0)) == {1}
    laws = [RULES[name].measure(hops(0)) for name in ("midair_turn", "const_accel", "energy", "restitution")]
    told = [one for law in laws if not isinstance(law, Abstention) for one in law]
    assert told
    assert not [one for one in told if 1 in one.objects or one.strength > 0.1]


def test_an_image_over_an_edge_is_the_one_that_stays_farther_from_it() -> None:
    """The frame of a pane lies a little below where the image turns: not what it bounces on."""
    obs = hops(0)
    motion = throw(FRAMES, (80, 150), (5, 0))
    image = body(obs.tracks[1].xy_F2, id=1, floor=FLOOR_Y + 8)
    assert images(seen(obs.tracks[0], image, events=bounces(motion))) == {1}
    assert images(seen(obs.tracks[0], body(obs.tracks[1].xy_F2, id=1), events=bounces(motion))) == frozenset()


def test_of_two_that_disagree_nobody_says_which_one_errs() -> None:
    assert images(hops(60)) == {0, 1}
    assert strength(RULE, hops(60)) > 0.5
    assert isinstance(RULES["midair_turn"].measure(hops(60)), Abstention)


def test_what_may_have_met_between_two_frames_is_no_reflection() -> None:
    one, other, _ = collide(FRAMES, ((100, 300), (6, 0)), ((400, 300), (-6, 0)))
    assert not images(seen(body(one, floor=None), body(other, id=1, floor=None)))
