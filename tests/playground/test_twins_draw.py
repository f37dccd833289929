"""Drawing films: the playground's world is `render`'s, both worlds draw what the film says and nothing else."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.playground.films import disc_area, film_of, one
from vgen.errors import InputError
from vgen.playground.render import render
from vgen.playground.scene import EVENTS, FLOOR_Y, NUM_PALETTES, Dice, Scene, sample_scene
from vgen.playground.simulate import simulate
from vgen.playground.twins.draw import STYLES, draw
from vgen.playground.twins.film import FORMS, WORLDS, Actor, Film, Fixture, Form, World
from vgen.playground.twins.forms import REACH, form_distance
from vgen.playground.twins.paint import PAINTS, lab_of, repainted
from vgen.playground.twins.staging import block
from vgen.playground.twins.texture import fractal_noise

both_worlds = pytest.mark.parametrize("world", WORLDS)


def one_of_each_event() -> list[Scene]:
    first: dict[str, Scene] = {}
    for scene in map(sample_scene, range(200)):
        first.setdefault(scene.event, scene)
    return [first[event] for event in EVENTS]


SCENES = one_of_each_event()


def still(*things: Actor | Fixture, palette: int = 0) -> Film:
    actors = tuple(thing for thing in things if isinstance(thing, Actor))
    fixtures = tuple(thing for thing in things if isinstance(thing, Fixture))
    return Film(fps=12.0, actors=actors, fixtures=fixtures, palette=palette)


def picture(film: Film, world: World, size: int = 96) -> npt.NDArray[np.int16]:
    """The first frame, as integers that may be subtracted."""
    return draw(film, world=world, height=size, width=size)[0].astype(np.int16)


@pytest.mark.parametrize("scene", SCENES, ids=EVENTS)
def test_the_playground_looks_as_render_draws_it(scene: Scene) -> None:
    run = simulate(scene, 20)
    drawn = draw(film_of(scene, run), world="playground", height=64, width=80)
    wanted = render([scene], [run], height=64, width=80)[0].numpy()
    apart = np.abs(drawn.astype(int) - wanted)
    assert apart.max() <= 16 and (apart > 6).mean() < 0.004  # corners of slabs and feet of ramps


@both_worlds
def test_the_same_film_gives_the_same_bytes_on_any_number_of_threads(world: World) -> None:
    film = film_of(SCENES[2], simulate(SCENES[2], 6))
    threads = torch.get_num_threads()
    try:
        drawn = []
        for number in (1, 2):
            torch.set_num_threads(number)
            drawn.append(draw(film, world=world, height=160, width=160))
    finally:
        torch.set_num_threads(threads)
    assert drawn[0].dtype == np.uint8 and (drawn[0] == drawn[1]).all()


def test_the_worlds_look_different_before_every_palette() -> None:
    for palette in range(NUM_PALETTES):
        film = still(one((0.5, 0.5)), palette=palette)
        apart = np.abs(picture(film, "playground") - picture(film, "second")).max(-1)
        assert np.median(apart) > 20 and apart[48, 48] > 20, palette


@both_worlds
def test_half_the_size_is_the_picture_shrunk(world: World) -> None:
    film = film_of(SCENES[0], simulate(SCENES[0], 3))
    large = draw(film, world=world, height=256, width=256).astype(np.float64)
    small = draw(film, world=world, height=128, width=128)
    shrunk = large.reshape(3, 128, 2, 128, 2, 3).mean((2, 4))
    assert 10 * np.log10(255**2 / np.square(shrunk - small).mean()) > 28  # dB


@both_worlds
def test_a_wide_picture_shows_the_square_in_its_middle(world: World) -> None:
    film = film_of(SCENES[3], simulate(SCENES[3], 2))
    wide = draw(film, world=world, height=48, width=80)
    assert (np.abs(wide[:, :, 16:64].astype(int) - draw(film, world=world, height=48, width=48)) <= 1).all()
    larger = draw(film, world=world, height=64, width=64, px=48)
    assert (np.abs(larger[:, 8:56, 8:56].astype(int) - wide[:, :, 16:64]) <= 1).all()


@given(
    form=st.sampled_from(FORMS),
    x=st.floats(-0.5, 0.5),
    y=st.floats(-0.5, 0.5),
    angle=st.floats(0, 7),
    stretch=st.floats(0.7, 1.4),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_forms_have_their_area_and_centre(form: Form, x: float, y: float, angle: float, stretch: float) -> None:
    radius_px, half = 9.0, 24
    columns = torch.arange(-half, half + 1, dtype=torch.float64)
    dx, dy = (columns - x) / radius_px, (columns[:, None] - y) / radius_px
    u, v = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    one_over = torch.tensor(1 / stretch, dtype=torch.float64)
    outside = form_distance(form, u, v, torch.tensor(stretch, dtype=torch.float64), one_over)
    cover = (0.5 - outside * radius_px).clamp(0, 1)
    area = float(cover.sum())
    wanted = 4 * radius_px**2 if form == "box" else disc_area(radius_px)
    assert area == pytest.approx(wanted, rel=0.02)
    centre = (float((cover * columns).sum()) / area, float((cover * columns[:, None]).sum()) / area)
    assert centre == pytest.approx((x, y), abs=0.06)
    assert torch.hypot(dx, dy)[cover > 0.5].max() <= REACH[form] * max(stretch, 1 / stretch)


@both_worlds
@pytest.mark.parametrize("form", FORMS)
def test_a_body_is_where_the_film_says(world: World, form: Form) -> None:
    size = 128
    at = np.array([0.4137, 0.6051])
    without = replace(one(at, form=form), shown_F=np.zeros(1))
    apart = np.abs(picture(still(one(at, form=form)), world, size) - picture(still(without), world, size)).max(-1)
    rows, columns = np.nonzero(apart[: int(size * (1 - FLOOR_Y))] > 8)
    reach = REACH[form] * 0.1
    x, y = (columns + 0.5) / size, 1 - (rows + 0.5) / size
    assert np.hypot(x - at[0], y - at[1]).max() < reach + 1 / size
    assert (x.mean(), y.mean()) == pytest.approx(at, abs=1.2 / size)
    assert len(x) / size**2 == pytest.approx(0.04 if form == "box" else disc_area(0.1), rel=0.15)


def test_a_move_by_whole_pixels_moves_the_pixels() -> None:
    size = 64
    left, right = (picture(still(one((0.3 + step / size, 0.6), form="star")), "playground", size) for step in (0, 9))
    above = slice(0, int(size * (1 - FLOOR_Y)) - 1)
    assert (right[above, 9:] == left[above, :-9]).all()


@both_worlds
def test_frames_before_a_change_of_paint_do_not_tell_it(world: World) -> None:
    frames = 40  # more than one chunk
    plain = one((0.5, 0.5), frames=frames)
    rgb_F3 = plain.rgb_F3.copy()
    rgb_F3[30:] = (0.2, 0.7, 0.3)
    one_film, other = still(plain), still(replace(plain, rgb_F3=rgb_F3))
    before, after = (draw(film, world=world, height=32, width=32) for film in (one_film, other))
    assert (before[:30] == after[:30]).all() and (before[30:] != after[30:]).any((1, 2, 3)).all()


def test_the_second_world_keeps_the_size_of_a_change_of_paint() -> None:
    paints = [np.array([rgb, repainted(np.array(rgb), 20.0, Dice(seed))]) for rgb in PAINTS for seed in range(6)]
    for palette in range(NUM_PALETTES):
        painted = [lab_of(STYLES["second"].paint(rgb_F3, palette)) for rgb_F3 in paints]
        delta_e = np.array([np.linalg.norm(after - before) for before, after in painted])
        assert delta_e.max() < 20.1 and delta_e.min() > 17 and np.median(delta_e) > 19.9, palette


@both_worlds
def test_opacity_goes_from_nothing_to_all(world: World) -> None:
    there = one((0.5, 0.6), frames=3)
    film = still(replace(there, shown_F=np.array([0.0, 0.5, 1.0])))
    gone, half, whole = draw(film, world=world, height=48, width=48).astype(int)
    beside = draw(still(one((7.0, 0.6))), world=world, height=48, width=48)[0]
    assert (gone == beside).all()
    assert (np.abs((gone + whole) / 2 - half) <= 2).all()


@both_worlds
def test_depth_says_what_hides_what(world: World) -> None:
    ball, other = one((0.5, 0.5)), replace(one((0.5, 0.5), form="box", radius=0.12), rgb_F3=np.array([(0.1, 0.3, 0.9)]))
    slab = Fixture(kind="occluder", corners_P2=block(0.3, 0.7, 0.05, 0.8), depth=5)
    middle = (slice(43, 53), slice(43, 53))
    alone = picture(still(ball), world)[middle]
    assert (picture(still(replace(other, depth=-5), ball), world)[middle] == alone).all()
    assert (picture(still(replace(other, depth=5), ball), world)[middle] != alone).any()
    hidden = picture(still(replace(ball, shown_F=np.zeros(1)), slab), world)[middle]
    assert (picture(still(ball, slab), world)[middle] == hidden).all()
    assert (picture(still(ball, replace(slab, depth=-5)), world)[middle] == alone).all()


@both_worlds
@pytest.mark.parametrize("kind", ["wall", "ramp", "occluder", "rod", "container", "liquid", "mirror"])
@pytest.mark.parametrize("moving", [False, True])
def test_fixtures_show_where_their_corners_are(world: World, kind: str, moving: bool) -> None:
    corners_P2 = block(0.3, 0.6, 0.4, 0.7)[: 2 if kind == "rod" else 4]
    fixture = Fixture(kind=kind, corners_P2=corners_P2[None] if moving else corners_P2)  # type: ignore[arg-type]
    apart = np.abs(picture(still(one((7, 7)), fixture), world) - picture(still(one((7, 7))), world)).max(-1) > 4
    rows, columns = np.nonzero(apart)
    x, y = (columns + 0.5) / 96, 1 - (rows + 0.5) / 96
    assert len(x) and x.min() > 0.26 and x.max() < 0.64 and y.min() > 0.36 and y.max() < 0.74


@both_worlds
def test_the_shadow_goes_where_it_is_sent(world: World) -> None:
    ball = one((0.7, FLOOR_Y + 0.12))
    usual, sent, none = (
        picture(still(replace(ball, shadow_xy_F2=shadow)), world)
        for shadow in (np.array([[0.7, 1.0]]), np.array([[0.35, 1.0]]), np.array([[0.35, 0.0]]))
    )
    assert (usual == picture(still(ball), world)).all()
    floor = slice(96 - int(96 * FLOOR_Y) + 1, 96)
    assert (usual[: floor.start - 2] == sent[: floor.start - 2]).all()
    centres = []
    for shadowed in (usual, sent):
        dark_X = (none - shadowed)[floor].sum((0, 2))
        assert dark_X.min() >= 0
        centres.append((dark_X * np.arange(96)).sum() / dark_X.sum() / 96)
    assert centres[0] - centres[1] == pytest.approx(0.35, abs=0.01)


def test_light_comes_from_above_and_from_the_right() -> None:
    offsets = {}
    for world in WORLDS:
        ball = one((0.5, FLOOR_Y + 0.25))
        lit, dark = (picture(still(b), world) for b in (replace(ball, shadow_xy_F2=np.zeros((1, 2))), ball))
        dark_X = (lit - dark)[-12:].sum((0, 2))
        offsets[world] = (dark_X * (np.arange(96) + 0.5)).sum() / dark_X.sum() / 96 - 0.5
    assert abs(offsets["playground"]) < 0.01 and offsets["second"] < -0.08


@both_worlds
def test_grain_is_on_what_stands_still_alone(world: World) -> None:
    film = still(one((0.5, 0.6)))
    plain, grained = (draw(film, world=world, height=64, width=64, grain=g, seed=3)[0].astype(int) for g in (0.0, 0.1))
    assert (plain[23:29, 29:35] == grained[23:29, 29:35]).all()
    assert (plain != grained).mean() > 0.5
    other = draw(film, world=world, height=64, width=64, grain=0.1, seed=4)[0]
    assert (other != grained).mean() > 0.5


def test_noise_has_no_seams_and_stays_in_range() -> None:
    x = torch.linspace(-3, 3, 601)[None]
    noise = fractal_noise(x, x.T, key=2**63, octaves=3)
    assert float(noise.min()) >= 0 and float(noise.max()) <= 1 and float(noise.std()) > 0.05
    assert float(noise.diff(dim=0).abs().max()) < 0.05


def test_bad_requests_are_refused() -> None:
    film = still(one((0.5, 0.5), frames=2))
    with pytest.raises(InputError, match="unknown world 'third'; possible: playground, second"):
        draw(film, world="third", height=32, width=32)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 8x8"):
        draw(film, world="second", height=4, width=32)
    with pytest.raises(InputError, match=r"no palette 5; possible: 0 to 4"):
        draw(replace(film, palette=5), world="second", height=32, width=32)
    with pytest.raises(InputError, match=r"one length, got frames \[2, 3\]"):
        draw(replace(film, actors=(*film.actors, one((0, 0), frames=3))), world="second", height=32, width=32)
