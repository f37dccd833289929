"""What excuses a thing: a swing, an image, a touch, a half-hidden end, paint. Shared by several rules."""

from dataclasses import replace

import numpy as np

from tests.judge.rules import world
from tests.judge.rules.checks import abstains, strength
from tests.judge.rules.world import DIAMETER, FLOOR_Y, body, seen
from vgen.judge.observation import Floats, Observation, Sight, Track
from vgen.judge.rules import RULES
from vgen.judge.rules.segments import gravity, paths

FRAMES = 48
STANDS = FLOOR_Y - DIAMETER / 2


def lost(track: Track, missing_F: np.ndarray) -> Track:
    """The same thing, with nothing of it measured in these frames."""
    xy_F2, box_F4 = track.xy_F2.copy(), track.box_F4.copy()
    xy_F2[missing_F], box_F4[missing_F] = np.nan, np.nan
    sight_F = np.where(missing_F, Sight.LOST, track.sight_F).astype(np.uint8)
    return replace(track, xy_F2=xy_F2, box_F4=box_F4, sight_F=sight_F)


def rolling(speed: float = 4.0, start: float = 60.0) -> Floats:
    return world.uniform(FRAMES, (start, STANDS), (speed, 0))


def test_what_rocks_to_and_fro_swings_even_where_a_surface_seems_near() -> None:
    phase_F = 0.3 * np.arange(FRAMES)
    path_F2 = np.stack([200 + 20 * np.sin(phase_F), 150 - 1.2 * np.sin(phase_F) ** 2], -1)
    seeming_F = np.where(np.arange(FRAMES) % 16 < 8, 0.0, 40.0)
    rocking = seen(body(path_F2, standing_F=seeming_F))
    assert all(path.swings for path in paths(rocking))
    for law in ("support", "friction", "speed_jerk"):
        assert abstains(RULES[law], rocking, "not_applicable"), law


def test_what_neither_stands_nor_falls_is_no_matter_of_support() -> None:
    falls = body(world.throw(FRAMES, (60, 60), (2, 0)).xy_F2)
    flies_F2 = world.uniform(FRAMES, (300, 100), (-2, -1.5))
    flies = body(flies_F2, id=1, standing_F=np.full(FRAMES, 200.0))
    found = RULES["support"].measure(seen(falls, flies))
    assert isinstance(found, tuple) and all(m.objects == (0,) and m.strength == 0 for m in found)
    assert abstains(RULES["common_gravity"], seen(falls, flies), "not_applicable")


def test_a_flight_that_hardly_bends_tells_no_gravity() -> None:
    time_F = np.arange(FRAMES, dtype=float)
    flat_F2 = np.stack([60 + 2 * time_F, 200 + 0.5 * 0.002 * time_F**2], -1)
    obs = seen(body(flat_F2, sigma=0.02))
    assert not gravity(obs)[0].any()


def touching(apart: float) -> Observation:
    """Two things, one of which is lost at frame 24 while the other is that many pixels away."""
    one = lost(body(rolling(0.0)), np.arange(FRAMES) >= 24)
    other = body(rolling(0.0, 60 + DIAMETER + apart), id=1)
    gap_F = np.where(np.arange(FRAMES) < 24, apart, np.nan)
    return replace(seen(one, other), gap_px={(0, 1): gap_F})


def test_what_is_lost_at_the_touch_of_another_may_be_one_with_it() -> None:
    assert strength(RULES["vanish"], touching(0.0)) == 0
    assert strength(RULES["vanish"], touching(3 * DIAMETER)) > 0.3


def test_what_ends_half_hidden_went_behind_what_hides_it() -> None:
    half = lost(body(rolling(0.0)), np.arange(FRAMES) >= 24)
    sight_F = half.sight_F.copy()
    sight_F[20:24] = Sight.PARTLY
    obs = seen(replace(half, sight_F=sight_F))
    assert strength(RULES["vanish"], obs) > 0.3
    assert strength(RULES["vanish"], replace(obs, occluders=((64.0, 300.0, 90.0, 400.0),))) == 0


def painted(behind_rgb: tuple[int, int, int] | None) -> Observation:
    """A thing that turns orange at frame 24, on ground that is orange from there on or is not."""
    lab_F3 = np.where(np.arange(FRAMES)[:, None] < 24, (60.0, 0.0, 0.0), (60.0, 50.0, 50.0))
    picture_YX3 = np.full((480, 640, 3), 90, np.uint8)
    if behind_rgb is not None:
        picture_YX3[int(FLOOR_Y) - 4 :, 150:] = behind_rgb
    thing = replace(body(rolling()), lab_F3=lab_F3)
    return replace(seen(thing), background_YX3=picture_YX3, width=640, height=480)


def test_paint_that_a_thing_comes_to_is_a_cause_of_its_colour() -> None:
    orange = (228, 116, 55)  # about L 62, a 42, b 50
    assert strength(RULES["colour"], painted(None)) > 2
    assert strength(RULES["colour"], painted((40, 160, 60))) > 1
    assert strength(RULES["colour"], painted(orange)) < 0.6
    assert strength(RULES["colour"], painted((110, 30, 8))) == 0  # the same paint in the shade


def follow_shot(spins: float) -> Observation:
    """A ball hits a resting box at frame 14 and keeps a fifth of its speed, then gains `spins` of what it had.

    A disc that rolls into a blow keeps its spin, which gives it (2 v1 + v0) / 3 in the end.
    """
    t = np.arange(FRAMES)
    v0, v1 = 4.0, 0.8
    v2 = v1 + spins * v0
    after = np.maximum(t - 14.0, 0)
    grip = np.minimum(after, 12) / 12
    x_F = 60 + v0 * np.minimum(t, 14) + v1 * after + (v2 - v1) * np.where(after < 12, 6 * grip**2, after - 6)
    ball = body(np.stack([x_F, np.full(FRAMES, STANDS)], -1))
    box_x_F = 60 + v0 * 14 + DIAMETER + 3.4 * after
    box = body(np.stack([box_x_F, np.full(FRAMES, STANDS)], -1), id=1)
    hit = world.event("contact", 14.0, (0, 1), xy=(60 + v0 * 14 + DIAMETER / 2, STANDS), strength=3.2)
    return replace(seen(ball, box, events=[hit]), gap_px={(0, 1): box_x_F - x_F - DIAMETER})


def test_spin_gives_a_ball_speed_back_after_a_blow_and_no_more_than_it_holds() -> None:
    assert strength(RULES["friction"], follow_shot(0.2)) < 0.1
    assert strength(RULES["friction"], follow_shot(0.9)) > 0.5


def test_what_was_about_to_stop_does_not_stop_at_once() -> None:
    path_F2 = world.slide(FRAMES, (60, STANDS), 3.0, braking=0.1)
    early_F2 = path_F2.copy()
    early_F2[28:] = early_F2[28]  # two frames before it would stand
    assert strength(RULES["speed_jerk"], seen(body(early_F2))) == 0
    halted_F2 = path_F2.copy()
    halted_F2[12:] = halted_F2[12]
    assert strength(RULES["speed_jerk"], seen(body(halted_F2))) > 0.5


def test_what_is_frozen_breaks_a_law_on_the_ground_in_the_air_and_on_a_string() -> None:
    for law, path_F2 in (
        ("speed_jerk", rolling(3.0)),
        ("speed_jerk", world.uniform(FRAMES, (60, 120), (3.0, 2.0))),
        ("pendulum", world.swing(120, length=60.0)),
    ):
        frozen_F2 = path_F2.copy()
        halt = round(0.62 * len(path_F2))
        frozen_F2[halt:] = frozen_F2[halt]
        floor = FLOOR_Y if law == "speed_jerk" else None
        assert strength(RULES[law], seen(body(frozen_F2, floor=floor))) > 0.3, law
        assert strength(RULES[law], seen(body(path_F2, floor=floor))) == 0, law


def test_a_body_at_rest_beside_another_did_not_push_it() -> None:
    """It starts ten frames before the pusher comes, whatever lies next to it."""
    start = 18
    t = np.arange(FRAMES)
    pusher = body(world.uniform(FRAMES, (60, STANDS), (5.0, 0)))
    pushed_x = 60 + 5.0 * (start + 10) + DIAMETER
    pushed = body(np.stack([pushed_x + 6.0 * np.maximum(t - start, 0), np.full(FRAMES, STANDS)], -1), id=1)
    for seed in range(6):
        rests = body(world.uniform(FRAMES, (pushed_x - DIAMETER - 0.5, STANDS - DIAMETER), (0, 0)), id=2, seed=seed)
        assert strength(RULES["effect_before_cause"], seen(pusher, pushed, rests)) > 5


def test_a_body_that_shows_for_three_frames_stops_no_rule() -> None:
    brief = lost(body(rolling(0.0, 500.0), id=1), np.arange(FRAMES) >= 3)
    starts_F2 = world.uniform(FRAMES, (300, STANDS), (0, 0))
    starts_F2[20:, 0] += 4.0 * np.arange(FRAMES - 20)
    obs = seen(body(starts_F2), brief)
    assert strength(RULES["motion_without_cause"], obs) > 1
    for law in ("effect_before_cause", "event_order"):
        assert abstains(RULES[law], obs, "not_applicable"), law


def test_what_parts_from_another_had_its_outline_until_then() -> None:
    track = body(rolling(1.0))
    outline_FA = track.outline_px_FA.copy()
    outline_FA[18:24] *= 1 + 0.3 * np.cos(2 * np.linspace(0, 2 * np.pi, outline_FA.shape[1], endpoint=False))
    joined = replace(track, outline_px_FA=outline_FA)
    other = body(rolling(0.0, 300), id=1, lab=(20.0, 0.0, 0.0))
    assert strength(RULES["rigid"], seen(joined, other)) > 0.2
    for kind in ("split", "separation"):
        assert strength(RULES["rigid"], seen(joined, other, events=[world.event(kind, 21.0, (0, 1))])) == 0


def test_places_far_off_at_times_gain_no_speed() -> None:
    """Steps of a ball that rolls steadily, as strong compression leaves them."""
    steps: tuple[float, ...] = (
        1.2,
        2.8,
        -0.3,
        1.8,
        6.0,
        2.7,
        0.2,
        1.0,
        1.9,
        1.9,
        2.0,
        2.1,
        3.6,
        1.5,
        2.5,
        2.0,
        1.7,
        2.1,
        0.2,
        1.5,
        3.3,
    )
    steps += (1.5, 2.5, 1.6, 2.5, 1.4, 1.1, 1.4, 2.4, 3.8, 1.4, 2.2, 1.8, 1.4, 1.3, 2.0)
    x_F = 60 + np.concatenate([[0.0], np.cumsum(steps)])
    assert strength(RULES["friction"], seen(body(np.stack([x_F, np.full(len(x_F), STANDS)], -1), sigma=0.05))) < 0.2


def test_short_runs_tell_their_friction_too() -> None:
    for frames in (8, 10):
        t = np.arange(frames, dtype=float)
        path_F2 = np.stack([60 + 2 * t + 0.3 * t**2, np.full(frames, STANDS)], -1)
        assert strength(RULES["friction"], seen(body(path_F2))) > 0.2, frames
