"""The preview sheet: small, few frames, first and last among them, one file that is whole at any moment."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.moving import moving_frames
from vgen.cli.preview import PREVIEW_FRAMES, preview_sheet, write_preview
from vgen.errors import InputError
from vgen.frames import Frames


def places(sheet: Image.Image, frames: Frames) -> list[int]:
    """Which of the frames stand in the sheet, pixel by pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(sheet), frames.shape[1:]).reshape(
        -1, *frames[0].shape
    )
    return [index for index, frame in enumerate(frames) if (windows == frame).all((1, 2, 3)).any()]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 30])
def test_at_most_eight_frames_with_the_first_and_the_last(count: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (count, 6, 10, 3), np.uint8)
    found = places(preview_sheet(frames, title="step 1 of 4"), frames)
    assert len(found) == min(count, PREVIEW_FRAMES)
    assert (found[0], found[-1]) == (0, count - 1)


@pytest.mark.parametrize("size", [(480, 832), (832, 480), (2160, 3840), (3, 2000)])
def test_large_frames_make_a_small_sheet(size: tuple[int, int]) -> None:
    sheet = preview_sheet(np.zeros((8, *size, 3), np.uint8), title="step 1 of 4")
    assert sheet.width <= 1100 and sheet.height <= 650


def test_title_and_times_are_drawn_and_a_long_title_fits() -> None:
    frames = np.full((1, 16, 16, 3), 255, np.uint8)
    bare, titled = (np.asarray(preview_sheet(frames, title=title)) for title in ("", "chunk 2, step 6 of 24, 31.5 s"))
    assert bare.min() == 255
    columns = np.flatnonzero((titled < 128).any((0, 2)))
    assert columns[0] > 0 and 100 < columns[-1] < titled.shape[1] - 1
    timed = np.asarray(preview_sheet(frames, title="", times_s=[1.25]))
    assert timed.shape == bare.shape and timed[-16:].min() < 128


def test_each_preview_replaces_the_last(tmp_path: Path) -> None:
    path = tmp_path / "clip.preview.png"
    for frames in (moving_frames(9), 255 - moving_frames(3)):
        write_preview(path, frames, title="step 1 of 4", times_s=[index / 12 for index in range(len(frames))])
        with Image.open(path) as sheet:
            assert places(sheet, frames)[0] == 0
        assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="does not exist"):
        write_preview(tmp_path / "none" / "a.png", moving_frames(2), title="")
