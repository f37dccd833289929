"""Scraps of darkening are neither things nor shadows."""

import numpy as np

from vgen.judge.perception.background import find_background
from vgen.judge.perception.segment import Blob
from vgen.judge.perception.sift import sift
from vgen.judge.perception.track import Trail, follow
from vgen.judge.perception.view import View, to_lab

FRAMES = 12
SIZE = (120, 180)
VIEW = View(
    rgb_FYX3=np.full((FRAMES, *SIZE, 3), 128, np.uint8),
    lab_FYX3=to_lab(np.full((FRAMES, *SIZE, 3), 128, np.uint8)),
    inside_FYX=None,
    scale=1.0,
)
PLAIN = find_background(VIEW.rgb_FYX3, VIEW.lab_FYX3, None)


def disc(kind: str, x: float, y: float, radius: int) -> Blob:
    side = 2 * radius + 1
    rows, columns = np.mgrid[:side, :side] - radius
    share_YX = (np.hypot(rows, columns) <= radius).astype(np.float32)
    return Blob(
        kind="shadow" if kind == "shadow" else "body",
        left=int(x) - radius,
        top=int(y) - radius,
        share_YX=share_YX,
        xy=np.array([x, y]),
        area=float(share_YX.sum()),
        lab=np.zeros(3),
        at_border=False,
    )


def trails(aside: float, below: float) -> list[Trail]:
    body = Trail(0, "body", {f: disc("body", 30 + 3.0 * f, 40.0, 10) for f in range(FRAMES)})
    patch = Trail(1, "shadow", {f: disc("shadow", 30 + 3.0 * f + aside, 40.0 + below, 4) for f in range(FRAMES)})
    return [body, patch]


def test_a_dark_patch_within_a_body_is_a_part_of_it() -> None:
    assert [trail.number for trail in sift(trails(-5, 7))] == [0]


def test_a_dark_patch_at_the_foot_of_a_body_is_its_shadow() -> None:
    assert [(trail.number, trail.kind) for trail in sift(trails(0, 12))] == [(0, "body"), (1, "shadow")]


def test_scraps_of_darkening_do_not_jump() -> None:
    """Two of equal looks, one after the other, far apart: each is one of its own, and a thing that jumps is one."""
    for kind, number in (("shadow", 2), ("body", 1)):
        blobs_F = [[disc(kind, 40.0 if frame < 2 else 140.0, 60.0, 6)] for frame in range(4)]
        assert len(follow(VIEW, PLAIN, blobs_F)) == number
