"""Frames in order are told from shuffled ones without a thing to follow."""

import numpy as np
import pytest

from vgen.judge.perception.order import disorder
from vgen.judge.perception.view import View

FRAMES, SIDE = 30, 64


def seen(frames_FYX3: np.ndarray) -> View:
    return View(rgb_FYX3=frames_FYX3, lab_FYX3=frames_FYX3.astype(np.float32), inside_FYX=None, scale=1.0)


def moving(step_px: float, *, noise: float = 0.0) -> np.ndarray:
    """A square of 12 pixels that goes to the right before a still ground."""
    frames_FYX3 = np.full((FRAMES, SIDE, SIDE, 3), 90.0)
    for frame in range(FRAMES):
        left = 2 + round(frame * step_px)
        frames_FYX3[frame, 26:38, left : left + 12] = (210, 60, 40)
    frames_FYX3 += noise * np.random.Generator(np.random.Philox(key=1)).standard_normal(frames_FYX3.shape)
    return frames_FYX3.round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 6.0])
@pytest.mark.parametrize("step_px", [0.8, 1.6])
def test_order_and_disorder(step_px: float, noise: float) -> None:
    clip_FYX3 = moving(step_px, noise=noise)
    mixed = np.random.Generator(np.random.Philox(key=2)).permutation(FRAMES)
    assert disorder(seen(clip_FYX3)) < 0.6
    assert disorder(seen(clip_FYX3[mixed])) > 0.85
    assert disorder(seen(clip_FYX3[::-1])) == pytest.approx(disorder(seen(clip_FYX3)))


def test_what_hardly_changes_or_is_short_is_in_order() -> None:
    assert disorder(seen(moving(0.0, noise=2.0))) == 0
    assert disorder(seen(moving(1.6)[:8])) == 0
