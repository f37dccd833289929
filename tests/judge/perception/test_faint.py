"""Shadows are followed on where they are too faint for any pixel to tell."""

import numpy as np
import numpy.typing as npt

from tests.judge.perception.worlds import FLOOR, SIDE, painted, room
from vgen.judge.observation import Floats
from vgen.judge.perception.observe import observe

FRAMES = 36


def with_shadow(clip_FYX3: npt.NDArray[np.uint8], x_F: Floats, dark_F: Floats) -> npt.NDArray[np.uint8]:
    """A clip with a soft shadow on its floor."""
    x, y = np.arange(SIDE) + 0.5, np.arange(FLOOR, SIDE) + 0.5 - FLOOR
    for frame, (at, dark) in enumerate(zip(x_F, dark_F, strict=True)):
        shade_YX = dark * np.exp(-(((x - at) / 10) ** 2)) * np.exp(-((y[:, None] / 6) ** 2))
        floor_YX3 = clip_FYX3[frame, FLOOR:]
        floor_YX3[:] = (floor_YX3 * (1 - shade_YX[..., None]) + 0.5).astype(np.uint8)
    return clip_FYX3


def test_a_shadow_that_fades_and_comes_back_is_one() -> None:
    frame_F = np.arange(FRAMES, dtype=np.float64)
    ball_F2 = np.stack([20 + 2.4 * frame_F, 60 + (frame_F - 17.5) ** 2 / 10], -1)
    dark_F = 0.05 + 0.35 * ((frame_F - 17.5) / 17.5) ** 2
    clip_FYX3 = with_shadow(room([(ball_F2, painted(FRAMES))]), ball_F2[:, 0] - 6, dark_F)
    shadows = [track for track in observe(clip_FYX3, 24.0).tracks if track.kind == "shadow"]
    assert len(shadows) == 1
    seen_F = np.isfinite(shadows[0].xy_F2[:, 0])
    assert seen_F.mean() > 0.9
    assert np.abs(shadows[0].xy_F2[seen_F, 0] - ball_F2[seen_F, 0] + 6).max() < 4
