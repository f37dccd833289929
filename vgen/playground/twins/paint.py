"""Paints of the twins' actors, and steps between them of a known size in CIE L*a*b* (CIE 15, D65, sRGB: IEC 61966-2-1).

A colour difference here is Delta-E of 1976: the Euclidean distance in L*a*b*.
"""

import numpy as np
import numpy.typing as npt

from vgen.playground.scene import Dice

__all__ = ["PAINTS", "lab_of", "pick_paints", "repainted", "rgb_of"]

Floats = npt.NDArray[np.float64]
Rgb = tuple[float, float, float]

PAINTS: tuple[Rgb, ...] = (
    (0.84, 0.18, 0.16),  # red
    (0.93, 0.56, 0.13),  # orange
    (0.92, 0.80, 0.20),  # yellow
    (0.25, 0.66, 0.28),  # green
    (0.13, 0.62, 0.62),  # teal
    (0.16, 0.40, 0.82),  # blue
    (0.50, 0.26, 0.70),  # purple
    (0.86, 0.38, 0.62),  # pink
    (0.93, 0.93, 0.92),  # white
)
_FAR = 42.0  # Delta-E: paints closer than the largest colour breach are no target of one

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)
_BEND = 6 / 29


def lab_of(rgb: npt.ArrayLike) -> Floats:
    """L*a*b* of sRGB in 0..1, last axis 3."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = linear @ _TO_XYZ.T / _WHITE
    f = np.where(t > _BEND**3, np.cbrt(t), t / (3 * _BEND**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def rgb_of(lab: npt.ArrayLike) -> Floats:
    """sRGB of L*a*b*, not clipped: outside 0..1 where a screen cannot show it."""
    lab = np.asarray(lab, dtype=np.float64)
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    t = np.where(f > _BEND, f**3, 3 * _BEND**2 * (f - 4 / 29))
    linear = (t * _WHITE) @ np.linalg.inv(_TO_XYZ).T
    bent = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bent)


def pick_paints(dice: Dice, count: int) -> tuple[Rgb, ...]:
    """Different paints."""
    left = list(PAINTS)
    return tuple(left.pop(int(dice.uniform(0, len(left)))) for _ in range(count))


def repainted(rgb: Floats, delta_e: float, dice: Dice) -> Floats:
    """A paint `delta_e` away, on the way to one of `PAINTS` that lies further off; at most 40."""
    own = lab_of(rgb)
    steps = [lab_of(paint) - own for paint in PAINTS]
    far = tuple(step for step in steps if np.linalg.norm(step) >= _FAR and _shows(own + 40 * _unit(step)))
    assert far, f"no paint lies 40 Delta-E from {rgb}"
    return np.clip(rgb_of(own + delta_e * _unit(dice.pick(far))), 0.0, 1.0)


def _unit(step: Floats) -> Floats:
    return np.asarray(step / np.linalg.norm(step))


def _shows(lab: Floats) -> bool:
    """Whether a screen shows it and, nearly straight as the way there is, all before it."""
    rgb = rgb_of(lab)
    return bool(np.all((rgb >= 0) & (rgb <= 1)))
