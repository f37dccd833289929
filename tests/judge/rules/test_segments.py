"""Fits and segments: exact where the motion is, and they find every break that the maker put in, and no other."""

import numpy as np
import pytest

from tests.judge.rules import world
from vgen.judge.observation import Sight
from vgen.judge.rules.fits import derivative_step, polynomial, split
from vgen.judge.rules.segments import gravity, paths


def test_a_polynomial_gives_back_its_own_coefficients_and_their_errors() -> None:
    t_N = np.arange(20.0)
    x_NA = np.stack([3 + 2 * t_N - 0.5 * t_N**2, -t_N], -1)
    fit = polynomial(t_N, x_NA, 0.1, 2)
    assert fit.at(7.0) == pytest.approx([3 + 14 - 24.5, -7])
    assert fit.at(7.0, 1) == pytest.approx([2 - 7, -1])
    assert fit.at(7.0, 2) == pytest.approx([-1, 0], abs=1e-9)
    assert fit.error(7.0, 3) == np.inf
    drawn = [
        polynomial(t_N, x_NA + 0.1 * np.random.default_rng(seed).standard_normal((20, 2)), 0.1, 2).at(19.0, 1)
        for seed in range(200)
    ]
    assert np.std(drawn, axis=0) == pytest.approx(2 * [fit.error(19.0, 1)], rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_split_finds_the_breaks_and_no_others(seed: int) -> None:
    t_N = np.arange(60.0)
    x_N = np.where(t_N < 25, 0.1 * t_N**2, 62.5 - 4 * (t_N - 25))
    x_NA = np.stack([x_N, t_N], -1) + 0.1 * np.random.default_rng(seed).standard_normal((60, 2))
    assert [end for _, end in split(t_N, x_NA, 0.1)] in ([25, 60], [26, 60])
    assert split(t_N, np.stack([3 * t_N, t_N**2], -1), 0.1) == [(0, 60)]


def test_split_sets_an_outlier_apart() -> None:
    t_N = np.arange(30.0)
    x_NA = np.stack([t_N, t_N**2 / 10], -1)
    x_NA[12] += 9.0
    assert (12, 13) in split(t_N, x_NA, 0.1)


def test_derivative_step_measures_a_change_of_acceleration() -> None:
    t_N = np.arange(30.0)
    x_NA = np.stack([2 * t_N, t_N**2 / 2 + 0.3 * np.maximum(t_N - 14, 0) ** 2 / 2], -1)
    step = derivative_step(t_N, x_NA, 0.1, 2)
    assert step is not None
    assert step.time == pytest.approx(14, abs=0.6)
    assert step.size_A == pytest.approx([0, 0.3], abs=0.02)
    assert derivative_step(t_N[:4], x_NA[:4], 0.1, 2) is None


@pytest.mark.parametrize("seed", range(4))
def test_bounces_are_kicks_at_their_moments_and_flights_have_gravity(seed: int) -> None:
    motion = world.throw(90, (60, 100), (4, -3))
    obs = world.seen(world.body(motion.xy_F2, seed=seed))
    (path,) = paths(obs)
    assert [joint.passage for joint in path.joints] == ["kick"] * len(motion.hits)
    for joint, (frame, change) in zip(path.joints, motion.hits, strict=True):
        assert joint.frame == pytest.approx(frame, abs=0.05)
        assert joint.kick_2 == pytest.approx([0, -change], abs=0.5)
        assert "surface" in joint.causes
    assert not path.swings
    assert gravity(obs)[0] == pytest.approx([0, world.GRAVITY], abs=0.02)


def test_hidden_and_half_hidden_frames_are_no_samples() -> None:
    sight_F = np.zeros(40, np.uint8)
    sight_F[10:14], sight_F[14:20] = Sight.PARTLY, Sight.OCCLUDED
    xy_F2 = world.uniform(40, (50, 200), (6, 0))
    xy_F2[10:14] += 20  # centres of cut things lie
    (path,) = paths(world.seen(world.body(xy_F2, sight_F=sight_F)))
    assert not path.joints
    assert not set(range(10, 20)) & set(path.segments[0].frames_N)


def test_a_pendulum_swings_and_a_bouncing_ball_does_not() -> None:
    (swing,) = paths(world.seen(world.body(world.swing(90))))
    (ball,) = paths(world.seen(world.body(world.throw(90, (60, 100), (4, 0)).xy_F2)))
    assert swing.swings
    assert not ball.swings


def test_a_jump_keeps_the_velocity_and_a_kick_keeps_the_place() -> None:
    xy_F2 = world.uniform(40, (50, 200), (6, 0))
    jumped_F2 = xy_F2 + np.where(np.arange(40)[:, None] >= 20, (0, 24), 0)
    (path,) = paths(world.seen(world.body(jumped_F2)))
    assert [joint.passage for joint in path.joints] == ["jump"]
    assert path.joints[0].jump_px == pytest.approx(24, abs=1)
    assert np.linalg.norm(path.joints[0].kick_2) < 0.3


def test_resting_contact_is_found_between_bodies() -> None:
    a_F2, b_F2, meet = world.collide(60, ((100, 388), (6, 0)), ((300, 388), (0, 0)))
    one, other = paths(world.seen(world.body(a_F2), world.body(b_F2, id=1)))
    assert one.joints[0].frame == pytest.approx(meet, abs=0.1)
    assert one.joints[0].others == (1,)
    assert other.joints[0].others == (0,)
