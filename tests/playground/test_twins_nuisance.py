"""Nuisances change how a take is seen, never what is true in it; attacks do to frames what their names say."""

from dataclasses import replace

import numpy as np
import pytest

from tests.playground.films import bouncing_take, one
from vgen.errors import ConfigError, InputError
from vgen.frames import Frames
from vgen.playground.scene import FLOOR_Y
from vgen.playground.twins.attack import ATTACKS, SUPERFICIAL_ATTACKS, TEMPORAL_ATTACKS
from vgen.playground.twins.camera import Camera, margin_px, moved
from vgen.playground.twins.clutter import distracted, half_hidden
from vgen.playground.twins.draw import draw
from vgen.playground.twins.film import WORLDS, Film, Fixture, Happening, Take, Truth
from vgen.playground.twins.forms import REACH
from vgen.playground.twins.nuisance import NUISANCES, Nuisance, combined, draw_with
from vgen.playground.twins.picture import H264, Blur, Light, Noise
from vgen.playground.twins.timing import at_fps, slowed

TAKE = bouncing_take()
TRUTH = Truth(
    family="x",
    seed=0,
    law="teleport",
    severity=0.5,
    frames=(12, 14),
    happenings=(Happening(kind="bounce", frame=9.4, actors=(0,)),),
)


def noisy(frames: int = 16, height: int = 32, width: int = 40) -> Frames:
    return np.random.Generator(np.random.Philox(key=1)).integers(0, 256, (frames, height, width, 3), np.uint8)


@pytest.mark.parametrize("name", NUISANCES)
def test_a_nuisance_disturbs_the_same_way_for_the_same_seed(name: str) -> None:
    take = Take(film=TAKE.film, truth=TRUTH)
    first, second = (
        draw_with(take, world, NUISANCES[name], height=40, width=48, seed=5) for world in ("playground", "playground")
    )
    frames_FYX3, fps, truth = first
    assert (frames_FYX3 == second[0]).all() and (fps, truth) == second[1:]
    assert frames_FYX3.dtype == np.uint8 and frames_FYX3.shape[1:] == (40, 48, 3)
    assert truth.frames is not None and 0 <= truth.frames[0] <= truth.frames[1] < len(frames_FYX3)
    plain = draw(TAKE.film, world="playground", height=40, width=48)
    assert (name == "none") == (frames_FYX3.shape == plain.shape and bool((frames_FYX3 == plain).all()))
    seconds = (len(frames_FYX3) - 1) / fps
    if not name.endswith("slow"):
        assert seconds == pytest.approx((TAKE.film.frames - 1) / TAKE.film.fps, abs=1 / fps)


@pytest.mark.parametrize("world", WORLDS)
def test_seeds_disturb_differently(world: str) -> None:
    one_seed, other = (
        draw_with(TAKE, world, NUISANCES["phone"], height=32, width=32, seed=seed)[0]  # type: ignore[arg-type]
        for seed in (1, 2)
    )
    assert (one_seed != other).any()


@pytest.mark.parametrize("factor", [0.3, 0.5, 0.77, 1.0])
def test_slow_motion_shows_the_moments_in_between(factor: float) -> None:
    slow = slowed(TAKE, factor).film
    times = np.arange(slow.frames) * factor
    assert slow.fps == TAKE.film.fps and times[-1] <= TAKE.film.frames - 1 < times[-1] + factor
    x_F, y_F = slow.actors[0].xy_F2.T
    assert x_F == pytest.approx(0.2 + 0.5 * times / 23, abs=1e-9)
    gravity = 2 * 0.5 / 9.4**2
    falls_F = 0.5 - gravity * times**2 / 2
    rises_F = 0.8 * gravity * 9.4 * (times - 9.4) - gravity * (times - 9.4) ** 2 / 2
    assert y_F - FLOOR_Y - 0.07 == pytest.approx(np.where(times < 9.4, falls_F, rises_F), abs=1e-9)


def test_slow_motion_bounces_on_the_floor_and_keeps_a_jump_sudden() -> None:
    slow = slowed(TAKE, 0.1).film
    height_F = slow.actors[0].xy_F2[:, 1] - FLOOR_Y - 0.07
    assert -1e-9 < height_F[90:99].min() < 0.01
    jumping_F2 = np.array([(0.2 + 0.01 * frame + 0.2 * (frame >= 12), 0.5) for frame in range(24)])
    jumped = slowed(Take(film=Film(fps=12.0, actors=(one(jumping_F2),)), truth=TRUTH), 0.25).film
    steps = np.diff(jumped.actors[0].xy_F2[:, 0])
    assert np.sort(steps)[-2] < 0.003 and steps.argmax() == 47 and steps.max() == pytest.approx(0.2025)


def test_the_truth_moves_with_the_frames() -> None:
    slow = slowed(Take(film=TAKE.film, truth=TRUTH), 0.5).truth
    assert slow.frames == (23, 28)  # what differs from frame 12 on may show right after frame 11
    assert slow.happenings[0].frame == pytest.approx(18.8) and slow.law == "teleport"
    assert at_fps(Take(film=TAKE.film, truth=TRUTH), 6.0).truth.frames == (6, 7)
    assert slowed(TAKE, 0.5).truth == TAKE.truth


def test_another_frame_rate_and_back_is_the_same_film() -> None:
    double = at_fps(TAKE, 24.0)
    assert double.film.fps == 24 and double.film.frames == 47
    back = at_fps(double, 12.0).film
    assert back.actors[0].xy_F2 == pytest.approx(TAKE.film.actors[0].xy_F2)


def test_steps_of_opacity_and_moving_fixtures_are_slowed_too() -> None:
    ball = TAKE.film.actors[0]
    shown_F = np.where(np.arange(24) < 10, 1.0, 0.0)
    rod = Fixture(kind="rod", corners_P2=np.stack([np.tile((0.5, 0.9), (24, 1)), ball.xy_F2], axis=1))
    film = Film(fps=12.0, actors=(replace(ball, shown_F=shown_F),), fixtures=(rod,))
    slow = slowed(Take(film=film, truth=TRUTH), 0.5).film
    assert set(slow.actors[0].shown_F) == {0.0, 1.0} and slow.actors[0].shown_F.sum() == 20
    assert slow.fixtures[0].corners_P2[:, 1] == pytest.approx(slow.actors[0].xy_F2)


@pytest.mark.parametrize("seed", range(8))
def test_distractors_keep_away_and_change_nothing_else(seed: int) -> None:
    with_more = distracted(TAKE, 2, seed)
    assert with_more.truth == TAKE.truth and with_more.film.actors[0] is TAKE.film.actors[0]
    ball, *others = with_more.film.actors
    assert len(others) == 2
    for other in others:
        away_F = np.hypot(*(ball.xy_F2 - other.xy_F2).T)
        assert (away_F > ball.radius_F + REACH[other.form] * other.radius_F).all()
        assert (other.xy_F2[:, 1] - other.radius_F * REACH[other.form] > 0).all()
    again = distracted(TAKE, 2, seed)
    assert (again.film.actors[2].xy_F2 == others[1].xy_F2).all()


def test_no_room_and_no_path_are_refused() -> None:
    full = replace(
        TAKE.film, fixtures=(Fixture(kind="mirror", corners_P2=np.array([(0, 0), (1, 0), (1, 1), (0, 1.0)])),)
    )
    with pytest.raises(InputError, match="no room for 1 distractors in 'bounce'"):
        distracted(Take(film=full, truth=TAKE.truth), 1, 0)
    resting = Take(film=Film(fps=12.0, actors=(one((0.5, 0.3), frames=8),)), truth=TAKE.truth)
    with pytest.raises(InputError, match="nothing goes far"):
        half_hidden(resting, 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_slab_hides_a_part_of_the_mover_and_never_all_of_it(seed: int) -> None:
    film = half_hidden(TAKE, seed).film
    slab = film.fixtures[-1]
    alone = replace(film, fixtures=())
    gone = replace(film, actors=tuple(replace(a, shown_F=np.zeros(a.xy_F2.shape[0])) for a in film.actors))
    seen_F = (
        np.abs(
            draw(film, world="playground", height=96, width=96).astype(int)
            - draw(gone, world="playground", height=96, width=96)
        ).max(-1)[:, :80]
        > 30
    ).sum((1, 2))
    whole = replace(gone, fixtures=())
    all_F = (
        np.abs(
            draw(alone, world="playground", height=96, width=96).astype(int)
            - draw(whole, world="playground", height=96, width=96)
        ).max(-1)[:, :80]
        > 30
    ).sum((1, 2))
    assert slab.kind == "occluder" and slab.depth > TAKE.film.actors[0].depth
    assert (seen_F / all_F).min() < 0.85 and (seen_F / all_F).min() > 0.05 and (seen_F / all_F).max() > 0.98


def test_a_panning_camera_sees_the_larger_picture_pass() -> None:
    camera = Camera(pan=0.5)
    margin = margin_px(camera, 32, 32)
    assert margin == 8 + 3
    large = draw(TAKE.film, world="second", height=32 + 2 * margin, width=32 + 2 * margin, px=32)
    seen = moved(large, camera, height=32, width=32, fps=12.0, seed=0)
    starts = sorted(
        int(np.abs(large[frame, margin:-margin, left : left + 32].astype(int) - seen[frame]).max() == 0) * left
        for frame in (0, -1)
        for left in (margin - 8, margin + 8)
    )
    assert starts[2:] == [margin - 8, margin + 8]


def test_a_shaking_camera_stays_within_its_margin() -> None:
    camera = Camera(shake=0.05, roll_deg=1.0)
    margin = margin_px(camera, 48, 64)
    large = np.zeros((30, 48 + 2 * margin, 64 + 2 * margin, 3), np.uint8)
    large[:, 1:-1, 1:-1] = 200
    seen = moved(large, camera, height=48, width=64, fps=12.0, seed=4)
    assert (seen == 200).all()


def test_changes_of_the_picture_do_what_they_say() -> None:
    frames = noisy()
    assert (Light()(frames, 0) == frames).all()
    assert (Light(brightness=0.2)(frames, 0) >= frames).all()
    assert Light(contrast=0.5)(frames, 0).std() < 0.6 * frames.std()
    assert (Light(gamma=0.5)(frames, 0) >= frames).all()
    blurred = Blur(0.05)(frames, 0)
    assert blurred.std() < 0.5 * frames.std() and abs(blurred.mean() - frames.mean()) < 1
    grey = np.full_like(frames, 128)
    assert (Noise(6.0)(grey, 1).astype(float) - 128).std() == pytest.approx(6, rel=0.05)
    assert (Noise(6.0)(grey, 1) != Noise(6.0)(grey, 2)).any()


def test_h264_keeps_number_and_size_and_loses_more_at_a_higher_crf() -> None:
    frames = draw(TAKE.film, world="second", height=33, width=47)
    error = [np.abs(H264(crf)(frames, 0).astype(int) - frames).mean() for crf in (10, 28, 40)]
    assert error[0] < error[1] < error[2] < 20
    with pytest.raises(ConfigError, match="possible: 0 to 51"):
        H264(52)


def test_combined_nuisances_keep_their_parts() -> None:
    both = combined(NUISANCES["slow"], NUISANCES["shake"], NUISANCES["noise"], Nuisance(grain=0.2))
    assert both.takes == NUISANCES["slow"].takes and both.pictures == NUISANCES["noise"].pictures
    assert both.camera == NUISANCES["shake"].camera and both.grain == 0.2


def test_bad_timings_are_refused() -> None:
    for factor in (0.0, 1.2, -1.0):
        with pytest.raises(InputError, match="at most 1"):
            slowed(TAKE, factor)
    with pytest.raises(InputError, match="needs two frames"):
        at_fps(TAKE, 0.1)


def test_attacks_are_known_by_name_and_keyed() -> None:
    assert list(TEMPORAL_ATTACKS) == ["reverse", "shuffle", "freeze", "drop"]
    assert list(SUPERFICIAL_ATTACKS) == ["brightness", "reencode", "border", "caption"]
    frames = noisy()
    kept = frames.copy()
    for name, attack in ATTACKS.items():
        edited = attack(frames, 3)
        assert edited.dtype == np.uint8 and (edited == attack(frames, 3)).all(), name
        assert edited.shape != frames.shape or (edited != frames).any(), name
        assert (frames == kept).all(), name


def test_attacks_in_time_only_move_whole_frames() -> None:
    frames = noisy(40)
    index = {frame.tobytes(): number for number, frame in enumerate(frames)}
    order = {name: [index[frame.tobytes()] for frame in attack(frames, 7)] for name, attack in TEMPORAL_ATTACKS.items()}
    assert order["reverse"] == list(range(39, -1, -1))
    assert sorted(order["shuffle"]) == list(range(40)) and order["shuffle"] != list(range(40))
    frozen = order["freeze"][-1]
    assert 10 <= frozen < 20 and order["freeze"] == [min(number, frozen) for number in range(40)]
    steps = np.diff(order["drop"])
    assert len(order["drop"]) == 30 and sorted(steps)[-2:] == [1, 11] and 11 < steps.argmax() < 20
    for name in ("shuffle", "freeze", "drop"):
        with pytest.raises(InputError, match="8 and more"):
            TEMPORAL_ATTACKS[name](frames[:7])


def test_attacks_on_the_surface_leave_the_motion_alone() -> None:
    frames = draw(TAKE.film, world="playground", height=96, width=96)
    framed = SUPERFICIAL_ATTACKS["border"](frames)
    bar = (framed.shape[1] - 96) // 2
    assert framed.shape[1] % 2 == 0 and (framed[:, bar:-bar] == frames).all() and not framed[:, :bar].any()
    captioned = SUPERFICIAL_ATTACKS["caption"](frames)
    changed_Y = (captioned != frames).any((0, 2, 3))
    assert not changed_Y[: int(96 * (1 - FLOOR_Y))].any() and captioned[:, -9:].max() > 150
    assert np.abs(SUPERFICIAL_ATTACKS["reencode"](frames).astype(int) - frames).mean() < 4
    assert (SUPERFICIAL_ATTACKS["brightness"](frames) >= frames).all()
