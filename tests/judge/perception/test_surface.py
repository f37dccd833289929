"""Surfaces: a floor's edge is found in the dark, and texture alone is none."""

import numpy as np

from vgen.judge.perception.background import Background, find_background
from vgen.judge.perception.surface import find_edges
from vgen.judge.perception.view import to_lab

SIDE, FLOOR = 128, 100


def room(floor: float) -> Background:
    """A dark rough wall, with a floor that is a little lighter."""
    rough = np.random.default_rng(0).normal(0, 2.5, (SIDE, SIDE, 1))
    grey = np.where(np.arange(SIDE)[:, None, None] >= FLOOR, floor, 24.0)
    rgb_FYX3 = np.repeat((grey + rough).round().clip(0, 255).astype(np.uint8)[None], 4, 0).repeat(3, -1)
    return find_background(rgb_FYX3, to_lab(rgb_FYX3), None)


def test_floor_in_the_dark() -> None:
    rows_YX = find_edges(room(33.0)).rows_YX
    level_X = np.where(np.isfinite(rows_YX), rows_YX, np.inf).min(0)
    assert (np.abs(level_X - FLOOR) < 2).mean() > 0.6
    assert np.isfinite(rows_YX[: FLOOR - 4]).mean() < 0.01


def test_texture_alone_is_no_surface() -> None:
    assert not np.isfinite(find_edges(room(24.0)).rows_YX).any()
