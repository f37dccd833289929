"""What perception reports of drawn worlds whose truth is known: where things are, when they touch, that they vanish."""

import numpy as np
import pytest

from tests.judge.perception.worlds import (
    BLUE,
    FLOOR,
    GREEN,
    bodies,
    clip_of,
    kinds,
    painted,
    rolling,
    room,
    scene_of,
    truth_px,
)
from vgen.errors import InputError
from vgen.judge.observation import Sight
from vgen.judge.perception.observe import observe
from vgen.playground.render import render
from vgen.playground.scene import FPS, Event, sample_scene
from vgen.playground.simulate import Trajectory, simulate

FRAMES = 36


@pytest.mark.parametrize("event", ["fall", "roll", "throw", "slide", "ramp", "swing", "hit", "hide"])
def test_playground_centres_are_right_to_a_third_of_a_pixel(event: Event) -> None:
    clip, truth_NF2 = clip_of(scene_of(event), FRAMES, 128)
    seen = observe(clip, FPS)
    assert not seen.camera.moving
    assert len(bodies(seen)) == len(truth_NF2)
    for truth_F2 in truth_NF2:
        off = [np.median(np.hypot(*(t.xy_F2[t.seen_F] - truth_F2[t.seen_F]).T)) for t in bodies(seen)]
        assert min(off) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("size", [96, 128, 256])
def test_hardly_any_thing_is_missed_or_invented(size: int) -> None:
    right, off = [], []
    for seed in range(40):
        clip, truth_NF2 = clip_of(sample_scene(seed), 65, size)
        found = bodies(observe(clip, FPS))
        right.append(len(found) == len(truth_NF2))
        for truth_F2 in truth_NF2:
            off.append(min(np.median(np.hypot(*(t.xy_F2[t.seen_F] - truth_F2[t.seen_F]).T)) for t in found))
    assert np.mean(right) >= 0.95
    assert np.median(off) < 0.3 * size / 128


@pytest.mark.parametrize("seed", [0, 2])
def test_touches_come_within_a_frame(seed: int) -> None:
    scene = sample_scene(seed)
    clip, _ = clip_of(scene, FRAMES, 128)
    times = [event.frame for event in observe(clip, FPS).events if event.kind in ("contact", "bounce")]
    moments = [m for m in simulate(scene, FRAMES).moments if m.kind == ("hits" if seed == 2 else "touches_floor")]
    assert moments
    for moment in moments[:2]:  # a moment's frame is the first that shows it
        assert min(abs(time - (moment.frame - 0.5)) for time in times) < 1


def test_what_is_hidden_is_occluded_and_one_thing() -> None:
    clip, _ = clip_of(scene_of("hide"), FRAMES, 128)
    seen = observe(clip, FPS)
    (ball,) = bodies(seen)
    shown = "".join("SPOXL"[code] for code in ball.sight_F)
    assert "O" in shown and "L" not in shown and shown.startswith("S")
    assert not {"vanish", "appear"} & set(kinds(seen))
    assert seen.occluders


def test_a_pattern_on_what_hides_is_not_its_end() -> None:
    """A ball stops behind a slab with stripes, and does not come out again."""
    path_F2 = np.minimum(rolling(40), (78, np.inf))
    clip = room([(path_F2, painted(40))])
    clip[:, 40:112, 64:104] = (60, 50, 40)
    clip[:, 40:112, 72:96:8] = (78, 66, 54)
    ((left, _, right, _),) = observe(clip, 24.0).occluders
    assert left == pytest.approx(64, abs=2)
    assert right == pytest.approx(104, abs=2)


def test_what_is_small_before_it_grows_was_whole() -> None:
    """It grows and then goes behind a slab: its larger self, cut, does not make the small one a part."""
    frames, way_F2 = 30, rolling(30, start=14, speed=4)
    rooms = {radius: room([(way_F2, painted(frames))], radius=radius) for radius in (6.0, 7.25, 8.5, 9.75, 11.0)}
    radius_F = np.interp(np.arange(frames), (6, 10), (6.0, 11.0))
    clip = np.stack([rooms[radius][frame] for frame, radius in enumerate(radius_F.tolist())])
    clip[:, 40:112, 70:110] = (60, 50, 40)
    (ball,) = bodies(observe(clip, 24.0))
    assert (ball.sight_F[:10] == Sight.SEEN).all()
    assert (ball.sight_F[14:17] == Sight.PARTLY).all()


def test_a_thing_that_vanishes_is_lost() -> None:
    xy_F2 = rolling(FRAMES)
    xy_F2[20:] = np.nan
    seen = observe(room([(xy_F2, painted(FRAMES))]), 12)
    (ball,) = bodies(seen)
    assert (ball.sight_F[:20] == Sight.SEEN).all() and (ball.sight_F[20:] == Sight.LOST).all()
    assert [event.frame for event in seen.events if event.kind == "vanish"] == [19.5]


def test_a_thing_that_appears_was_lost_before() -> None:
    xy_F2 = rolling(FRAMES)
    xy_F2[:15] = np.nan
    seen = observe(room([(xy_F2, painted(FRAMES))]), 12)
    assert [event.frame for event in seen.events if event.kind == "appear"] == [14.5]


@pytest.mark.parametrize("jump", [(18.0, 0.0), (0.0, -40.0)])
def test_a_thing_that_jumps_stays_one(jump: tuple[float, float]) -> None:
    xy_F2 = rolling(FRAMES)
    xy_F2[20:] += jump
    (ball,) = bodies(observe(room([(xy_F2, painted(FRAMES))]), 12))
    assert ball.seen_F.all()
    np.testing.assert_allclose(ball.xy_F2[20] - ball.xy_F2[19], np.add(jump, (2, 0)), atol=0.5)


def test_a_thing_that_changes_colour_stays_one() -> None:
    paint_F3 = painted(FRAMES)
    paint_F3[20:] = GREEN
    (ball,) = bodies(observe(room([(rolling(FRAMES), paint_F3)]), 12))
    assert ball.seen_F.all()
    assert np.linalg.norm(ball.lab_F3[22] - ball.lab_F3[18]) > 50


def test_a_thing_that_takes_up_paint_where_it_bounces_stays_one() -> None:
    clock_F = np.arange(24)
    height_F = 70 * np.where(clock_F < 12, 1 - (clock_F / 12) ** 2, 0.6 - 0.6 * ((clock_F - 19.2) / 7.2) ** 2)
    path_F2 = np.stack([np.full(24, 60.0), FLOOR - 9 - height_F], 1)
    paint_F3 = painted(24)
    paint_F3[12:] = (60, 160, 220)
    assert len(bodies(observe(room([(path_F2, paint_F3)]), 24.0))) == 1


@pytest.mark.parametrize("moves_last", [True, False])
def test_what_rests_for_most_of_the_clip_is_a_thing_where_it_ever_moves(moves_last: bool) -> None:
    xy_F2 = rolling(FRAMES, speed=0.0)
    xy_F2[-6:, 0] += 4 * np.arange(6)
    seen = observe(room([(xy_F2 if moves_last else xy_F2[::-1], painted(FRAMES))]), 12)
    (ball,) = bodies(seen)
    assert ball.seen_F.all()
    assert ("onset" if moves_last else "stop") in kinds(seen)


def test_what_never_moves_is_scenery_until_it_is_touched() -> None:
    still = (rolling(FRAMES, start=100, speed=0), painted(FRAMES, BLUE))
    far = rolling(FRAMES, speed=1.0)
    near = rolling(FRAMES, speed=3.0)
    near[21:, 0] = near[21, 0]  # stops where it touches
    assert len(bodies(observe(room([(far, painted(FRAMES)), still]), 12))) == 1
    seen = observe(room([(near, painted(FRAMES)), still]), 12)
    assert len(bodies(seen)) == 2
    assert "contact" in kinds(seen)


def test_what_shows_first_beside_a_thing_is_no_mistake_of_the_background() -> None:
    """The later of two that do not touch: the frames before it show what is behind it."""
    first_F2, second_F2 = rolling(40, 50, 0.0), rolling(40, 70, 0.0, FLOOR - 15)
    first_F2[18:, 0] -= 1.5 * np.arange(1, 23)
    second_F2[:20] = np.nan
    first, second = bodies(observe(room([(first_F2, painted(40)), (second_F2, painted(40, BLUE))]), 24.0))
    assert (first.sight_F == Sight.SEEN).all()
    assert (second.sight_F[:20] == Sight.LOST).all()
    assert (second.sight_F[20:] == Sight.SEEN).all()


def test_a_panning_camera_is_taken_out() -> None:
    shift_F2 = np.stack([np.linspace(-7, 7, FRAMES), 1.5 * np.sin(np.arange(FRAMES))], 1)
    seen = observe(room([(rolling(FRAMES), painted(FRAMES))], shift_F2=shift_F2), 12)
    assert seen.camera.moving and np.median(seen.camera.inliers_F) > 0.8
    moved = seen.camera.to_reference_F33[:, :2, 2]
    expected = shift_F2[seen.camera.reference] - shift_F2
    np.testing.assert_allclose(moved, expected, atol=0.3)
    (ball,) = bodies(seen)
    np.testing.assert_allclose(np.diff(ball.xy_F2[3:-3], axis=0), np.tile([2.0, 0.0], (FRAMES - 7, 1)), atol=0.6)


def test_a_cut_leaves_the_longest_shot() -> None:
    shot = room([(rolling(FRAMES), painted(FRAMES))])
    other = 255 - room([(rolling(FRAMES), painted(FRAMES))], seed=5)
    seen = observe(np.concatenate([other[:10], shot]), 12)
    assert seen.cuts == (10,) and seen.shot == (10, 10 + FRAMES)
    (ball,) = bodies(seen)
    assert (ball.sight_F[:10] == Sight.OUTSIDE).all() and ball.seen_F[10:].all()


def test_free_space_is_measured_down_to_the_floor() -> None:
    height = np.linspace(40, FLOOR - 9, FRAMES)
    xy_F2 = np.stack([np.full(FRAMES, 64.0), height], 1)
    (ball,) = bodies(observe(room([(xy_F2, painted(FRAMES))]), 12))
    np.testing.assert_allclose(ball.surface_px_F, FLOOR - 9 - height, atol=1.5)


def test_gaps_are_free_space_between_outlines() -> None:
    one, other = rolling(FRAMES, speed=1.0), rolling(FRAMES, start=110, speed=-1.0)
    seen = observe(room([(one, painted(FRAMES)), (other, painted(FRAMES, BLUE))]), 12)
    gap_F = seen.gap(0, 1)
    np.testing.assert_allclose(gap_F[:30], (other - one)[:30, 0] - 18, atol=1.0)


def test_a_still_or_blank_clip_has_no_things() -> None:
    assert not observe(np.full((8, 64, 64, 3), 120, np.uint8), 12).tracks
    scene = sample_scene(5)
    frame, _ = clip_of(scene, 1, 96)
    seen = observe(np.repeat(frame, 12, axis=0), 12)
    assert not seen.tracks and not seen.events and seen.motion_share < 0.001


def test_noise_alone_is_no_thing() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3), dtype=np.uint8)
    seen = observe(noise, 12)
    assert len(bodies(seen)) <= 1


def test_the_same_clip_gives_the_same_observation() -> None:
    clip, _ = clip_of(scene_of("hit"), 20, 96)
    one, other = observe(clip, 12), observe(clip.copy(), 12)
    assert one.events == other.events
    for a, b in zip(one.tracks, other.tracks, strict=True):
        np.testing.assert_array_equal(a.xy_F2, b.xy_F2)


def test_a_struck_thing_that_does_not_move_is_seen() -> None:
    scene = sample_scene(2)
    trajectory = simulate(scene, FRAMES)
    states = trajectory.states_NF3.copy()
    states[1] = states[1, 0]
    frozen = Trajectory(states, ())
    clip = render([scene], [frozen], height=128, width=128)[0].numpy()
    target = truth_px(frozen, 128)[1]
    assert any(np.nanmedian(np.hypot(*(t.xy_F2 - target).T)) < 1 for t in bodies(observe(clip, FPS)))


@pytest.mark.parametrize(
    ("shape", "dtype", "fps"),
    [((1, 64, 64, 3), np.uint8, 12), ((9, 16, 64, 3), np.uint8, 12), ((9, 64, 64, 3), np.float32, 12),
     ((9, 64, 64), np.uint8, 12), ((9, 64, 64, 3), np.uint8, 0)],
)  # fmt: skip
def test_bad_input_is_refused(shape: tuple[int, ...], dtype: type, fps: float) -> None:
    with pytest.raises(InputError, match="observe needs"):
        observe(np.zeros(shape, dtype), fps)
