"""The still picture is right where things rest for long, in noise, under soft outlines, and in a trembling hand."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.judge.perception.worlds import FLOOR, RED, SIDE, bodies, painted, rolling, room
from vgen.judge.observation import Floats
from vgen.judge.perception.observe import observe

FRAMES, WALL = 36, (150, 155, 160)
WHITE = (240, 240, 240)


def landing(rest_from: int = 12) -> Floats:
    """Falls from the top of the picture and rests on the floor for the remaining frames."""
    fall = np.minimum(np.arange(FRAMES), rest_from) / rest_from
    return np.stack([np.full(FRAMES, 64.0), 20 + (FLOOR - 29.0) * fall**2], 1)


def plain(path_F2: Floats, paint: tuple[int, int, int], radius: float = 9.0) -> npt.NDArray[np.uint8]:
    """A ball before a wall without texture."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    clip = np.empty((len(path_F2), SIDE, SIDE, 3), np.uint8)
    for frame, (ball_x, ball_y) in enumerate(path_F2):
        picture = np.full((SIDE, SIDE, 3), WALL, np.float64)
        picture[FLOOR:] = (90, 85, 80)
        cover = np.clip(radius + 0.5 - np.hypot(x - ball_x, y - ball_y), 0, 1)[..., None]
        clip[frame] = (picture * (1 - cover) + np.array(paint) * cover + 0.5).astype(np.uint8)
    return clip


@pytest.mark.parametrize("paint", [RED, WHITE])
def test_noise_leaves_no_ghost_where_a_thing_comes_to_rest(paint: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 6, (FRAMES, SIDE, SIDE, 3))
    clip = (plain(landing(), paint) + noise).clip(0, 255).astype(np.uint8)
    (ball,) = bodies(observe(clip, 16.0))
    np.testing.assert_allclose(ball.xy_F2[:, 1], landing()[:, 1], atol=0.6)


@pytest.mark.parametrize("paint", [RED, WHITE])
def test_soft_outlines_do_not_lead_the_background_into_a_thing(paint: tuple[int, int, int]) -> None:
    clip = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.8) for frame in plain(landing(), paint)])
    seen = observe(clip, 16.0)
    (ball,) = bodies(seen)
    np.testing.assert_allclose(ball.xy_F2[:, 1], landing()[:, 1], atol=0.6)
    assert seen.background_YX3 is not None
    off = seen.background_YX3[80:100, 54:74].astype(float) - WALL
    assert np.abs(off).mean() < 6


def test_a_camera_that_trembles_by_a_pixel_moves() -> None:
    shift_F2 = np.random.default_rng(1).normal(0, 1.0, (FRAMES, 2))
    shift_F2[FRAMES // 2] = 0  # the reference frame
    clip = room([(rolling(FRAMES), painted(FRAMES))], shift_F2=shift_F2)
    seen = observe(clip, 16.0)
    assert seen.camera.moving
    (ball,) = bodies(seen)
    np.testing.assert_allclose(ball.xy_F2, rolling(FRAMES), atol=0.6)


def test_a_mark_on_the_ground_that_is_crossed_stays_scenery() -> None:
    clip = plain(rolling(FRAMES), WHITE)
    for frame in clip:
        cv2.ellipse(frame, (70, FLOOR + 5), (16, 4), 0, 0, 360, RED, -1, cv2.LINE_AA)
    seen = observe(clip, 16.0)
    assert len(bodies(seen)) == 1


def test_edges_in_the_wall_do_not_let_a_thing_into_the_background() -> None:
    """Beside where it comes to rest, dark gaps between planks are most of what never changes."""
    clip = plain(landing(10), (60, 130, 95), radius=14.0)
    gaps = np.zeros((SIDE, SIDE), np.bool_)
    gaps[:FLOOR, 8::14] = True
    clip[:, gaps] = (clip[:, gaps] * 0.45).astype(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    for frame, (ball_x, ball_y) in enumerate(landing(10)):
        clip[frame][np.hypot(x - ball_x, y - ball_y) < 14] = (60, 130, 95)
    background = observe(clip, 20.0).background_YX3
    assert background is not None
    rested = (np.hypot(x - 64, y - (FLOOR - 9)) < 11) & (y < FLOOR - 2) & ~gaps
    assert np.abs(background[rested].astype(int) - WALL).max() < 40
