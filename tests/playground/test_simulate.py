"""The simulated world keeps its laws, and every scene shows its event within the native length."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from vgen.errors import InputError
from vgen.playground.scene import FLOOR_Y, FPS, GRAVITY, NATIVE_FRAMES, WALL_X, Event, Scene, sample_scene
from vgen.playground.simulate import LAWS, Trajectory, laws_of, simulate

RUNS = [(scene, simulate(scene)) for scene in map(sample_scene, range(240))]
ROUNDING = 0.012  # float16, and how deep one substep may sink in


def runs_of(*events: Event) -> list[tuple[Scene, Trajectory]]:
    chosen = [(scene, trajectory) for scene, trajectory in RUNS if scene.event in events]
    assert len(chosen) >= 15
    return chosen


def places(trajectory: Trajectory, body: int = 0, frames: int = NATIVE_FRAMES) -> tuple[npt.NDArray[np.float64], ...]:
    """x and y of a body over the native frames."""
    state_F3 = trajectory.states_NF3[body, :frames].astype(np.float64)
    return state_F3[:, 0], state_F3[:, 1]


def first(trajectory: Trajectory, kind: str) -> int:
    return next(moment.frame for moment in trajectory.moments if moment.kind == kind)


def forward(scene: Scene) -> int:
    return -1 if scene.direction == "left" else 1


def test_bodies_stay_between_the_walls_and_above_the_floor() -> None:
    for scene, trajectory in RUNS:
        for index, body in enumerate(scene.bodies):
            x, y = places(trajectory, index, trajectory.frames)
            reach = body.radius - ROUNDING
            assert (x >= WALL_X + reach).all() and (x <= 1 - WALL_X - reach).all(), scene.seed
            assert (y >= FLOOR_Y + reach).all() and (y <= 1 - reach).all(), scene.seed


def test_two_balls_never_overlap() -> None:
    for scene, trajectory in runs_of("hit"):
        (x, y), (other_x, other_y) = places(trajectory, 0), places(trajectory, 1)
        apart = np.hypot(x - other_x, y - other_y)
        assert (apart >= sum(body.radius for body in scene.bodies) - ROUNDING).all(), scene.seed


def test_a_simulation_repeats_itself_and_does_not_depend_on_its_length() -> None:
    for scene, trajectory in RUNS[:16]:
        short = simulate(scene, NATIVE_FRAMES)
        assert np.array_equal(short.states_NF3, trajectory.states_NF3[:, :NATIVE_FRAMES])


def test_a_fall_follows_gravity_and_each_bounce_is_lower() -> None:
    for scene, trajectory in runs_of("fall"):
        _, y = places(trajectory)
        landing = first(trajectory, "touches_floor")
        assert landing <= 12
        time_s = np.arange(landing) / FPS
        np.testing.assert_allclose(y[:landing], y[0] - GRAVITY / 2 * time_s**2, atol=ROUNDING)
        peaks = [y[0], *(y[f] for f in range(landing, NATIVE_FRAMES - 1) if y[f - 1] < y[f] >= y[f + 1])]
        assert len(peaks) >= 2 and all(later < earlier for earlier, later in pairwise(peaks))
        assert peaks[1] > FLOOR_Y + scene.bodies[0].radius + 0.08, scene.seed


def test_a_rolling_ball_keeps_its_speed_and_does_not_slip() -> None:
    for scene, trajectory in runs_of("roll", "hide"):
        x, _ = places(trajectory)
        steps = np.diff(x) * forward(scene)
        assert steps.min() > 0.85 * steps.max() - 0.002, scene.seed
        assert steps.sum() > 0.3
        turned = np.unwrap(trajectory.states_NF3[0, :NATIVE_FRAMES, 2].astype(np.float64))
        slip = (turned[0] - turned) * scene.bodies[0].radius - (x - x[0])
        assert np.abs(slip).max() < 0.02, scene.seed


def test_a_throw_rises_lands_and_keeps_its_horizontal_speed_in_the_air() -> None:
    for scene, trajectory in runs_of("throw"):
        x, y = places(trajectory)
        landing = first(trajectory, "touches_floor")
        assert y[:landing].max() > y[0] + 0.1
        assert np.ptp(np.diff(x[: landing - 1])) < 0.002
        assert (x[landing] - x[0]) * forward(scene) > 0.25, scene.seed


def test_a_hit_passes_momentum_on() -> None:
    for scene, trajectory in runs_of("hit"):
        contact = first(trajectory, "hits")
        assert 4 <= contact <= 12
        (x, _), (other_x, _) = places(trajectory, 0), places(trajectory, 1)
        assert np.abs(other_x[:contact] - other_x[0]).max() < 0.002
        # Masses over the density; speeds over the frames just before and just after, floor friction being small.
        mass, other_mass = (b.radius**2 * (np.pi if b.shape == "ball" else 4) for b in scene.bodies)
        before = mass * (x[contact - 1] - x[contact - 2])
        after = mass * (x[contact + 2] - x[contact + 1]) + other_mass * (other_x[contact + 2] - other_x[contact + 1])
        assert after == pytest.approx(before, rel=0.25), scene.seed
        assert (other_x[contact + 4] - other_x[0]) * forward(scene) > 0.05, scene.seed


def test_a_hidden_ball_reappears_on_the_other_side() -> None:
    for scene, trajectory in runs_of("hide"):
        slab, radius = scene.occluder, scene.bodies[0].radius
        assert slab is not None
        assert 2 < first(trajectory, "hidden") < first(trajectory, "reappears") < NATIVE_FRAMES
        x, _ = places(trajectory)
        assert (slab.x - x[0]) * forward(scene) > slab.half_width + radius
        assert (x[-1] - slab.x) * forward(scene) > slab.half_width + radius


def test_a_sliding_box_slows_evenly_and_rests() -> None:
    for scene, trajectory in runs_of("slide"):
        x, _ = places(trajectory)
        rest = first(trajectory, "rests")
        assert rest < NATIVE_FRAMES - 4
        time_s = np.arange(rest - 2) / FPS
        speed = abs(scene.starts[0].vx)
        expected = speed * time_s - scene.friction * GRAVITY / 2 * time_s**2
        np.testing.assert_allclose((x[: rest - 2] - x[0]) * forward(scene), expected, atol=0.02)


def test_a_ramp_turns_height_into_speed() -> None:
    for scene, trajectory in runs_of("ramp"):
        x, y = places(trajectory)
        foot = first(trajectory, "touches_floor")
        assert foot <= 22 and (np.diff(y[:foot]) < 0.002).all()
        assert y[0] - y[foot] > 0.1 and ((x - x[0]) * forward(scene)).max() > 0.4
        speed = abs(x[foot + 2] - x[foot + 1]) * FPS
        ideal = np.sqrt(GRAVITY * (y[0] - y[foot]) * 4 / 3)  # a disc that rolls keeps a third of its energy as spin
        assert 0.75 * ideal < speed < 1.1 * ideal, scene.seed


def test_a_pendulum_keeps_its_length_and_energy() -> None:
    for scene, trajectory in runs_of("swing"):
        assert scene.pivot is not None
        x, y = places(trajectory, frames=trajectory.frames)
        length = np.hypot(x - scene.pivot.x, y - scene.pivot.y)
        assert np.ptp(length) < 0.01
        assert abs(y[20:].max() - y[0]) < 0.03 and np.ptp(x[:NATIVE_FRAMES]) > 0.25


def test_moments_are_in_order_and_laws_are_known() -> None:
    for scene, trajectory in RUNS:
        frames = [moment.frame for moment in trajectory.moments]
        assert frames == sorted(frames)
        assert set(laws_of(scene)) <= set(LAWS)
        assert ("momentum" in laws_of(scene)) == (scene.event == "hit")


def test_no_frames_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1 frame, got 0"):
        simulate(sample_scene(0), 0)
