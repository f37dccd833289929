"""Small drawn worlds with known truth: playground scenes, and a plain room with balls that go where a test says."""

import cv2
import numpy as np
import numpy.typing as npt

from vgen.judge.observation import Floats, Observation, Track
from vgen.playground.render import render
from vgen.playground.scene import Event, Scene, sample_scene
from vgen.playground.simulate import Trajectory, simulate

SIDE, FLOOR = 128, 108
RED, BLUE, GREEN = (210, 40, 40), (40, 80, 220), (30, 170, 60)


def scene_of(event: Event, seed: int = 0) -> Scene:
    return next(scene for scene in map(sample_scene, range(seed, seed + 300)) if scene.event == event)


def truth_px(trajectory: Trajectory, size: int) -> Floats:
    """Centres [N, F, 2] in pixels of a square render."""
    xy = trajectory.states_NF3[..., :2].astype(np.float64)
    return np.stack([xy[..., 0] * size, (1 - xy[..., 1]) * size], -1)


def clip_of(scene: Scene, frames: int, size: int) -> tuple[npt.NDArray[np.uint8], Floats]:
    trajectory = simulate(scene, frames)
    return render([scene], [trajectory], height=size, width=size)[0].numpy(), truth_px(trajectory, size)


def room(
    balls: list[tuple[Floats, Floats]], radius: float = 9.0, shift_F2: Floats | None = None, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Balls before a textured wall on a plain floor.

    Args:
        balls: centres [F, 2] in pixels, NaN where it does not exist, and paint [F, 3].
        radius: of all.
        shift_F2: by which the whole picture is moved, per frame.
        seed: of the wall's texture.
    """
    frames = len(balls[0][0])
    white = np.random.default_rng(seed).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    grain = cv2.GaussianBlur(white, (0, 0), 2.0)
    still = np.full((SIDE, SIDE, 3), (150, 155, 160), np.float32) + 14 * (grain / grain.std())[..., None]
    still[FLOOR:] = (90, 85, 80)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    clip = np.empty((frames, SIDE, SIDE, 3), np.uint8)
    for frame in range(frames):
        picture = still.copy()
        for xy_F2, paint_F3 in balls:
            if np.isfinite(xy_F2[frame]).all():
                cover = np.clip(radius + 0.5 - np.hypot(x - xy_F2[frame, 0], y - xy_F2[frame, 1]), 0, 1)[..., None]
                picture = picture * (1 - cover) + paint_F3[frame] * cover
        if shift_F2 is not None:
            move = np.array([[1, 0, shift_F2[frame, 0]], [0, 1, shift_F2[frame, 1]]], np.float32)
            picture = np.asarray(cv2.warpAffine(picture, move, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))
        clip[frame] = np.clip(picture + 0.5, 0, 255)
    return clip


def rolling(frames: int, start: float = 20.0, speed: float = 2.0, height: float = FLOOR - 9.0) -> Floats:
    return np.stack([start + speed * np.arange(frames), np.full(frames, height)], 1)


def painted(frames: int, paint: tuple[int, int, int] = RED) -> Floats:
    return np.tile(np.array(paint, np.float64), (frames, 1))


def bodies(seen: Observation) -> list[Track]:
    return [track for track in seen.tracks if track.kind == "body"]


def kinds(seen: Observation) -> list[str]:
    return [event.kind for event in seen.events]
