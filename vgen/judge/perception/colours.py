"""Distances between colours along a last axis of three; written out, since numpy adds up short axes slowly."""

import numpy as np

from vgen.judge.perception.view import Picture

__all__ = ["far", "far_squared", "steps"]


def far_squared(one_3: Picture, other_3: Picture) -> Picture:
    """Squared distances between colours [..., 3], which broadcast."""
    a, b, c = (one_3[..., k] - other_3[..., k] for k in range(3))
    return np.asarray(a * a + b * b + c * c)


def far(one_3: Picture, other_3: Picture) -> Picture:
    """Distances between colours [..., 3], which broadcast."""
    return np.asarray(np.sqrt(far_squared(one_3, other_3)))


def steps(picture_YX3: Picture, axis: int) -> Picture:
    """By how much each pixel differs from the next one along an axis; 0 for the last, which has none."""
    step_YX = np.zeros(picture_YX3.shape[:2], np.float32)
    here, there = (picture_YX3[:-1], picture_YX3[1:]) if axis == 0 else (picture_YX3[:, :-1], picture_YX3[:, 1:])
    step_YX[: here.shape[0], : here.shape[1]] = far(there, here)
    return step_YX
