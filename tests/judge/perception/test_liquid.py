"""Liquids are found in drawn vessels with the slope they have, and nowhere else."""

import cv2
import numpy as np
import pytest

from vgen.judge.perception.liquid import find_liquids
from vgen.judge.perception.view import View, to_lab

FRAMES, SIDE = 8, 160
SKY, WALL, WATER = (150, 165, 150), (50, 55, 50), (60, 130, 170)


def vessel(slope: float, wall: tuple[int, int, int] = WALL) -> np.ndarray:
    """A picture of a vessel whose liquid falls by `slope` pixels per pixel to the right."""
    picture = np.full((SIDE, SIDE, 3), SKY, np.uint8)
    cv2.rectangle(picture, (50, 50), (110, 120), wall, -1)
    cv2.rectangle(picture, (57, 50), (103, 113), SKY, -1)
    low = 80 + slope * np.array([-23, 23])
    corners = np.array([(57, low[0]), (103, low[1]), (103, 113), (57, 113)])
    cv2.fillPoly(picture, [np.round(corners * 16).astype(np.int32)], WATER, cv2.LINE_AA, 4)
    return picture


def seen(picture: np.ndarray) -> View:
    rgb_FYX3 = np.stack([picture] * FRAMES)
    return View(rgb_FYX3=rgb_FYX3, lab_FYX3=to_lab(rgb_FYX3), inside_FYX=None, scale=0.5)


@pytest.mark.parametrize("slope", [0.0, 0.15, -0.3])
def test_slope(slope: float) -> None:
    (liquid,) = find_liquids(seen(vessel(slope)), 0.5, (2, 2 + FRAMES), 12)
    along_F2 = liquid.ends_F22[2:10, 1] - liquid.ends_F22[2:10, 0]
    np.testing.assert_allclose(along_F2[:, 1] / along_F2[:, 0], slope, atol=0.03)
    assert np.isnan(liquid.ends_F22[[0, 1, 10, 11]]).all()
    assert liquid.width_px == pytest.approx(2 * 44 * np.hypot(1, slope), rel=0.08)


def test_a_vessel_may_stand_on_what_looks_like_it() -> None:
    picture = vessel(0.15)
    picture[121:] = np.array(WALL) + 8
    (liquid,) = find_liquids(seen(picture), 0.5, (0, FRAMES), FRAMES)
    along_F2 = liquid.ends_F22[:, 1] - liquid.ends_F22[:, 0]
    np.testing.assert_allclose(along_F2[:, 1] / along_F2[:, 0], 0.15, atol=0.03)


def test_boxes_balls_and_slabs_hold_none() -> None:
    picture = np.full((SIDE, SIDE, 3), SKY, np.uint8)
    picture[120:] = WALL
    cv2.rectangle(picture, (30, 80), (60, 119), WATER, -1)
    cv2.circle(picture, (110, 90), 20, WATER, -1, cv2.LINE_AA)
    assert find_liquids(seen(picture), 0.5, (0, FRAMES), FRAMES) == ()
    assert find_liquids(seen(vessel(0.0, wall=SKY)), 0.5, (0, FRAMES), FRAMES) == ()


def test_a_frame_and_a_stripe_are_no_surface() -> None:
    """A square within a frame, as on a box, and the half of a ball below its stripe."""
    picture = np.full((SIDE, SIDE, 3), SKY, np.uint8)
    for side, paint in ((24, WATER), (17, WALL), (12, WATER)):
        cv2.rectangle(picture, (50 - side, 60 - side), (50 + side, 60 + side), paint, -1)
    cv2.circle(picture, (115, 100), 22, WATER, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (93, 98), (137, 102), WALL, -1)
    assert find_liquids(seen(picture), 0.5, (0, FRAMES), FRAMES) == ()
