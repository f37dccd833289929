"""mirror: a reflection that falls behind counts; two things that meet are no reflections."""

import numpy as np

from tests.judge.rules.checks import abstains, holds, unit_free
from tests.judge.rules.world import body, collide, event, seen, throw, uniform
from vgen.judge.observation import Observation
from vgen.judge.rules.mirror import RULE

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
