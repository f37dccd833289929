"""How the materials of bodies look: colours of a body's pixels, in its own paint; the plain one stands in `render.py`.

Every look keeps the paint's hue plain to read: colours stay saturated and white stays lighter than every sky.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.playground.parts import Material

__all__ = ["SURFACES", "Spots"]

_WOOD = (0.62, 0.42, 0.22)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """Points of bodies, light coming from the upper left.

    Args:
        paint: [..., 3], one axis more than the others.
        outside, marker: signed distances to the outline and to the marker, in radii.
        u, v: offsets from the centre along the body's own axes, in radii.
        dx, dy: the same to the right and up.
        radius_px: pixels per radius.
    """

    paint: Tensor
    outside: Tensor
    marker: Tensor
    u: Tensor
    v: Tensor
    dx: Tensor
    dy: Tensor
    radius_px: Tensor


def _rubber(at: Spots) -> Tensor:
    """Matte: shaded softly from one side to the other, with no light of its own."""
    lit = (0.5 - 0.35 * at.dx + 0.45 * at.dy).clamp(0, 1)
    return at.paint * ((0.80 + 0.20 * lit) * _marked(at, 0.16) * (1 - 0.10 * _rim(at, 0.3)))[..., None]


def _metal(at: Spots) -> Tensor:
    """Polished: a sharp light, a bright upper half, a dark band along the middle and a dark rim."""
    band = 0.24 * torch.exp(-(((at.dy + 0.12) / 0.17) ** 2))
    shade = (1 - band) * _marked(at, 0.08) * (1 - 0.42 * _rim(at, 0.25))
    sheen = 0.24 * ((at.dy - 0.05) / 0.5).clamp(0, 1) * (1 - _rim(at, 0.35))
    spot = 0.95 * torch.exp(-((at.dx + 0.36) ** 2 + (at.dy - 0.40) ** 2) / 0.045)
    return _lightened(at.paint * shade[..., None], torch.maximum(sheen, spot))


def _wooden(at: Spots) -> Tensor:
    """Stained: wavy grain that turns with the body, a touch of brown, hardly any light."""
    grain = 0.5 + 0.5 * torch.sin(9.5 * at.v + 1.3 * torch.sin(2.2 * at.u + 0.6))
    stained = torch.lerp(at.paint, torch.tensor(_WOOD, device=at.paint.device).expand_as(at.paint), 0.08)
    shade = (1 - 0.24 * grain**1.5) * (1 - 0.18 * _rim(at, 0.3))
    light = 0.14 * torch.exp(-((at.dx + 0.35) ** 2 + (at.dy - 0.4) ** 2) / 0.25)
    return _lightened(stained * shade[..., None], light)


SURFACES: dict[Material, Callable[[Spots], Tensor]] = {"rubber": _rubber, "metal": _metal, "wooden": _wooden}


def _marked(at: Spots, depth: float) -> Tensor:
    """Shade of the marker: 1 beside it and `depth` less on it."""
    return 1 - depth * (0.5 - at.marker * at.radius_px).clamp(0, 1)


def _rim(at: Spots, width: float) -> Tensor:
    """0 inside, rising to 1 at the outline from `width` radii before it."""
    return ((at.outside + width) / width).clamp(0, 1) ** 2


def _lightened(colour: Tensor, light: Tensor) -> Tensor:
    return torch.lerp(colour, torch.ones_like(colour), light[..., None])
