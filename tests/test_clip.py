"""The clip as a value: checks, digest, sheet, preview, names for output."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.moving import moving_frames
from vgen.clip import Clip, default_output
from vgen.errors import InputError
from vgen.frames import Frames
from vgen.records import read_record


@pytest.mark.parametrize(
    ("frames", "fps"),
    [
        (moving_frames().astype(np.float32), 12),
        (moving_frames()[0], 12),
        (moving_frames()[..., :2], 12),
        (moving_frames()[:0], 12),
        (moving_frames(), 0),
        (moving_frames(), float("inf")),
    ],
)
def test_only_frames_make_a_clip(frames: Frames, fps: float) -> None:
    with pytest.raises(AssertionError):
        Clip(frames=frames, fps=fps)


def test_float_frames_span_zero_to_one_and_round_back() -> None:
    frames = np.arange(256 * 3, dtype=np.uint8).reshape(1, 16, 16, 3)
    floats = Clip(frames=frames, fps=12).float_frames()
    assert floats.dtype == np.float32 and (floats.min(), floats.max()) == (0, 1)
    assert np.array_equal(np.rint(floats * 255).astype(np.uint8), frames)


def test_digest_tells_pixels_and_size_apart() -> None:
    frames = moving_frames()
    changed = frames.copy()
    changed[-1, -1, -1, -1] ^= 1
    others = [changed, frames[:-1], frames.reshape(10, 48, 32, 3), frames[::-1]]
    digests = {Clip(frames=other, fps=12).sha256() for other in [frames, *others]}
    assert len(digests) == 5
    assert Clip(frames=frames[:, ::-1][:, ::-1], fps=8).sha256() in digests  # not memory layout, nor rate


def test_digest_is_fixed() -> None:
    """Records hold it, so it must never change."""
    frames = np.arange(2 * 2 * 4 * 3, dtype=np.uint8).reshape(2, 2, 4, 3)
    digest = Clip(frames=frames, fps=12).sha256()
    assert digest == "ffe95dd5892edb51711ea86f1ccee9434e27f990803e2370151bd026812a1a2f"


def test_saving_puts_the_record_beside_and_inside(tmp_path: Path) -> None:
    record = {"request": {"prompt": 'ein roter Ball; "#1" = \\ 球\nrollt'}, "seed": 2**53 + 1, "numbers": [0.1, None]}
    path = Clip(frames=moving_frames(), fps=12, record=record).save(tmp_path / "clip.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.json", "clip.mp4"]
    assert read_record(path) == read_record(tmp_path / "clip.json") == record


def test_sheet_shows_frames_in_order_with_first_and_last() -> None:
    clip = Clip(frames=moving_frames(30), fps=12)
    sheet = np.asarray(clip.sheet(columns=4, rows=3))
    found = [bool((np.lib.stride_tricks.sliding_window_view(sheet, (32, 48, 3)) == f).all((-1, -2, -3)).any())
             for f in clip.frames[[0, -1]]]  # fmt: skip
    assert found == [True, True]
    assert clip.sheet(columns=4, rows=3).width == 4 * 48 + 5 * 2
    one = Clip(frames=moving_frames(1), fps=12).sheet()
    assert one.width == 48 + 2 * 2


def test_preview_moves_and_is_small() -> None:
    clip = Clip(frames=moving_frames(60, 300, 400), fps=24)
    source = re.search(r'src="data:image/gif;base64,([^"]+)"', clip._repr_html_())
    assert source
    with Image.open(io.BytesIO(base64.b64decode(source[1]))) as preview:
        assert preview.size == (256, 192)
        assert 40 <= getattr(preview, "n_frames", 0) <= 48


def test_default_output_is_a_new_folder_each_time(tmp_path: Path) -> None:
    root = tmp_path / "out"
    paths = [default_output("A réd ball/../rolls: to the RIGHT across the whole floor", 7, root=root) for _ in range(3)]
    assert len(set(paths)) == 3
    for path in paths:
        assert path.parent.parent == root and path.parent.is_dir() and path.name == "clip.mp4"
        assert re.fullmatch(r"\d{8}T\d{6}Z-a-red-ball-rolls-to-the-right-across-the-7(-\d)?", path.parent.name)
    assert "-clip-7" in default_output("球", 7, root=root).parent.name
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make a folder in"):
        default_output("a ball", 7, root=tmp_path / "file")
