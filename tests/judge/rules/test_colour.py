"""colour: a lasting change in full view counts, flicker and changes out of sight do not."""

from dataclasses import replace

import numpy as np

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.test_identity import recoloured
from tests.judge.rules.world import body, seen, uniform
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.colour import RULE

FRAMES = 40


def scene(severity: float, seed: int) -> Observation:
    track = body(uniform(FRAMES, (100, 388), (5, 0)), seed=seed)
    lab_F3 = track.lab_F3 + np.random.default_rng(seed).normal(0, 1, track.lab_F3.shape)
    lab_F3[22:] += np.array([0, -40 * severity, 0])
    return seen(replace(track, lab_F3=lab_F3))


def test_law() -> None:
    holds(RULE, scene, kept=0.1, broken=0.3)
    unit_free(RULE, scene)


def test_one_odd_frame_is_no_change() -> None:
    track = body(uniform(FRAMES, (100, 388), (5, 0)))
    lab_F3 = track.lab_F3.copy()
    lab_F3[20] += 40
    assert strength(RULE, seen(replace(track, lab_F3=lab_F3))) == 0


def test_a_change_out_of_sight_is_anothers_business() -> None:
    assert strength(RULE, recoloured(0.5, 0)) < 0.1


def test_abstains() -> None:
    short = body(uniform(5, (100, 388), (5, 0)))
    assert abstains(RULE, seen(short), "not_applicable")
    track = body(uniform(FRAMES, (100, 388), (5, 0)), sight_F=np.full(FRAMES, Sight.PARTLY))
    assert abstains(RULE, seen(track), "not_applicable")
