"""irreversibility: pieces alike that come back count, whichever they are; those that stay where they fell do not."""

import numpy as np

from tests.judge.rules.checks import strength
from tests.judge.rules.world import DIAMETER, body, event, seen
from vgen.judge.observation import Observation, Sight
from vgen.judge.rules.irreversibility import RULE

FRAMES, BREAKS, GROUND = 60, 15, 388.0
PLACES = ((-0.25, 0.25), (0.25, 0.25), (-0.25, -0.25), (0.25, -0.25))  # of the quarters, in diameters of the whole


def scene(back: int) -> Observation:
    """A disc breaks into four, seen to part only far off; so many of them come back to where they were."""
    frame_F = np.arange(FRAMES)
    whole_F2 = np.tile((300.0, GROUND), (FRAMES, 1))
    tracks = [body(whole_F2, seed=0, sight_F=np.where(frame_F < BREAKS, Sight.SEEN, Sight.OCCLUDED))]
    for index, (x, y) in enumerate(PLACES):
        rest_F = np.clip((frame_F - BREAKS) / 8, 0, 1) - np.clip((frame_F - 35) / 8, 0, 1) * (index < back)
        way_F2 = np.stack([DIAMETER * (x + 3 * rest_F), DIAMETER * (y + (0.25 - y) * rest_F)], -1)
        sight_F = np.where(frame_F < BREAKS, Sight.OCCLUDED, Sight.SEEN)
        tracks.append(body(whole_F2 + way_F2, id=index + 1, seed=index + 1, diameter=DIAMETER / 2, sight_F=sight_F))
    split = event("split", BREAKS, tuple(range(5)), xy=(300 - 6 * DIAMETER, GROUND))
    return seen(*tracks, events=[split])


def test_what_fills_the_old_place_again_went_back() -> None:
    strengths = [strength(RULE, scene(back)) for back in range(5)]
    assert strengths[0] == 0
    assert strengths == sorted(strengths)
    assert strengths[2] > 0.25
    assert strengths[4] > 0.6
