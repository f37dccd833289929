"""A thing that slides past behind a slab, as perception sees it: shared by the tests of what happens out of sight."""

import numpy as np

from tests.judge.rules.world import DIAMETER, FLOOR_Y, Floats, body, seen
from vgen.judge.observation import Observation, Sight, Track

SLAB = (380.0, 250.0, 470.0, FLOOR_Y)
FRAMES = 80
SPEED = 8.0
START = (120.0, FLOOR_Y - DIAMETER / 2)


def sights(x_F: Floats, diameter: float = DIAMETER) -> np.ndarray:
    """Codes of a thing that passes behind `SLAB`."""
    left, _, right, _ = SLAB
    r = diameter / 2
    whole_F = (x_F + r <= left) | (x_F - r >= right)
    gone_F = (x_F - r >= left) & (x_F + r <= right)
    return np.where(whole_F, Sight.SEEN, np.where(gone_F, Sight.OCCLUDED, Sight.PARTLY)).astype(np.uint8)


def path(*, delay_px: float = 0.0, beside_px: float = 0.0, back: bool = False) -> Floats:
    """Behind the slab's middle it is set forward along its way, aside, or turned back."""
    x_F = START[0] + SPEED * np.arange(FRAMES, dtype=float)
    y_F = np.full(FRAMES, START[1])
    middle = (SLAB[0] + SLAB[2]) / 2
    after_F = x_F >= middle + 25 * (delay_px < 0)
    x_F[after_F] += delay_px
    y_F[after_F] -= beside_px
    if back:
        x_F[after_F] = 2 * middle - x_F[after_F]
    return np.stack([x_F, y_F], -1)


def passer(xy_F2: Floats, *, id: int = 0, seed: int = 0, floor: float | None = FLOOR_Y) -> Track:
    return body(xy_F2, id=id, seed=seed, floor=floor, sight_F=sights(xy_F2[:, 0]))


def behind(*tracks: Track) -> Observation:
    return seen(*tracks, occluders=(SLAB,))
