"""Outlines of the forms: signed distances that follow turn and stretch. To add one: its row here and in `film.FORMS`.

Lengths are in radii of the form (`Actor.radius_F`); `u`, `v` run along the thing's own axes. Letters beyond the
project's legend: `P` corners of an outline, in order.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vgen.playground.render import box_distance, segment_distance
from vgen.playground.twins.film import Form

__all__ = ["CORNERS", "ELLIPSE_AXES", "REACH", "form_distance", "polygon_distance"]


def _spokes(*lengths: float, points: int) -> npt.NDArray[np.float64]:
    """Corners on spokes of the given lengths in turn, the first one up, scaled to the area of the unit disc."""
    count = points * len(lengths)
    angle = math.pi / 2 + 2 * math.pi * np.arange(count) / count
    corners_P2 = np.resize(lengths, count)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    x, y = corners_P2.T
    area = 0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))
    scaled: npt.NDArray[np.float64] = corners_P2 * math.sqrt(math.pi / area)
    return scaled


CORNERS: dict[Form, npt.NDArray[np.float64]] = {
    "triangle": _spokes(1.0, points=3),
    "star": _spokes(1.0, 0.5, points=5),
    "pentagon": _spokes(1.0, points=5),
}
ELLIPSE_AXES = (1.35, 1 / 1.35)

REACH: dict[Form, float] = {  # radius of the circle around each form, in its own radii
    "ball": 1.0,
    "box": math.sqrt(2),
    "ellipse": ELLIPSE_AXES[0],
    **{form: float(np.hypot(*corners_P2.T).max()) for form, corners_P2 in CORNERS.items()},
}


def form_distance(form: Form, u: Tensor, v: Tensor, stretch_u: Tensor, stretch_v: Tensor) -> Tensor:
    """Signed distance to the outline of a form, negative inside; near the outline exact to first order.

    Args:
        form: which one.
        u, v: points, in radii.
        stretch_u, stretch_v: factors along the two axes; broadcast against `u`.
    """
    if form == "box":
        return box_distance(u.abs() - stretch_u, v.abs() - stretch_v)
    if form in CORNERS:
        corners_P2 = torch.from_numpy(CORNERS[form]).to(u.dtype)
        return polygon_distance(u, v, [(stretch_u * x, stretch_v * y) for x, y in corners_P2])
    axes = ELLIPSE_AXES if form == "ellipse" else (1.0, 1.0)
    return _ellipse_distance(u, v, stretch_u * axes[0], stretch_v * axes[1])


def polygon_distance(x: Tensor, y: Tensor, corners: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Signed distance to a polygon, negative inside, whichever way its corners run.

    Even-odd rule for the sign, the nearest edge for the size.

    Args:
        x, y: points.
        corners: x and y of each corner, which broadcast against the points.
    """
    nearest: Tensor | None = None
    inside: Tensor | None = None
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        edge_x, edge_y = x1 - x0, y1 - y0
        away = segment_distance(x - x0, y - y0, edge_x, edge_y)
        nearest = away if nearest is None else torch.minimum(nearest, away)
        left = (edge_x * (y - y0) > edge_y * (x - x0)) == (y1 > y0)
        crossed = ((y >= y0) != (y >= y1)) & left
        inside = crossed if inside is None else inside ^ crossed
    assert nearest is not None and inside is not None, "a polygon has corners"
    return torch.where(inside, -nearest, nearest)


def _ellipse_distance(u: Tensor, v: Tensor, axis_u: Tensor, axis_v: Tensor) -> Tensor:
    """Value over gradient of the implicit function; exact for a circle."""
    reach = torch.hypot(u / axis_u, v / axis_v)
    slope = torch.hypot(u / axis_u**2, v / axis_v**2) / reach.clamp_min(1e-6)
    centre = torch.minimum(axis_u, axis_v)
    return torch.where(reach < 1e-6, -centre, (reach - 1) / slope.clamp_min(1e-6))
