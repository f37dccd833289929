"""The world of `vgen.playground.render`, for any film: its palettes, floor, walls, markers and soft shadows."""

import torch
from torch import Tensor

from vgen.playground.render import (
    PALETTES,
    PIVOT_RADIUS,
    ROD_RADIUS,
    Canvas,
    body_colour,
    floor_colour,
    floor_shadow,
    ramp_colour,
    sky_colour,
    slab_colour,
)
from vgen.playground.scene import FLOOR_Y
from vgen.playground.twins.film import Floats
from vgen.playground.twins.style import Body, Pane, Style

__all__ = ["PLAYGROUND"]

_LIQUID, _LIQUID_SHARE = (0.20, 0.52, 0.66), 0.85
_GLASS, _GLASS_SHARE = (0.66, 0.73, 0.78), 0.15
_FRAME, _RIM = 0.012, 0.010  # half-widths of a mirror's frame and a container's walls, in world units


def _backdrop(canvas: Canvas, palette: int) -> Tensor:
    colours = PALETTES[palette]
    y_Y1 = canvas.y_Y[:, None]
    sky = sky_colour(torch.tensor(colours.sky_low), torch.tensor(colours.sky_top), y_Y1)
    floor = floor_colour(torch.tensor(colours.floor), y_Y1)
    still_Y13 = torch.lerp(sky, floor, canvas.cover(y_Y1 - FLOOR_Y)[..., None])
    return still_Y13.expand(-1, canvas.x_X.shape[0], -1)


def _fixture(pane: Pane, palette: int) -> tuple[Tensor, Tensor]:
    base = torch.tensor(PALETTES[palette].fixture)
    plain = base.expand(*pane.outside_FYX.shape, 3)
    cover = pane.canvas.cover(pane.outside_FYX)
    match pane.kind:
        case "floor":
            floor = floor_colour(torch.tensor(PALETTES[palette].floor), pane.canvas.y_Y[:, None])
            return cover, floor.expand_as(plain)
        case "wall":
            return cover, plain
        case "container":  # of glass, open where its last corner meets its first
            rim = pane.canvas.cover(pane.edge_FYX - _RIM)
            return torch.maximum(_GLASS_SHARE * cover, rim), torch.lerp(torch.tensor(_GLASS), plain, rim[..., None])
        case "ramp":
            return cover, ramp_colour(base, pane.edge_FYX)
        case "occluder":
            return cover, slab_colour(base, pane.across_FYX)
        case "rod":
            away = torch.minimum(pane.outside_FYX - ROD_RADIUS, pane.pivot_FYX - PIVOT_RADIUS)
            return pane.canvas.cover(away), plain
        case "liquid":
            crest = 0.15 * torch.exp(-(pane.outside_FYX.abs() / 0.012))
            return _LIQUID_SHARE * cover, torch.tensor(_LIQUID) + crest[..., None]
        case "mirror":
            frame = pane.canvas.cover(pane.outside_FYX.abs() - _FRAME)[..., None]
            return pane.canvas.cover(pane.outside_FYX - _FRAME), torch.lerp(torch.tensor(_GLASS), plain, frame)


def _paint(rgb_F3: Floats, palette: int) -> Floats:
    return rgb_F3


def _body(body: Body, palette: int) -> Tensor:
    match body.form:
        case "ball" | "ellipse":
            marker = body.v_FYX.abs() - 0.2
        case "box":
            marker = (torch.maximum(body.u_FYX.abs(), body.v_FYX.abs()) - 0.55).abs() - 0.11
        case _:
            marker = (body.outside_FYX + 0.4).abs() - 0.11
    return body_colour(body.paint_F113, body.outside_FYX, marker, body.dx_FYX, body.dy_FYX, body.radius_px)


PLAYGROUND = Style(backdrop=_backdrop, fixture=_fixture, paint=_paint, body=_body, shadow=floor_shadow)
