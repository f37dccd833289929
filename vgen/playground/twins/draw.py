"""Draws films in either world: signed distances, anti-aliased over one pixel, from the back to the front.

Pixel centres, scale and what lies outside the unit square are as in `vgen.playground.render`. What stands still behind
all actors is drawn once; an actor is drawn in a small patch around its centre. A new world is a `Style` and its entry
in `STYLES`. Letters beyond the project's legend: `P` corners of a polygon.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vgen.errors import InputError
from vgen.frames import Frames
from vgen.playground.render import Canvas, make_canvas, segment_distance, to_bytes
from vgen.playground.scene import FLOOR_Y, NUM_PALETTES
from vgen.playground.twins.draw_playground import PLAYGROUND
from vgen.playground.twins.draw_second import SECOND
from vgen.playground.twins.film import WORLDS, Actor, Film, Fixture, Floats, World
from vgen.playground.twins.forms import REACH, form_distance, polygon_distance
from vgen.playground.twins.style import Body, FixtureKind, Pane, Style
from vgen.playground.twins.texture import fractal_noise

__all__ = ["STYLES", "draw"]

STYLES: dict[World, Style] = {"playground": PLAYGROUND, "second": SECOND}

_FRAMES_PER_CHUNK = 16  # bounds memory: patches of a large picture, as floats
_EDGE = 0.03  # world units around a fixture's corners: frames of panes, pivots, rods
_GRAIN_CELL = 0.03  # world units


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A part of the picture to blend in: share_FYX and colour_FYX3, in one frame where they hold for all."""

    rows: slice
    columns: slice
    share_FYX: Tensor
    colour_FYX3: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sheet:
    """What all things of a film are drawn on; `grain_YX` multiplies the colours of what stands still."""

    canvas: Canvas
    style: Style
    palette: int
    grain_YX: Tensor


def draw(
    film: Film,
    *,
    world: World,
    height: int,
    width: int,
    px: float | None = None,
    grain: float = 0.0,
    seed: int = 0,
) -> Frames:
    """Draws a film.

    Actors and fixtures of equal depth: fixtures first, then in the order of the film. Shadows lie on the floor and on
    the still fixtures behind the first actor. `Actor.shadow_xy_F2` says where the shadow of a light straight above
    would fall, and which share of its usual strength it has; a world with slanting light moves it on by as much as
    the usual one.

    Args:
        film: what is where.
        world: how it looks.
        height, width: pixels; at least 8.
        px: pixels per world unit; the shorter side where None.
        grain: standard deviation, as a share of the colour, of a texture on what stands still.
        seed: of that texture.

    Returns:
        uint8 clip_FYX3, sRGB; the same bytes each time on one machine.

    Raises:
        InputError: for an unknown world or palette, a size below 8, or actors of unequal or no length.
    """
    _check(film, world, height, width)
    canvas = make_canvas(height, width, torch.device("cpu"), px=px)
    sheet = _Sheet(canvas=canvas, style=STYLES[world], palette=film.palette, grain_YX=_grain(canvas, grain, seed))
    behind, things = _in_depth(film)
    still_1YX3 = (sheet.style.backdrop(canvas, film.palette) * sheet.grain_YX[..., None])[None].contiguous()
    for fixture in behind:
        layer = _fixture_layer(fixture.corners_P2[None], fixture, sheet)
        _blend(still_1YX3, layer, scale=1.0)
    bytes_1YX3 = to_bytes(still_1YX3)
    clip_FYX3 = bytes_1YX3.expand(film.frames, -1, -1, -1).contiguous()
    lasting = {
        index: _fixture_layer(thing.corners_P2[None], thing, sheet)
        for index, thing in enumerate(things)
        if isinstance(thing, Fixture) and _is_still(thing)
    }
    for first in range(0, film.frames, _FRAMES_PER_CHUNK):
        frames = slice(first, min(first + _FRAMES_PER_CHUNK, film.frames))
        chunk_FYX3 = clip_FYX3[frames]
        for actor in film.actors:
            _cast_shadow(chunk_FYX3, actor, frames, sheet)
        for index, thing in enumerate(things):
            if isinstance(thing, Actor):
                _draw_actor(chunk_FYX3, thing, frames, sheet)
            else:
                layer = lasting.get(index) or _fixture_layer(thing.corners_P2[frames], thing, sheet)
                _blend(chunk_FYX3, layer, scale=255.0)
    return clip_FYX3.numpy()


def _check(film: Film, world: World, height: int, width: int) -> None:
    if world not in WORLDS:
        raise InputError(f"unknown world '{world}'; possible: {', '.join(WORLDS)}")
    if min(height, width) < 8:
        raise InputError(f"cannot draw {width}x{height}; possible: at least 8x8")
    if not 0 <= film.palette < NUM_PALETTES:
        raise InputError(f"no palette {film.palette}; possible: 0 to {NUM_PALETTES - 1}")
    lengths = {len(actor.xy_F2) for actor in film.actors}
    lengths |= {len(fixture.corners_P2) for fixture in film.fixtures if not _is_still(fixture)}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(f"a film needs actors and moving fixtures of one length, got frames {sorted(lengths)}")


def _is_still(thing: Actor | Fixture) -> bool:
    return isinstance(thing, Fixture) and thing.corners_P2.ndim == 2


def _in_depth(film: Film) -> tuple[list[Fixture], list[Actor | Fixture]]:
    """Still fixtures that lie behind all that moves, then the rest; both from the back to the front."""
    things: Sequence[Actor | Fixture] = sorted([*film.fixtures, *film.actors], key=lambda thing: thing.depth)
    moving = next(index for index, thing in enumerate(things) if not _is_still(thing))
    return [thing for thing in things[:moving] if isinstance(thing, Fixture)], list(things[moving:])


def _grain(canvas: Canvas, grain: float, seed: int) -> Tensor:
    if grain == 0:
        return torch.ones(1, 1).expand(len(canvas.y_Y), len(canvas.x_X))
    noise_YX = fractal_noise(canvas.x_X[None] / _GRAIN_CELL, canvas.y_Y[:, None] / _GRAIN_CELL, key=seed, octaves=3)
    return 1 + grain * (noise_YX - noise_YX.mean()) / noise_YX.std()


def _fixture_layer(corners_FP2: Floats, fixture: Fixture, sheet: _Sheet) -> _Layer:
    """A fixture in one or several frames, with the part of the canvas that it can reach."""
    corners_FP2 = corners_FP2.astype(np.float64)
    rows, columns = _reach(corners_FP2, sheet.canvas)
    part = Canvas(sheet.canvas.x_X[columns], sheet.canvas.y_Y[rows], sheet.canvas.px)
    share_FYX, colour_FYX3 = sheet.style.fixture(_pane(corners_FP2, fixture, part), sheet.palette)
    colour_FYX3 = colour_FYX3 * sheet.grain_YX[rows, columns, None]
    return _Layer(rows=rows, columns=columns, share_FYX=share_FYX, colour_FYX3=colour_FYX3)


def _reach(corners_FP2: Floats, canvas: Canvas) -> tuple[slice, slice]:
    low_x, low_y = corners_FP2.min((0, 1)) - _EDGE
    high_x, high_y = corners_FP2.max((0, 1)) + _EDGE
    columns = np.flatnonzero((canvas.x_X >= low_x) & (canvas.x_X <= high_x))
    rows = np.flatnonzero((canvas.y_Y >= low_y) & (canvas.y_Y <= high_y))
    return _span(rows), _span(columns)


def _span(indices: Sequence[int] | np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> slice:
    return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0, 0)


def _pane(corners_FP2: Floats, fixture: Fixture, canvas: Canvas) -> Pane:
    x, y = canvas.x_X, canvas.y_Y[:, None]
    corners = [
        (corners_F2[:, 0, None, None], corners_F2[:, 1, None, None])
        for corners_F2 in torch.from_numpy(corners_FP2).float().unbind(1)
    ]
    (x0, y0), (x1, y1) = corners[:2]
    if fixture.kind == "rod":
        outside_FYX = segment_distance(x - x0, y - y0, x1 - x0, y1 - y0)
    else:
        outside_FYX = polygon_distance(x, y, corners)
    low_x, high_x = (torch.from_numpy(edge).float()[:, None, None] for edge in _ends(corners_FP2))
    across_FYX = (2 * x - low_x - high_x).abs() / (high_x - low_x).clamp_min(1e-6)
    return Pane(
        kind=fixture.kind,
        canvas=canvas,
        outside_FYX=outside_FYX,
        edge_FYX=_edge_distance(corners, fixture.kind, canvas).expand_as(outside_FYX),
        across_FYX=across_FYX.expand_as(outside_FYX),
        pivot_FYX=torch.hypot(x - x0, y - y0),
    )


def _ends(corners_FP2: Floats) -> tuple[Floats, Floats]:
    return corners_FP2[..., 0].min(1), corners_FP2[..., 0].max(1)


def _edge_distance(corners: list[tuple[Tensor, Tensor]], kind: FixtureKind, canvas: Canvas) -> Tensor:
    """Distance to the edges that `Pane.edge_FYX` speaks of."""
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    if kind == "container":
        edges = edges[:-1]
    if kind == "ramp":
        slanting = [(a, b) for a, b in edges if min(float((b[axis] - a[axis])[0].abs()) for axis in (0, 1)) > 1e-6]
        edges = slanting or edges
    x, y = canvas.x_X, canvas.y_Y[:, None]
    away = [segment_distance(x - x0, y - y0, x1 - x0, y1 - y0) for (x0, y0), (x1, y1) in edges]
    return torch.stack(away).amin(0)


def _blend(clip_FYX3: Tensor, layer: _Layer, *, scale: float) -> None:
    """Lays a layer over floats in 0..1 (`scale` 1) or bytes (`scale` 255)."""
    part_FYX3 = clip_FYX3[:, layer.rows, layer.columns]
    mixed = torch.lerp(part_FYX3.float(), scale * layer.colour_FYX3.clamp(0, 1), layer.share_FYX[..., None])
    part_FYX3.copy_(mixed if scale == 1 else mixed + 0.5)


def _cast_shadow(clip_FYX3: Tensor, actor: Actor, frames: slice, sheet: _Sheet) -> None:
    first = int((sheet.canvas.y_Y >= FLOOR_Y).sum())
    shown_F = actor.shown_F[frames]
    if not shown_F.any() or first == len(sheet.canvas.y_Y):
        return

    def per_frame(values_F: Floats) -> Tensor:
        return torch.from_numpy(np.asarray(values_F, np.float32))[:, None, None]

    x_F, y_F = actor.xy_F2[frames].T
    strength_F = shown_F
    if actor.shadow_xy_F2 is not None:
        x_F, strength_F = actor.shadow_xy_F2[frames, 0], shown_F * actor.shadow_xy_F2[frames, 1]
    depth_Y1 = FLOOR_Y - sheet.canvas.y_Y[first:, None]
    dark_FYX = sheet.style.shadow(
        sheet.canvas.x_X - per_frame(x_F), depth_Y1, per_frame(y_F), per_frame(actor.radius_F[frames])
    )
    dark_FYX = dark_FYX * per_frame(strength_F)
    floor_FYX3 = clip_FYX3[:, first:]
    floor_FYX3.copy_(floor_FYX3 * (1 - dark_FYX[..., None]) + 0.5)


def _draw_actor(clip_FYX3: Tensor, actor: Actor, frames: slice, sheet: _Sheet) -> None:
    """Blends an actor into its patch of each frame that shows it."""
    shown_F = actor.shown_F[frames]
    if not shown_F.any():
        return
    canvas = sheet.canvas
    xy_F2, radius_F, stretch_F2 = actor.xy_F2[frames], actor.radius_F[frames], actor.stretch_F2[frames]
    reach_px = math.ceil(REACH[actor.form] * float((radius_F * stretch_F2.max(1)).max()) * canvas.px) + 2
    origin = np.array([float(canvas.x_X[0]), -float(canvas.y_Y[0])])
    at_px_F2 = (xy_F2 * (1, -1) - origin) * canvas.px  # column, row of the centre
    nearest_F2 = np.rint(at_px_F2).astype(np.int64)
    rest_F2 = torch.from_numpy(nearest_F2 - at_px_F2).float()
    offset_P = torch.arange(-reach_px, reach_px + 1).float()
    radius_px = torch.from_numpy(radius_F * canvas.px).float().clamp_min(1e-3)[:, None, None]
    dx = (offset_P + rest_F2[:, 0, None, None]) / radius_px
    dy = -(offset_P[:, None] + rest_F2[:, 1, None, None]) / radius_px
    angle = torch.from_numpy(actor.angle_F[frames]).float()[:, None, None]
    u, v = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    stretch_u, stretch_v = torch.from_numpy(stretch_F2).float()[..., None, None].unbind(1)
    outside = form_distance(actor.form, u, v, stretch_u, stretch_v)
    paint_F3 = torch.from_numpy(sheet.style.paint(actor.rgb_F3, sheet.palette)[frames]).float()
    body = Body(
        form=actor.form,
        look=zlib.crc32(np.rint(255 * actor.rgb_F3[0]).astype(np.uint8).tobytes()),
        dx_FYX=dx.expand_as(outside),
        dy_FYX=dy.expand_as(outside),
        u_FYX=u / stretch_u,
        v_FYX=v / stretch_v,
        outside_FYX=outside,
        paint_F113=paint_F3[:, None, None],
        radius_px=radius_px,
    )
    colour_FYX3 = sheet.style.body(body, sheet.palette)
    share_FYX = (0.5 - outside * radius_px).clamp(0, 1) * torch.from_numpy(shown_F).float()[:, None, None]
    for frame, (column, row) in enumerate(nearest_F2 - reach_px):
        _blend_patch(clip_FYX3[frame], share_FYX[frame], colour_FYX3[frame], int(row), int(column))


def _blend_patch(picture_YX3: Tensor, share_YX: Tensor, colour_YX3: Tensor, row: int, column: int) -> None:
    """Blends a patch whose upper left pixel lies at (row, column), which may be outside the picture."""
    height, width, _ = picture_YX3.shape
    rows, columns = share_YX.shape
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + rows, height), min(column + columns, width)
    if top >= bottom or left >= right:
        return
    inner = (slice(top - row, bottom - row), slice(left - column, right - column))
    part_YX3 = picture_YX3[top:bottom, left:right]
    mixed = torch.lerp(part_YX3.float(), 255 * colour_YX3[inner].clamp(0, 1), share_YX[inner][..., None])
    part_YX3.copy_(mixed + 0.5)
