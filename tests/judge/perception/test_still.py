"""What never moves in the background's place is told from what moves, though other things pass in front of it."""

import numpy as np

from vgen.judge.perception.segment import Blob
from vgen.judge.perception.still import strays, uncut


def patch(left: int, width: int) -> Blob:
    """A patch 10 pixels high."""
    return Blob(
        kind="body",
        left=left,
        top=0,
        share_YX=np.ones((10, width), np.float32),
        xy=np.array([left + width / 2, 5.0]),
        area=10.0 * width,
        lab=np.zeros(3),
        at_border=False,
    )


def test_what_is_cut_by_a_passing_thing_does_not_stray() -> None:
    resting = {frame: patch(40, 10) for frame in range(20)}
    cut = resting | {frame: patch(40 + frame - 10, 20 - frame) for frame in range(12, 17)}
    assert strays(cut)
    assert not strays(uncut(cut))
    assert strays(uncut({frame: patch(40 + frame, 10) for frame in range(20)}))
