"""Whether a clip keeps its objects: those of its first frame, and over a long clip how many of each colour there are.

Nothing is forgiven because physics might explain it: a ball may come to rest behind a slab, and in a real render it
does, which is what the same figure of renders stands beside for (of 32 long ones one loses a ball so).
"""

from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from vgen.frames import Frames
from vgen.playground import see as seeing
from vgen.playground.scene import COLOURS, Body
from vgen.playground.see import MIN_PEAK_AREA, Thing, see

__all__ = ["census", "ending", "keeps_first", "keeps_going"]


def ending(frames_FYX3: Frames, fps: float) -> Frames:
    """The last second of a clip."""
    return frames_FYX3[-max(1, round(fps)) :]


def keeps_first(frames_FYX3: Frames, things: Iterable[Thing], bodies: Iterable[Body], fps: float) -> dict[str, bool]:
    """Whether the objects of a picture are those of the clip that was made from it.

    Args:
        frames_FYX3: the clip.
        things: that the world's detector saw in it.
        bodies: what the picture shows; no two of one colour.
        fps: frames per second.

    Returns:
        `in_first_frame`: each is there from the start. `as_they_are`: over the clip each has its shape.
        `at_the_end`: each is there in the last second, if only for a third of it. `nothing_new`: no other colour is
        seen, at the start, over the clip or at the end.
    """
    shape_of = {body.colour: body.shape for body in bodies}
    first, last = ({thing.colour for thing in see(part)} for part in (frames_FYX3[:1], ending(frames_FYX3, fps)))
    over = {thing.colour: thing.shape for thing in things}
    return {
        "in_first_frame": shape_of.keys() <= first,
        "as_they_are": all(over.get(colour) == shape for colour, shape in shape_of.items()),
        "at_the_end": shape_of.keys() <= last,
        "nothing_new": first | last | over.keys() <= shape_of.keys(),
    }


def census(frames_FYX3: Frames) -> dict[str, int]:
    """How many things of each colour a stretch of frames shows: the median over those that show the colour at all.

    The detector follows one thing of a colour, which in a real clip is all there is. A ball that a model has made two
    of is only seen by counting spots, those of at least half of the smallest object's area.
    """
    labels_FYX = seeing._colour_of_pixels(frames_FYX3)  # private there because that file is frozen with its digest
    least = MIN_PEAK_AREA * min(frames_FYX3.shape[1:3]) ** 2
    return {
        thing.colour: max(1, int(np.median([_spots(labels_FYX[frame] == index, least) for frame in seen])))
        for thing in see(frames_FYX3)
        for index, seen in [(COLOURS.index(thing.colour), np.flatnonzero(thing.seen_F))]
    }


def keeps_going(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, bool]:
    """Whether what a clip shows at its end is what it showed before; a clip that showed nothing has kept nothing.

    Args:
        before, after: things by colour, as `census` counts them.

    Returns:
        `colours`: each colour is there again. `count`: of each there are as many things, none lost and none new.
    """
    shown = bool(before)
    return {
        "colours": shown and before.keys() <= after.keys(),
        "count": shown and before == after,
    }


def _spots(mask_YX: np.ndarray, least_px: float) -> int:
    """Connected spots of at least so many pixels."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask_YX.astype(np.uint8))
    return int((stats[1:, cv2.CC_STAT_AREA] >= least_px).sum())
