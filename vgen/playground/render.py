"""Draws trajectories: signed distances, anti-aliased over one pixel, batched over clips and frames on any device.

What does not move is drawn once per clip; a body is drawn in a small patch around its centre. Pixel centres lie at half
integers; the unit square is scaled to the shorter side and centred, and floor, walls and sky go on beyond it.
The looks of single things are public, for other drawings of this world.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.errors import InputError
from vgen.playground.parts import SHELF_THICKNESS, Material
from vgen.playground.scene import FLOOR_Y, WALL_X, Colour, Scene
from vgen.playground.simulate import Trajectory
from vgen.playground.surface import SURFACES, Spots

__all__ = [
    "PAINTS",
    "PALETTES",
    "PIVOT_RADIUS",
    "ROD_RADIUS",
    "Canvas",
    "Palette",
    "body_colour",
    "box_distance",
    "floor_colour",
    "floor_shadow",
    "make_canvas",
    "ramp_colour",
    "render",
    "segment_distance",
    "sky_colour",
    "slab_colour",
    "to_bytes",
]

PAINTS: dict[Colour, tuple[float, float, float]] = {  # far apart in hue, or in lightness from every background
    "red": (0.87, 0.16, 0.15),
    "yellow": (0.96, 0.81, 0.14),
    "green": (0.17, 0.68, 0.27),
    "blue": (0.15, 0.37, 0.88),
    "purple": (0.66, 0.22, 0.72),
    "white": (0.97, 0.97, 0.96),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Muted colours of what does not move, RGB in 0..1."""

    sky_top: tuple[float, float, float]
    sky_low: tuple[float, float, float]
    floor: tuple[float, float, float]
    fixture: tuple[float, float, float]


PALETTES: tuple[Palette, ...] = (
    Palette(
        sky_top=(0.41, 0.47, 0.53), sky_low=(0.52, 0.56, 0.59), floor=(0.34, 0.33, 0.33), fixture=(0.25, 0.27, 0.30)
    ),
    Palette(
        sky_top=(0.49, 0.46, 0.42), sky_low=(0.58, 0.55, 0.51), floor=(0.36, 0.33, 0.30), fixture=(0.29, 0.26, 0.24)
    ),
    Palette(
        sky_top=(0.41, 0.47, 0.43), sky_low=(0.51, 0.55, 0.51), floor=(0.31, 0.34, 0.31), fixture=(0.24, 0.27, 0.25)
    ),
    Palette(
        sky_top=(0.47, 0.44, 0.49), sky_low=(0.56, 0.53, 0.56), floor=(0.33, 0.31, 0.35), fixture=(0.26, 0.24, 0.28)
    ),
    Palette(
        sky_top=(0.32, 0.34, 0.38), sky_low=(0.43, 0.45, 0.47), floor=(0.26, 0.25, 0.25), fixture=(0.18, 0.19, 0.21)
    ),
)

_CLIPS_PER_CHUNK = 8  # bounds memory: a chunk of 65 frames of 96x96 needs about 60 MiB
ROD_RADIUS, PIVOT_RADIUS = 0.011, 0.022
_MARKER_SHADE = 0.74  # of the body's own colour; white stays lighter than every sky
_CORNER = 0.22  # rounding of a box's corners, in half sides
_FAR = 9.0  # world units: where absent fixtures stand


@dataclass(frozen=True, slots=True)
class Canvas:
    """The pixel grid in world units."""

    x_X: Tensor
    y_Y: Tensor
    px: float  # pixels per world unit

    def cover(self, distance: Tensor) -> Tensor:
        """Share of a pixel that lies inside (negative distance), the edge being one pixel wide."""
        return (0.5 - distance * self.px).clamp(0, 1)


def render(
    scenes: Sequence[Scene],
    trajectories: Sequence[Trajectory],
    *,
    height: int,
    width: int,
    frames: slice | None = None,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Draws clips of equal length.

    Args:
        scenes, trajectories: one trajectory per scene, all with equally many frames.
        height, width: pixels; at least 8.
        frames: which frames to draw, all where None.
        device: where to draw and where the result lies.

    Returns:
        uint8 clip_BFYX3, sRGB. A clip does not depend on what else is in the batch (to one step of 255).

    Raises:
        InputError: for no or unequally many scenes and trajectories, unequal lengths, or a size below 8.
    """
    if not scenes or len(scenes) != len(trajectories):
        raise InputError(
            f"render needs one trajectory per scene, got {len(scenes)} scenes, {len(trajectories)} trajectories"
        )
    if min(height, width) < 8:
        raise InputError(f"cannot render {width}x{height}; possible: at least 8x8")
    if len({trajectory.frames for trajectory in trajectories}) > 1:
        raise InputError("render needs trajectories of one length; render them apart")
    canvas = make_canvas(height, width, torch.device(device))
    drawn = []
    for first in range(0, len(scenes), _CLIPS_PER_CHUNK):
        chunk = slice(first, first + _CLIPS_PER_CHUNK)
        drawn.append(_render_chunk(scenes[chunk], trajectories[chunk], frames or slice(None), canvas))
    return torch.cat(drawn)


def make_canvas(height: int, width: int, device: torch.device, *, px: float | None = None) -> Canvas:
    """The grid of a picture with the unit square in its middle, `px` pixels wide; the shorter side where None."""
    px = px or min(height, width)
    columns = torch.arange(width, device=device, dtype=torch.float32)
    rows = torch.arange(height, device=device, dtype=torch.float32)
    return Canvas((columns + 0.5 - width / 2) / px + 0.5, 0.5 - (rows + 0.5 - height / 2) / px, px)


def _render_chunk(scenes: Sequence[Scene], trajectories: Sequence[Trajectory], frames: slice, canvas: Canvas) -> Tensor:
    device = canvas.x_X.device
    still_BYX3, slab_BYX = _draw_fixtures(scenes, canvas)
    states = [torch.from_numpy(trajectory.states_NF3[:, frames]) for trajectory in trajectories]
    num_frames = states[0].shape[1]
    clip_BFYX3 = still_BYX3[:, None].expand(-1, num_frames, -1, -1, -1).contiguous()
    for slot in range(max(len(scene.bodies) for scene in scenes)):
        rows = [row for row, scene in enumerate(scenes) if len(scene.bodies) > slot]
        looks = [scenes[row].bodies[slot] for row in rows]
        batch = _Bodies(
            rows_B=torch.tensor(rows, device=device),
            state_BF3=torch.stack([states[row][slot] for row in rows]).to(device, torch.float32),
            radius_B=torch.tensor([body.radius for body in looks], device=device),
            ball_B=torch.tensor([body.shape == "ball" for body in looks], device=device),
            paint_B3=torch.tensor([PAINTS[body.colour] for body in looks], device=device),
            materials=[body.material for body in looks],
        )
        _draw_shadows(clip_BFYX3, batch, slab_BYX, canvas)
        if slot == 0:
            _draw_rods(clip_BFYX3, scenes, batch, canvas)
        _draw_bodies(clip_BFYX3, batch, slab_BYX, canvas)
    return clip_BFYX3


@dataclass(frozen=True, slots=True)
class _Bodies:
    """The bodies of one slot in the clips `rows_B` of a chunk; here `B` counts those clips alone."""

    rows_B: Tensor
    state_BF3: Tensor
    radius_B: Tensor
    ball_B: Tensor
    paint_B3: Tensor
    materials: list[Material]


def _draw_fixtures(scenes: Sequence[Scene], canvas: Canvas) -> tuple[Tensor, Tensor]:
    """What stands still: uint8 still_BYX3, and the share of each pixel that the occluder covers, slab_BYX."""
    device = canvas.x_X.device
    x_X, y_Y1 = canvas.x_X, canvas.y_Y[:, None]

    def per_clip(values: Sequence[tuple[float, ...]]) -> tuple[Tensor, ...]:
        return torch.tensor(values, device=device).T[:, :, None, None].unbind()

    def paint(name: str) -> Tensor:
        return torch.tensor([getattr(PALETTES[scene.palette], name) for scene in scenes], device=device)[:, None, None]

    still_BYX3 = sky_colour(paint("sky_low"), paint("sky_top"), y_Y1).expand(-1, -1, x_X.shape[0], -1)

    def lay(cover: Tensor, colour: Tensor) -> None:
        nonlocal still_BYX3
        still_BYX3 = torch.lerp(still_BYX3, colour, cover[..., None])

    fixture = paint("fixture")
    high_x, low_x, top = per_clip(
        [(r.high_x, r.low_x, r.height) if (r := s.ramp) else (_FAR + 1, _FAR, 1.0) for s in scenes]
    )
    run = low_x - high_x
    incline = (y_Y1 - FLOOR_Y - top * (low_x - x_X) / run) * run.abs() / torch.hypot(run, top)
    lay(canvas.cover(incline), ramp_colour(fixture, incline))
    for blocks in _blocks(scenes):
        left, right, low, high = per_clip(blocks)
        beyond = torch.maximum((x_X - (left + right) / 2).abs() - (right - left) / 2, low - y_Y1)
        lay(canvas.cover(torch.maximum(beyond, y_Y1 - high)), ramp_colour(fixture, y_Y1 - high))
    lay(canvas.cover(y_Y1 - FLOOR_Y), floor_colour(paint("floor"), y_Y1))
    lay(canvas.cover(0.5 - WALL_X - (x_X - 0.5).abs()), fixture)
    mid_x, half, high = per_clip(
        [(o.x, o.half_width, o.top) if (o := s.occluder) else (_FAR, 0.1, 1.0) for s in scenes]
    )
    side = (x_X - mid_x).abs() - half
    slab_BYX = canvas.cover(torch.maximum(torch.maximum(side, y_Y1 - high), 0.5 * FLOOR_Y - y_Y1))
    lay(slab_BYX, slab_colour(fixture, (side + half) / half))
    pivot_x, pivot_y = per_clip([(p.x, p.y) if (p := s.pivot) else (_FAR, _FAR) for s in scenes])
    lay(canvas.cover(torch.hypot(x_X - pivot_x, y_Y1 - pivot_y) - PIVOT_RADIUS), fixture)
    return to_bytes(still_BYX3), slab_BYX


def _blocks(scenes: Sequence[Scene]) -> list[list[tuple[float, float, float, float]]]:
    """Ledges, then shelves, of all scenes: left, right, lower and upper edge; a kind that no scene has is left out."""
    ledges = [(b.wall_x, b.edge_x, FLOOR_Y, FLOOR_Y + b.height) if (b := s.ledge) else None for s in scenes]
    shelves = [(p.wall_x, p.edge_x, p.top - SHELF_THICKNESS, p.top) if (p := s.shelf) else None for s in scenes]
    return [
        [(min(b[:2]), max(b[:2]), *b[2:]) if b else (_FAR, _FAR + 1, 0.0, 1.0) for b in kind]
        for kind in (ledges, shelves)
        if any(kind)
    ]


def _draw_shadows(clip_BFYX3: Tensor, bodies: _Bodies, slab_BYX: Tensor, canvas: Canvas) -> None:
    """A soft dark spot on the floor below each body, fainter the higher the body."""
    first = int((canvas.y_Y >= FLOOR_Y).sum())
    x, y, _ = bodies.state_BF3[..., None, None].unbind(2)
    radius = bodies.radius_B[:, None, None, None]
    dark_BFYX = floor_shadow(canvas.x_X - x, FLOOR_Y - canvas.y_Y[first:, None], y, radius)
    dark_BFYX = dark_BFYX * (1 - slab_BYX[bodies.rows_B, None, first:])
    floor_BFYX3 = clip_BFYX3[bodies.rows_B, :, first:].float()
    clip_BFYX3[bodies.rows_B, :, first:] = (floor_BFYX3 * (1 - dark_BFYX[..., None]) + 0.5).to(torch.uint8)


def _draw_rods(clip_BFYX3: Tensor, scenes: Sequence[Scene], bodies: _Bodies, canvas: Canvas) -> None:
    """The rods of the pendulums, from the pivot to the centre of the first body."""
    rows = [row for row, scene in enumerate(scenes) if scene.pivot is not None]
    if not rows:
        return
    device = canvas.x_X.device
    pivots = [pivot for scene in scenes if (pivot := scene.pivot) is not None]
    pivot_B2 = torch.tensor([(pivot.x, pivot.y) for pivot in pivots], device=device)
    rod_BF2 = bodies.state_BF3[rows, :, :2] - pivot_B2[:, None]
    rod_x, rod_y = rod_BF2[..., None, None].unbind(2)
    x_BFYX = canvas.x_X - pivot_B2[:, 0, None, None, None]
    y_BFYX = canvas.y_Y[:, None] - pivot_B2[:, 1, None, None, None]
    cover = canvas.cover(segment_distance(x_BFYX, y_BFYX, rod_x, rod_y) - ROD_RADIUS)[..., None]
    colour = torch.tensor([PALETTES[scenes[row].palette].fixture for row in rows], device=device)[:, None, None, None]
    clip_BFYX3[rows] = torch.lerp(clip_BFYX3[rows].float(), 255 * colour, cover).add_(0.5).to(torch.uint8)


def _draw_bodies(clip_BFYX3: Tensor, bodies: _Bodies, slab_BYX: Tensor, canvas: Canvas) -> None:
    """Blends each body into its patch of each frame; `P` is the side of a patch."""
    device = canvas.x_X.device
    _, num_frames, height, width, _ = clip_BFYX3.shape
    x, y, angle = bodies.state_BF3.unbind(2)
    reach_px = math.ceil(math.sqrt(2) * float(bodies.radius_B.max()) * canvas.px) + 2
    offset_P = torch.arange(-reach_px, reach_px + 1, device=device)
    column_BFP = ((x - canvas.x_X[0]) * canvas.px).round().long()[..., None] + offset_P
    row_BFP = ((canvas.y_Y[0] - y) * canvas.px).round().long()[..., None] + offset_P
    dx_BFPP = (canvas.x_X[0] + column_BFP / canvas.px - x[..., None])[..., None, :]
    dy_BFPP = (canvas.y_Y[0] - row_BFP / canvas.px - y[..., None])[..., :, None]
    radius = bodies.radius_B[:, None, None, None]
    cover, colour = _shade(dx_BFPP / radius, dy_BFPP / radius, angle[..., None, None], bodies, radius * canvas.px)

    inside = ((row_BFP >= 0) & (row_BFP < height))[..., :, None] & ((column_BFP >= 0) & (column_BFP < width))[
        ..., None, :
    ]
    inside &= cover > 0
    pixel = (row_BFP[..., :, None] * width + column_BFP[..., None, :])[inside]
    clip = bodies.rows_B[:, None, None, None].expand_as(inside)[inside]
    frame = torch.arange(num_frames, device=device)[None, :, None, None].expand_as(inside)[inside]
    share = cover[inside] * (1 - slab_BYX.flatten(1)[clip, pixel])
    flat = clip_BFYX3.view(-1, 3)
    place = (clip * num_frames + frame) * (height * width) + pixel
    flat[place] = torch.lerp(flat[place].float(), 255 * colour[inside], share[:, None]).add_(0.5).to(torch.uint8)


def _shade(dx: Tensor, dy: Tensor, angle: Tensor, bodies: _Bodies, radius_px: Tensor) -> tuple[Tensor, Tensor]:
    """Coverage and colour of bodies at offsets from their centres, in radii; light from the upper left.

    A ball carries a stripe and a box an inset square, both in a darker shade of their own colour; what is not plain
    looks as `SURFACES` says.
    """
    cos, sin = angle.cos(), angle.sin()
    u, v = (dx * cos + dy * sin), (dy * cos - dx * sin)
    ball = bodies.ball_B[:, None, None, None]
    from_centre = torch.hypot(dx, dy)
    block = torch.maximum(u.abs(), v.abs())
    outside = torch.where(ball, from_centre - 1, box_distance(u.abs() - 1, v.abs() - 1))
    cover = (0.5 - outside * radius_px).clamp(0, 1)
    marker = torch.where(ball, v.abs() - 0.2, (block - 0.55).abs() - 0.11)
    paint = bodies.paint_B3[:, None, None, None]
    colour = body_colour(paint, outside, marker, dx, dy, radius_px)
    for material, surface in SURFACES.items():
        if material in bodies.materials:
            of = torch.tensor([other == material for other in bodies.materials], device=paint.device)
            colour[of] = surface(
                Spots(
                    paint=paint[of],
                    outside=outside[of],
                    marker=marker[of],
                    u=u[of],
                    v=v[of],
                    dx=dx[of],
                    dy=dy[of],
                    radius_px=radius_px[of],
                )
            )
    return cover, colour


def box_distance(beyond_u: Tensor, beyond_v: Tensor) -> Tensor:
    """Signed distance to a box with rounded corners, from the distances beyond two of its sides, in half sides."""
    rounded = torch.hypot((beyond_u + _CORNER).clamp_min(0), (beyond_v + _CORNER).clamp_min(0)) - _CORNER
    beyond = torch.maximum(beyond_u, beyond_v)
    return torch.where(beyond < -_CORNER, beyond, rounded)


def body_colour(paint: Tensor, outside: Tensor, marker: Tensor, dx: Tensor, dy: Tensor, radius_px: Tensor) -> Tensor:
    """Colour [..., 3] of a body's pixels: darker on its marker and towards its edge, with a light on its upper left.

    Args:
        paint: [..., 3], one axis more than the others.
        outside, marker: signed distances to the outline and to the marker, in radii.
        dx, dy: offsets from the centre, in radii.
        radius_px: pixels per radius.
    """
    shade = 1 - (1 - _MARKER_SHADE) * (0.5 - marker * radius_px).clamp(0, 1)
    shade = shade * (1 - 0.22 * ((outside + 0.3) / 0.3).clamp(0, 1) ** 2)
    light = 0.4 * torch.exp(-((dx + 0.35) ** 2 + (dy - 0.4) ** 2) / 0.2)
    colour = paint * shade[..., None]
    return torch.lerp(colour, torch.ones_like(colour), light[..., None])


def sky_colour(low: Tensor, top: Tensor, y_Y1: Tensor) -> Tensor:
    """Colour [..., Y, 1, 3] behind everything: `low` at the floor, `top` at the upper edge of the unit square."""
    return torch.lerp(low, top, ((y_Y1 - FLOOR_Y) / (1 - FLOOR_Y)).clamp(0, 1)[..., None])


def floor_colour(floor: Tensor, y_Y1: Tensor) -> Tensor:
    """Colour [..., Y, 1, 3] of the floor, darker towards the viewer."""
    return floor * (1.1 - 0.35 * ((FLOOR_Y - y_Y1) / FLOOR_Y).clamp(0, 1)[..., None])


def ramp_colour(fixture: Tensor, incline: Tensor) -> Tensor:
    """Colour [..., 3] of a ramp, lit along its incline, whose distance is given in world units."""
    return 1.25 * fixture + 0.12 * torch.exp(-(incline.abs() / 0.02))[..., None]


def slab_colour(fixture: Tensor, across: Tensor) -> Tensor:
    """Colour [..., 3] of the occluder, rounded like a pillar; `across` is 0 on its axis and 1 at its sides."""
    return fixture * (1.55 - 0.35 * across[..., None] ** 2)


def floor_shadow(dx: Tensor, depth: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Share of the light that a body at height `y` keeps from the floor, fainter and wider the higher it is.

    Args:
        dx: offset from the middle of the shadow, in world units, as all that follow.
        depth: below the edge of the floor.
        y, radius: of the body.
    """
    height = (y - FLOOR_Y - radius).clamp_min(0)
    across = torch.exp(-((dx / (radius + 0.3 * height)) ** 2))
    down = torch.exp(-((depth / (0.35 * radius)) ** 2))
    return 0.5 * torch.exp(-height / 0.2) * across * down


def segment_distance(x: Tensor, y: Tensor, end_x: Tensor, end_y: Tensor) -> Tensor:
    """Distance of points to the segment from the origin to an end, which may be the origin too."""
    along = ((x * end_x + y * end_y) / (end_x**2 + end_y**2).clamp_min(1e-12)).clamp(0, 1)
    return torch.hypot(x - along * end_x, y - along * end_y)


def to_bytes(colour: Tensor) -> Tensor:
    """uint8 of a colour in 0..1; what lies outside is clipped."""
    return (colour.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
