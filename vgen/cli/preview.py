"""What a run is about to make, as a small picture beside the clip that is replaced each time (`--preview`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vgen.clip import contact_sheet, spread
from vgen.files import replacing
from vgen.frames import Frames, check_frames

__all__ = ["PREVIEW_FRAMES", "preview_sheet", "write_preview"]

PREVIEW_FRAMES = 8
_COLUMNS = 4
_SIDE_PX = 256
_TITLE_PX = 16


def write_preview(path: Path, frames_FYX3: Frames, *, title: str, times_s: Sequence[float] | None = None) -> None:
    """Writes `preview_sheet` as a PNG; whoever looks at `path` meanwhile sees the old sheet or the new one, whole.

    Raises:
        InputError: it cannot be written there.
    """
    sheet = preview_sheet(frames_FYX3, title=title, times_s=times_s)
    with replacing(path) as partial:
        sheet.save(partial, format="PNG")


def preview_sheet(frames_FYX3: Frames, *, title: str, times_s: Sequence[float] | None = None) -> Image.Image:
    """At most 8 frames, evenly spread and at most 256 pixels wide or high, under one line of text.

    Args:
        frames_FYX3: the guess, decoded; uint8, at least one frame.
        title: where the run stands, such as `chunk 2, step 6 of 24, 31 s`.
        times_s: where in the clip each frame lies, for the captions; none where None.
    """
    check_frames(frames_FYX3)
    shown = spread(len(frames_FYX3), PREVIEW_FRAMES)
    captions = [""] * len(shown) if times_s is None else [f"{times_s[index]:.2f} s" for index in shown]
    pictures = contact_sheet(_shrunk(frames_FYX3[shown]), captions, columns=_COLUMNS)
    font = ImageFont.load_default(_TITLE_PX)
    width = max(pictures.width, int(font.getlength(title)) + 2 * _TITLE_PX)
    sheet = Image.new("RGB", (width, pictures.height + 2 * _TITLE_PX), "white")
    ImageDraw.Draw(sheet).text((_TITLE_PX / 2, _TITLE_PX / 2), title, fill="black", font=font)
    sheet.paste(pictures, (0, 2 * _TITLE_PX))
    return sheet


def _shrunk(frames_FYX3: Frames) -> Frames:
    _, height, width, _ = frames_FYX3.shape
    scale = _SIDE_PX / max(height, width)
    if scale >= 1:
        return frames_FYX3
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([np.asarray(Image.fromarray(frame_YX3).resize(size)) for frame_YX3 in frames_FYX3])
