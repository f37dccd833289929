"""The second world: textured bodies with outlines, lit from the right, before bricks, planks, hills, plaster or stars.

Its drawing shares nothing with `vgen.playground.render` but the pixel grid, so that what was tuned on one world can be
tested on the other. A palette is a row of `_DECORS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vgen.playground.render import Canvas
from vgen.playground.scene import FLOOR_Y
from vgen.playground.twins.film import Floats
from vgen.playground.twins.paint import lab_of, rgb_of
from vgen.playground.twins.style import Body, Pane, Style
from vgen.playground.twins.texture import fractal_noise, hashed

__all__ = ["SECOND"]

_RGB = tuple[float, float, float]

_SLANT = 0.55  # how far a shadow falls to the left, per height of its body
_OUTLINE = 0.10  # width, in radii
_BORDER = 0.006  # of fixtures, in world units
_ROD_RADIUS, _HOOK_RADIUS = 0.008, 0.016


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decor:
    """What stands still, and how paints are changed.

    Args:
        wall: (x, y, px) -> colour [Y, X, 3] behind everything.
        floor: the same below `FLOOR_Y`.
        wood, liquid: colours of fixtures and of what containers hold.
        turn: by which the hue of every paint is turned, in radians.
        light, lift: L* of a paint becomes `light * L* + lift`.
        chroma: factor on its chroma.
        rim: colour of outlines.
    """

    wall: Callable[[Tensor, Tensor, float], Tensor]
    floor: Callable[[Tensor, Tensor, float], Tensor]
    wood: _RGB
    liquid: _RGB
    turn: float
    light: float = 0.7
    lift: float = 12.0
    chroma: float = 0.45
    rim: _RGB = (0.07, 0.06, 0.08)


def _mix(low: _RGB, high: _RGB, share: Tensor) -> Tensor:
    return torch.lerp(torch.tensor(low), torch.tensor(high), share[..., None])


def _line(distance: Tensor, width: float, px: float) -> Tensor:
    """Share of a line of some width at a distance from its middle, anti-aliased."""
    return (0.5 + (width / 2 - distance) * px).clamp(0, 1)


def _to_edge(place: Tensor, cell: float) -> Tensor:
    """Distance to the nearest multiple of `cell`."""
    part = torch.remainder(place, cell)
    return torch.minimum(part, cell - part)


def _bricks(x: Tensor, y: Tensor, px: float) -> Tensor:
    high, long = 0.075, 0.17
    row = (y / high).floor()
    shifted = x + 0.5 * long * torch.remainder(row, 2)
    tone = 0.6 * hashed((shifted / long).floor(), row, key=1) + 0.4 * fractal_noise(
        x / 0.03, y / 0.03, key=2, octaves=2
    )
    mortar = torch.maximum(_line(_to_edge(y, high), 0.012, px), _line(_to_edge(shifted, long), 0.012, px))
    return torch.lerp(
        _mix((0.42, 0.22, 0.17), (0.66, 0.38, 0.29), tone), torch.tensor((0.70, 0.66, 0.60)), mortar[..., None]
    )


def _planks(x: Tensor, y: Tensor, px: float) -> Tensor:
    wide = 0.16
    board = (x / wide).floor()
    grain = fractal_noise(x / 0.02 + 7 * board, y / 0.35 + 3 * board, key=3, octaves=3)
    tone = 0.3 * hashed(board, torch.zeros_like(y), key=4) + 0.7 * grain
    gap = _line(_to_edge(x, wide), 0.008, px) + torch.zeros_like(y)
    return torch.lerp(
        _mix((0.63, 0.50, 0.33), (0.88, 0.77, 0.58), tone), torch.tensor((0.34, 0.25, 0.16)), gap[..., None]
    )


def _hills(x: Tensor, y: Tensor, px: float, skies: tuple[_RGB, _RGB], slopes: tuple[_RGB, ...]) -> Tensor:
    picture = _mix(skies[1], skies[0], (1.1 * (y - FLOOR_Y)).clamp(0, 1) + 0 * x)
    for index, slope in enumerate(slopes):
        ridge = 0.62 - 0.17 * index + 0.16 * (fractal_noise(x / 0.3 + 5 * index, 0 * x, key=5 + index, octaves=4) - 0.5)
        leaf = 0.85 + 0.3 * fractal_noise(x / 0.025, y / 0.025, key=8 + index, octaves=2)
        picture = torch.lerp(
            picture, torch.tensor(slope) * leaf[..., None], (0.5 + (ridge - y) * px).clamp(0, 1)[..., None]
        )
    return picture


def _day(x: Tensor, y: Tensor, px: float) -> Tensor:
    slopes = ((0.53, 0.63, 0.72), (0.42, 0.56, 0.47), (0.35, 0.49, 0.25))
    return _hills(x, y, px, ((0.36, 0.58, 0.86), (0.86, 0.90, 0.92)), slopes)


def _night(x: Tensor, y: Tensor, px: float) -> Tensor:
    sky = _hills(x, y, px, ((0.05, 0.06, 0.13), (0.19, 0.16, 0.26)), ((0.11, 0.12, 0.19), (0.08, 0.10, 0.14)))
    cell = 0.09
    column, row = (x / cell).floor(), (y / cell).floor()
    off_x = x / cell - column - 0.2 - 0.6 * hashed(column, row, key=21)
    off_y = y / cell - row - 0.2 - 0.6 * hashed(column, row, key=22)
    star = torch.exp(-((torch.hypot(off_x, off_y) * cell / 0.006) ** 2)) * (y > 0.7) * hashed(column, row, key=23)
    return sky + 0.5 * star[..., None]


def _plaster(x: Tensor, y: Tensor, px: float) -> Tensor:
    blotch = 0.7 * fractal_noise(x / 0.22, y / 0.22, key=31, octaves=4) + 0.3 * fractal_noise(
        x / 0.012, y / 0.012, key=32, octaves=1
    )
    return _mix((0.24, 0.33, 0.37), (0.44, 0.55, 0.56), blotch)


def _tiles(dark: _RGB, light: _RGB) -> Callable[[Tensor, Tensor, float], Tensor]:
    """A chequered floor, its rows flatter towards the wall."""

    def colour(x: Tensor, y: Tensor, px: float) -> Tensor:
        depth = (FLOOR_Y - y).clamp_min(0) / FLOOR_Y
        row = (3 * depth**0.7).floor()
        column = ((x - 0.5) / (0.13 * (1 + 0.5 * depth))).floor()
        return _mix(dark, light, 0.25 + 0.5 * torch.remainder(row + column, 2) + 0.25 * hashed(column, row, key=41))

    return colour


def _speckle(
    dark: _RGB, light: _RGB, *, long: float, high: float, key: int
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """Grass, carpet or asphalt: noise in grains of some length and height."""

    def colour(x: Tensor, y: Tensor, px: float) -> Tensor:
        return _mix(dark, light, fractal_noise(x / long, y / high, key=key, octaves=3))

    return colour


_DECORS: tuple[_Decor, ...] = (
    _Decor(
        wall=_bricks,
        floor=_tiles((0.38, 0.38, 0.40), (0.62, 0.61, 0.58)),
        wood=(0.30, 0.34, 0.36),
        liquid=(0.75, 0.63, 0.16),
        turn=0.9,
    ),
    _Decor(
        wall=_planks,
        floor=_speckle((0.28, 0.10, 0.13), (0.49, 0.22, 0.22), long=0.02, high=0.02, key=51),
        wood=(0.38, 0.24, 0.14),
        liquid=(0.30, 0.50, 0.26),
        turn=2.1,
        light=0.6,
        lift=8,
        chroma=0.4,
    ),
    _Decor(
        wall=_day,
        floor=_speckle((0.20, 0.33, 0.12), (0.44, 0.56, 0.22), long=0.012, high=0.03, key=52),
        wood=(0.52, 0.38, 0.26),
        liquid=(0.16, 0.40, 0.62),
        turn=-0.8,
    ),
    _Decor(
        wall=_plaster,
        floor=_tiles((0.55, 0.50, 0.42), (0.80, 0.76, 0.66)),
        wood=(0.62, 0.55, 0.44),
        liquid=(0.62, 0.24, 0.20),
        turn=1.5,
        light=0.55,
        lift=6,
        chroma=0.4,
    ),
    _Decor(
        wall=_night,
        floor=_speckle((0.10, 0.10, 0.12), (0.23, 0.22, 0.24), long=0.015, high=0.015, key=53),
        wood=(0.31, 0.27, 0.33),
        liquid=(0.24, 0.58, 0.52),
        turn=-2.4,
        light=0.5,
        lift=22,
        chroma=0.4,
        rim=(0.80, 0.78, 0.70),
    ),
)


def _backdrop(canvas: Canvas, palette: int) -> Tensor:
    decor = _DECORS[palette]
    x, y = canvas.x_X[None], canvas.y_Y[:, None]
    wall_YX3 = decor.wall(x, y, canvas.px) * (0.86 + 0.2 * x.clamp(0, 1))[..., None]  # light comes from the right
    depth = ((FLOOR_Y - y) / FLOOR_Y).clamp(0, 1)
    floor_YX3 = decor.floor(x, y, canvas.px) * (0.9 + 0.15 * depth)[..., None]
    foot = 1 - 0.35 * torch.exp(-((y - FLOOR_Y).abs() / 0.015))  # a dark seam where wall and floor meet
    return torch.lerp(wall_YX3, floor_YX3, canvas.cover(y - FLOOR_Y)[..., None]) * foot[..., None]


def _fixture(pane: Pane, palette: int) -> tuple[Tensor, Tensor]:
    decor = _DECORS[palette]
    x, y = pane.canvas.x_X, pane.canvas.y_Y[:, None]
    cover = pane.canvas.cover(pane.outside_FYX)
    streaks = 0.8 + 0.4 * fractal_noise(x / 0.11, y / 0.012, key=61, octaves=3)
    wood = torch.tensor(decor.wood) * streaks[..., None]
    edge = pane.canvas.cover(pane.outside_FYX.abs() - _BORDER)[..., None]
    rimmed = torch.lerp(wood, 0.35 * torch.tensor(decor.wood), edge)
    match pane.kind:
        case "floor":
            return cover, (decor.floor(x[None], y, pane.canvas.px)).expand_as(rimmed)
        case "wall" | "ramp":
            return cover, rimmed
        case "container":
            rim = pane.canvas.cover(pane.edge_FYX - 0.012)
            return torch.maximum(0.1 * cover, rim), torch.tensor(decor.wood).expand(*cover.shape, 3)
        case "occluder":
            slats = 0.85 + 0.3 * _line(_to_edge(x, 0.05), 0.025, pane.canvas.px)
            return cover, torch.lerp(rimmed * slats[:, None], 0.35 * torch.tensor(decor.wood), edge)
        case "rod":
            away = torch.minimum(pane.outside_FYX - _ROD_RADIUS, (pane.pivot_FYX - _HOOK_RADIUS).abs() - 0.005)
            return pane.canvas.cover(away), (1.25 * torch.tensor(decor.wood)).expand(*away.shape, 3)
        case "liquid":
            crest = 0.22 * torch.exp(-(pane.outside_FYX.abs() / 0.008))
            return 0.92 * cover, torch.tensor(decor.liquid) + crest[..., None]
        case "mirror":
            glint = 0.06 * (torch.remainder(x + y, 0.12) < 0.03)
            glass = torch.tensor((0.55, 0.60, 0.60)) + glint[..., None]
            frame = pane.canvas.cover(pane.outside_FYX.abs() - 0.018)[..., None]
            return pane.canvas.cover(pane.outside_FYX - 0.018), torch.lerp(glass.expand_as(wood), wood, frame)


def _paint(rgb_F3: Floats, palette: int) -> Floats:
    """The first frame's paint, hue turned and muted; later changes are turned too and keep their size in Delta-E."""
    decor = _DECORS[palette]
    lab_F3 = lab_of(rgb_F3)
    cos, sin = math.cos(decor.turn), math.sin(decor.turn)
    turn = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    first_3 = lab_F3[0] @ turn * (decor.light, decor.chroma, decor.chroma) + (decor.lift, 0, 0)
    return np.clip(rgb_of(first_3 + (lab_F3 - lab_F3[0]) @ turn), 0, 1)


def _body(body: Body, palette: int) -> Tensor:
    decor = _DECORS[palette]
    pattern_of = _PATTERNS[(body.look + palette) % len(_PATTERNS)]
    light = body.paint_F113.mean(-1, keepdim=True) < 0.45
    second = torch.lerp(body.paint_F113, torch.where(light, 0.95, 0.08).expand_as(body.paint_F113), 0.42)
    pattern = pattern_of(body.u_FYX, body.v_FYX, body.radius_px)
    colour = torch.lerp(body.paint_F113, second, pattern[..., None])
    bulge = (1 - body.dx_FYX**2 - body.dy_FYX**2).clamp_min(0).sqrt()
    lit = 0.72 + 0.30 * bulge + 0.22 * (0.8 * body.dx_FYX + 0.6 * body.dy_FYX).clamp(-1, 1)
    rim = (0.5 + (body.outside_FYX + _OUTLINE) * body.radius_px).clamp(0, 1)
    return torch.lerp(colour * lit[..., None], torch.tensor(decor.rim), 0.85 * rim[..., None])


def _checks(u: Tensor, v: Tensor, radius_px: Tensor) -> Tensor:
    wave = torch.sin(math.pi * u / 0.55) * torch.sin(math.pi * v / 0.55)
    return (0.5 + wave * radius_px * 0.18).clamp(0, 1)


def _dots(u: Tensor, v: Tensor, radius_px: Tensor) -> Tensor:
    away = torch.hypot(torch.remainder(u, 0.7) - 0.35, torch.remainder(v, 0.7) - 0.35)
    return (0.5 + (0.2 - away) * radius_px).clamp(0, 1)


def _noise(u: Tensor, v: Tensor, radius_px: Tensor) -> Tensor:
    return (1.6 * fractal_noise(u / 0.5 + 9, v / 0.5, key=72, octaves=2) - 0.3).clamp(0, 1)


def _fade(u: Tensor, v: Tensor, radius_px: Tensor) -> Tensor:
    return (0.5 + 0.5 * u).clamp(0, 1)


def _stripes(u: Tensor, v: Tensor, radius_px: Tensor) -> Tensor:
    return (0.5 + torch.sin(math.pi * (u + 0.25) / 0.5) * radius_px * 0.15).clamp(0, 1)


_PATTERNS = (_checks, _dots, _noise, _fade, _stripes)


def _shadow(dx: Tensor, depth: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """An ellipse on the floor, to the left of the body by a share of its height, wider and fainter with it."""
    height = (y - FLOOR_Y - radius).clamp_min(0)
    across = (dx + _SLANT * (height + 0.6 * radius)) / (1.15 * radius + 0.2 * height)
    down = (depth - 0.35 * FLOOR_Y) / (0.3 * FLOOR_Y + 0.1 * radius)
    inside = 1 - torch.hypot(across, down)
    return 0.5 * torch.exp(-height / 0.35) * (inside / 0.25).clamp(0, 1)


SECOND = Style(backdrop=_backdrop, fixture=_fixture, paint=_paint, body=_body, shadow=_shadow)
