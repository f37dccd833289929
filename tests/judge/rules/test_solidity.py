"""solidity: sinking into each other, passing through and sinking into the ground count; touching does not."""

import numpy as np
import pytest

from tests.judge.rules.checks import abstains, holds, strength, unit_free
from tests.judge.rules.world import DIAMETER, FLOOR_Y, SIGMA, body, collide, event, seen, throw, uniform
from vgen.judge.observation import Observation, Sight
from vgen.judge.rule import Abstention
from vgen.judge.rules.solidity import RULE

FRAMES = 50
STANDS = FLOOR_Y - DIAMETER / 2
BLUE = (50.0, 0.0, -40.0)


@pytest.mark.parametrize("lab", [BLUE, (60.0, 40.0, 20.0)])
def test_law_of_two(lab: tuple[float, float, float]) -> None:
    def scene(severity: float, seed: int) -> Observation:
        """They turn round only when this deep in each other; while they overlap neither is wholly seen."""
        reach = DIAMETER * max(1 - severity, 0.02)
        one, other, meet = collide(FRAMES, ((120, STANDS), (8, 0)), ((500, STANDS), (-5, 0)), diameters=(reach, reach))
        overlap_F = np.abs(other[:, 0] - one[:, 0]) < DIAMETER
        sight_F = np.where(overlap_F, Sight.PARTLY, Sight.SEEN).astype(np.uint8)
        tracks = (body(one, seed=seed, sight_F=sight_F), body(other, id=1, seed=seed, sight_F=sight_F, lab=lab))
        return seen(*tracks, events=[event("contact", meet, (0, 1))])

    holds(RULE, scene, kept=0.05, broken=0.25)
    unit_free(RULE, scene)


def test_crossing_with_kept_velocities_is_passing_in_front() -> None:
    one, other = uniform(FRAMES, (120, STANDS), (8, 0)), uniform(FRAMES, (500, STANDS), (-5, 0))
    sight_F = np.where(np.abs(other[:, 0] - one[:, 0]) < DIAMETER, Sight.PARTLY, Sight.SEEN)
    tracks = (body(one, sight_F=sight_F, floor=None), body(other, id=1, sight_F=sight_F, lab=BLUE, floor=None))
    assert abstains(RULE, seen(*tracks), "not_applicable")


def test_sinking_into_the_ground() -> None:
    def scene(severity: float, seed: int) -> Observation:
        motion = throw(FRAMES, (80, 150), (2, 0))
        xy_F2 = motion.xy_F2.copy()
        sunk = severity * DIAMETER * (xy_F2[:, 1] > STANDS - 1.5 * DIAMETER)
        free_F = FLOOR_Y - DIAMETER / 2 - xy_F2[:, 1]
        standing_F = np.where((sunk > 0) | (free_F < 1), 0.0, free_F)
        return seen(body(xy_F2 + np.stack([0 * sunk, sunk], -1), seed=seed, standing_F=standing_F))

    holds(RULE, scene, kept=0.05, broken=0.2)


def test_abstains() -> None:
    assert abstains(RULE, seen(body(uniform(FRAMES, (80, 150), (3, 0)))), "not_applicable")
    one, other, _ = collide(FRAMES, ((120, STANDS), (8, 0)), ((500, STANDS), (-5, 0)))
    noisy = (body(one, sigma=30 * SIGMA, floor=None), body(other, id=1, sigma=30 * SIGMA, floor=None))
    assert abstains(RULE, seen(*noisy), "undecidable")


@pytest.mark.parametrize("frames", [30, 40])
def test_edges_that_a_thing_falls_past_freely_are_no_ground(frames: int) -> None:
    """The clip ends while it is half way past a hill's edge, or with it wholly below."""
    xy_F2 = throw(frames, (80, 60), (2, 0), floor=10_000.0).xy_F2
    edge = xy_F2[29, 1]  # half of it is below in frame 29
    free_F = edge - DIAMETER / 2 - xy_F2[:, 1]
    falling = body(xy_F2, standing_F=np.where(free_F > 0, free_F, np.nan))
    measured = RULE.measure(seen(falling))
    assert isinstance(measured, Abstention) or strength(RULE, seen(falling)) == 0
