"""Attempts on the judge: edits in time that must lower its score, and edits of the surface that must not move it.

Each takes frames uint8 [F, Y, X, 3] and a seed, and gives frames; the rate stays. To add one: a function and its entry
in `TEMPORAL_ATTACKS` or `SUPERFICIAL_ATTACKS`.
"""

from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vgen.errors import InputError
from vgen.frames import Frames
from vgen.playground.scene import Dice
from vgen.playground.twins.picture import H264, Light

__all__ = ["ATTACKS", "CAPTION", "SUPERFICIAL_ATTACKS", "TEMPORAL_ATTACKS", "Attack"]

CAPTION = "real footage, physically correct"
_MIN_FRAMES = 8
_BAR = 0.12  # height of each bar of the letterbox, as a share of the picture's height
_STRIP = 0.09  # height of the caption's strip


class Attack(Protocol):
    """Edits a clip; raises InputError where it is too short to be edited so that it shows."""

    def __call__(self, frames_FYX3: Frames, seed: int = 0) -> Frames: ...


def reverse(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """Played backwards."""
    return frames_FYX3[::-1].copy()


def shuffle(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """All frames in an order drawn by lot."""
    _check_length(frames_FYX3)
    order = np.argsort([Dice(seed << 32 | index).uniform(0, 1) for index in range(len(frames_FYX3))])
    return frames_FYX3[order]


def freeze(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """From a frame in the second quarter on the picture stands still."""
    _check_length(frames_FYX3)
    frames = len(frames_FYX3)
    last = int(Dice(seed).uniform(0.25, 0.5) * frames)
    return frames_FYX3[np.minimum(np.arange(frames), last)]


def drop(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """A quarter of the frames, in the middle, is left out."""
    _check_length(frames_FYX3)
    frames = len(frames_FYX3)
    gap = frames // 4
    first = int(Dice(seed).uniform(0.3, 0.45) * frames)
    return np.concatenate([frames_FYX3[:first], frames_FYX3[first + gap :]])


def brightness(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """A little brighter."""
    return Light(brightness=0.08)(frames_FYX3, seed)


def reencode(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """Through H.264 at CRF 28."""
    return H264(28)(frames_FYX3, seed)


def border(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """A letterbox: black bars above and below the whole picture, which so becomes higher."""
    bar = 2 * round(_BAR * frames_FYX3.shape[1] / 2)
    return np.pad(frames_FYX3, ((0, 0), (bar, bar), (0, 0), (0, 0)))


def caption(frames_FYX3: Frames, seed: int = 0) -> Frames:
    """A subtitle that claims what the judge is to find out."""
    _, height, width, _ = frames_FYX3.shape
    strip = max(6, round(_STRIP * height))
    font = ImageFont.load_default(size=min(0.75 * strip, 1.9 * width / len(CAPTION)))
    label = Image.new("RGB", (width, strip), "black")
    ImageDraw.Draw(label).text((width / 2, strip / 2), CAPTION, fill="white", font=font, anchor="mm")
    labelled = frames_FYX3.copy()
    labelled[:, height - strip :] = np.asarray(label)
    return labelled


TEMPORAL_ATTACKS: dict[str, Attack] = {"reverse": reverse, "shuffle": shuffle, "freeze": freeze, "drop": drop}
SUPERFICIAL_ATTACKS: dict[str, Attack] = {
    "brightness": brightness,
    "reencode": reencode,
    "border": border,
    "caption": caption,
}
ATTACKS: dict[str, Attack] = {**TEMPORAL_ATTACKS, **SUPERFICIAL_ATTACKS}


def _check_length(frames_FYX3: Frames) -> None:
    if len(frames_FYX3) < _MIN_FRAMES:
        raise InputError(
            f"{len(frames_FYX3)} frames are too few for an attack in time; possible: {_MIN_FRAMES} and more"
        )
