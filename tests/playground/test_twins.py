"""Twins are equal up to one frame and differ in one law from it on; takes are the same each time, and complete."""

import dataclasses
import hashlib

import numpy as np
import pytest

from vgen.errors import InputError
from vgen.playground.twins.families import FAMILIES, LAWS, SPLITS
from vgen.playground.twins.film import Actor, Film, Fixture, Take
from vgen.playground.twins.severity import SEVERITY
from vgen.playground.twins.suite import first_difference, quadruplet, take, twin
from vgen.playground.twins.swaps import SWAPS

BREAKING = [(law, family) for law, families in LAWS.items() for family in families]
HIDDEN = [(law, family) for law, family in BREAKING if law in SWAPS]
RULES = """effect_before_cause motion_without_cause missing_effect midair_turn event_order irreversibility
    consequence_persists const_accel common_gravity drop_ratio support restitution momentum energy friction pendulum
    rigid spin vanish spawn count identity size colour reappear teleport path_behind_occluder speed_jerk solidity
    rigid_deform liquid_level shadow_follows mirror occlusion_order"""


def digest(film: Film) -> str:
    """Of every array, rounded to what all machines agree about."""
    whole = hashlib.sha256(repr((film.fps, film.palette)).encode())
    things: tuple[Actor | Fixture, ...] = (*film.actors, *film.fixtures)
    for thing in things:
        for field in dataclasses.fields(thing):
            value = getattr(thing, field.name)
            part = np.round(value, 6) + 0.0 if isinstance(value, np.ndarray) else repr(value)
            whole.update(part.tobytes() if isinstance(part, np.ndarray) else part.encode())
    return whole.hexdigest()[:16]


def visible(film: Film, frame: int) -> list[tuple[object, ...]]:
    """All that one frame shows of its actors, in an order of its own."""
    return sorted(
        (a.form, a.depth, *a.xy_F2[frame], a.angle_F[frame], a.radius_F[frame], *a.rgb_F3[frame], *a.stretch_F2[frame])
        for a in film.actors
        if a.shown_F[frame] > 0
    )


def span(one: Take) -> tuple[int, int]:
    """First and last frame of the breach."""
    assert one.truth.frames is not None
    return one.truth.frames


def test_every_law_has_its_severity_and_a_family_on_either_side_of_the_split() -> None:
    assert set(LAWS) == set(SEVERITY) == set(RULES.split())
    for law, families in LAWS.items():
        assert {FAMILIES[family].split for family in families} == set(SPLITS), law


def test_every_family_breaks_something() -> None:
    assert all(family.laws and set(family.laws) <= set(LAWS) for family in FAMILIES.values())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_a_take_is_finite_whole_and_in_the_picture(family: str, seed: int) -> None:
    film = take(family, seed).film
    assert 24 <= film.frames <= 75
    assert 12 <= film.fps <= 24
    for actor in film.actors:
        shapes = {field.name: getattr(actor, field.name) for field in dataclasses.fields(actor)}
        for name, array in shapes.items():
            if isinstance(array, np.ndarray):
                assert len(array) == film.frames, name
                assert np.isfinite(array).all(), name
        assert ((actor.rgb_F3 >= 0) & (actor.rgb_F3 <= 1)).all()
        inside_F = np.all(np.abs(actor.xy_F2 - 0.5) <= 0.5, axis=1)
        assert inside_F[0] and inside_F.mean() > 0.6


@pytest.mark.parametrize("family", FAMILIES)
def test_a_take_is_the_same_each_time_and_another_with_another_seed(family: str) -> None:
    assert digest(take(family, 5).film) == digest(take(family, 5).film)
    assert digest(take(family, 5).film) != digest(take(family, 6).film)


@pytest.mark.parametrize("family", FAMILIES)
def test_happenings_come_in_order_and_within_the_film(family: str) -> None:
    one = take(family, 2)
    frames = [happening.frame for happening in one.truth.happenings]
    assert frames == sorted(frames)
    assert all(0 <= frame < one.film.frames for frame in frames)
    assert all(i < len(one.film.actors) for happening in one.truth.happenings for i in happening.actors)


@pytest.mark.parametrize(("law", "family"), BREAKING)
def test_twins_are_equal_before_the_breach_and_differ_from_it_on(law: str, family: str) -> None:
    for seed in (0, 3):
        possible, impossible = twin(law, seed, 0.5, family)
        assert (possible.truth.law, possible.truth.frames, possible.truth.severity) == (None, None, 0.0)
        assert (impossible.truth.law, impossible.truth.severity) == (law, 0.5)
        assert digest(possible.film) == digest(take(family, seed).film)
        assert impossible.film.frames == possible.film.frames
        assert impossible.film.fixtures == () or len(impossible.film.fixtures) == len(possible.film.fixtures)
        assert impossible.truth.frames is not None
        first, last = impossible.truth.frames
        assert 0 < first <= last < impossible.film.frames
        assert impossible.film.frames - first >= 6, "too little of the film shows the breach"
        for frame in range(first):
            assert visible(possible.film, frame) == visible(impossible.film, frame)
        assert first == first_difference(possible.film, impossible.film)
        assert all(index < len(impossible.film.actors) for index in impossible.truth.actors)


@pytest.mark.parametrize(("law", "family"), BREAKING)
def test_twins_differ_in_what_breaks_the_law_alone(law: str, family: str) -> None:
    """Actors that no breach names, and that nothing pushes, do the same in both."""
    possible, impossible = twin(law, 1, 0.5, family)
    for index, actor in enumerate(possible.film.actors):
        if index in impossible.truth.actors or law == "solidity":
            continue
        other = impossible.film.actors[index]
        assert np.array_equal(actor.xy_F2, other.xy_F2)
        assert np.array_equal(actor.shown_F, other.shown_F)
        assert np.array_equal(actor.rgb_F3, other.rgb_F3)


@pytest.mark.parametrize(("law", "family"), BREAKING)
@pytest.mark.parametrize("severity", [0.1, 1.0])
def test_every_law_can_be_broken_a_little_and_wholly(law: str, family: str, severity: float) -> None:
    for seed in (2, 4):
        assert twin(law, seed, severity, family)[1].truth.frames is not None


@pytest.mark.parametrize("law", LAWS)
def test_size_of_a_breach_grows_with_its_severity(law: str) -> None:
    sizes = [SEVERITY[law].size(severity) for severity in (0.1, 0.25, 0.5)]
    assert sizes == pytest.approx([SEVERITY[law].at_half * share for share in (0.2, 0.5, 1)])
    assert SEVERITY[law].size(1.0) >= sizes[-1]


@pytest.mark.parametrize(("law", "family"), HIDDEN)
def test_halves_of_a_quadruplet_are_halves_of_its_possible_takes(law: str, family: str) -> None:
    one, other, there, back = quadruplet(law, 1, 0.5, family)
    assert one.truth.law is other.truth.law is None
    assert there.truth.law == back.truth.law == law
    first = span(there)[0]
    for frame in range(one.film.frames):
        seen = [visible(t.film, frame) for t in (one, other, there, back)]
        before, after = (seen[0], seen[1]) if frame < first else (seen[1], seen[0])
        if frame < first or frame >= span(back)[0]:
            assert (seen[2], seen[3]) == (before, after), "each frame is a frame of a possible take"
        assert len(seen[0]) >= 1


def test_what_is_asked_for_must_exist() -> None:
    for call in (
        lambda: take("no such family", 0),
        lambda: take("drop", -1),
        lambda: twin("no such law", 0, 0.5),
        lambda: twin("teleport", 0, 0.0),
        lambda: twin("teleport", 0, 1.5),
        lambda: twin("teleport", 0, 0.5, family="cross"),
        lambda: quadruplet("teleport", 0, 0.5),
    ):
        with pytest.raises(InputError):
            call()


def test_families_take_turns_where_none_is_named() -> None:
    assert {twin("teleport", seed, 0.5)[0].truth.family for seed in range(10)} == set(LAWS["teleport"])
