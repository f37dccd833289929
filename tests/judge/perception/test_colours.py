"""Distances between colours, against numpy's own."""

import numpy as np
import pytest

from vgen.judge.perception.colours import far, far_squared, steps
from vgen.judge.perception.view import Picture


def colours(*shape: int, seed: int = 0) -> Picture:
    draw = np.random.Generator(np.random.Philox(key=seed))
    return draw.uniform(0, 100, (*shape, 3)).astype(np.float32)


def test_distances_broadcast() -> None:
    one, other = colours(7, 5), colours(7, 1, seed=1)
    assert far(one, other) == pytest.approx(np.linalg.norm(one - other, axis=-1), rel=1e-6)
    assert far_squared(one, other) == pytest.approx(((one - other) ** 2).sum(-1), rel=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_steps_end_in_none(axis: int) -> None:
    picture_YX3 = colours(6, 9)
    wanted = np.linalg.norm(np.diff(picture_YX3, axis=axis, append=picture_YX3.take([-1], axis)), axis=-1)
    assert steps(picture_YX3, axis) == pytest.approx(wanted, rel=1e-6)
