"""Possible takes keep their laws, and breaches are as large as the table of severity says: measured on the tracks."""

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from vgen.playground.scene import FLOOR_Y
from vgen.playground.twins.families import FAMILIES, LAWS
from vgen.playground.twins.film import Actor, Take
from vgen.playground.twins.paint import PAINTS, lab_of, rgb_of
from vgen.playground.twins.suite import take, twin

Floats = npt.NDArray[np.float64]
SEEDS = (0, 1, 7)
FLIGHTS = ("lob", "pair_throw", "toss_and_drop", "drop", "throw", "tumble_throw", "tumble_drop", "fly_behind")
SOLID = ("strike", "shove", "relay", "row", "clash", "glance", "stack", "bystander", "still", "behind", "two_behind")


def cases(law: str) -> list[tuple[str, int]]:
    return [(family, seed) for family in LAWS[law] for seed in SEEDS]


def diameter(body: Actor) -> float:
    return float(2 * body.radius_F[0])


def steps(body: Actor) -> Floats:
    return np.diff(body.xy_F2, axis=0)


def span(one: Take) -> tuple[int, int]:
    """First and last frame of the breach."""
    assert one.truth.frames is not None
    return one.truth.frames


def pair(law: str, family: str, seed: int, severity: float = 0.5) -> tuple[Actor, Actor, int, Take]:
    """The culprit in both twins, and the first frame that shows the breach."""
    possible, impossible = twin(law, seed, severity, family)
    index = impossible.truth.actors[-1] if impossible.truth.actors else 0
    was = possible.film.actors[min(index, len(possible.film.actors) - 1)]
    return was, impossible.film.actors[index], span(impossible)[0], impossible


def pulls(body: Actor, first: int, last: int) -> Floats:
    """Acceleration per frame^2 downwards, by second differences."""
    return -np.diff(body.xy_F2[first:last, 1], 2)


# Possible takes


@pytest.mark.parametrize("family", FLIGHTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_free_bodies_of_a_take_share_one_constant_gravity(family: str, seed: int) -> None:
    one = take(family, seed)
    bounces = [h.frame for h in one.truth.happenings if h.kind == "bounce"]
    free = int(min(bounces, default=one.film.frames))
    found = np.concatenate([pulls(body, 0, free) for body in one.film.actors])
    assert found.min() > 0
    assert np.ptp(found) < 1e-8
    for body in one.film.actors:
        assert np.ptp(np.diff(body.xy_F2[:free, 0])) < 1e-8


@pytest.mark.parametrize("family", SOLID)
@pytest.mark.parametrize("seed", SEEDS)
def test_bodies_of_a_take_never_overlap(family: str, seed: int) -> None:
    actors = take(family, seed).film.actors
    for i, one in enumerate(actors):
        for other in actors[:i]:
            apart_F2 = np.abs(one.xy_F2 - other.xy_F2)
            reach = one.radius_F[0] + other.radius_F[0]
            boxes = "box" in (one.form, other.form)
            gap_F = apart_F2.max(axis=1) - reach if boxes else np.hypot(*apart_F2.T) - reach
            assert gap_F.min() > -1e-6


@pytest.mark.parametrize("family", [name for name in FAMILIES if not name.endswith("vessel")])
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_of_a_take_sinks_into_the_floor(family: str, seed: int) -> None:
    for body in take(family, seed).film.actors:
        if body.form in ("ball", "box") and not np.ptp(body.angle_F) > 0.1:
            assert (body.xy_F2[:, 1] - body.radius_F).min() > FLOOR_Y - 1e-6


@pytest.mark.parametrize("family", ["drop", "throw"])
def test_bounces_of_a_take_lose_height(family: str) -> None:
    for seed in SEEDS:
        one = take(family, seed)
        y_F = one.film.actors[0].xy_F2[:, 1]
        bounces = [h.frame for h in one.truth.happenings]
        tops = [y_F[math.ceil(a) : math.floor(b)].max() for a, b in pairwise(bounces)]
        assert [y_F[: int(bounces[0])].max(), *tops] == sorted([y_F.max(), *tops], reverse=True)


@pytest.mark.parametrize("family", ["strike", "clash", "glance"])
@pytest.mark.parametrize("seed", SEEDS)
def test_momentum_passes_on_and_energy_does_not_rise(family: str, seed: int) -> None:
    one = take(family, seed)
    hit = next(h.frame for h in one.truth.happenings if h.kind == "contact")
    before, after = math.floor(hit) - 1, math.ceil(hit)
    masses = [body.radius_F[0] ** 2 for body in one.film.actors]
    velocities = [(steps(body)[before - 1], steps(body)[after]) for body in one.film.actors]
    fall = 0.0 if family == "strike" else pulls(one.film.actors[0], 0, before)[0]
    lost = sum(m * (v1 - v0) for m, (v0, v1) in zip(masses, velocities, strict=True))
    lost[1] += sum(masses) * fall * (after - before + 1)
    assert np.abs(lost).max() < 1e-9
    relative = [np.linalg.norm(velocities[1][i] - velocities[0][i]) for i in (0, 1)]
    assert relative[1] < relative[0]


@pytest.mark.parametrize("family", ["pendulum", "damped_pendulum"])
def test_swings_of_a_take_grow_no_wider(family: str) -> None:
    angle_F = np.abs(take(family, 0).film.actors[0].angle_F)
    tops = angle_F[1:-1][(angle_F[1:-1] >= angle_F[:-2]) & (angle_F[1:-1] >= angle_F[2:])]
    assert len(tops) >= 3
    assert (np.diff(tops) < 0.02).all()


@pytest.mark.parametrize("family", ["mirror_slide", "mirror_hop"])
def test_a_reflection_lies_as_far_behind_the_pane_as_the_body_before_it(family: str) -> None:
    body, image = take(family, 0).film.actors
    assert np.ptp(body.xy_F2[:, 0] + image.xy_F2[:, 0]) < 1e-8
    assert np.array_equal(body.xy_F2[:, 1], image.xy_F2[:, 1])


@pytest.mark.parametrize("family", ["tilted_vessel", "drawn_vessel"])
def test_a_liquid_at_rest_lies_level(family: str) -> None:
    liquid = next(fixture for fixture in take(family, 0).film.fixtures if fixture.kind == "liquid")
    assert np.abs(liquid.corners_P2[:, 0, 1] - liquid.corners_P2[:, 3, 1]).max() < 1e-8


# Sizes of breaches at severity .5


@pytest.mark.parametrize(("family", "seed"), cases("teleport"))
@pytest.mark.parametrize("severity", [0.25, 0.5])
def test_a_jump_of_one_diameter(family: str, seed: int, severity: float) -> None:
    was, now, first, _ = pair("teleport", family, seed, severity)
    apart_F = np.abs(now.xy_F2 - was.xy_F2)
    assert apart_F[first:, 0] == pytest.approx(2 * severity * diameter(was))
    assert not apart_F[:, 1].any()


@pytest.mark.parametrize(("family", "seed"), cases("effect_before_cause"))
def test_an_effect_four_frames_early(family: str, seed: int) -> None:
    was, now, first, one = pair("effect_before_cause", family, seed)
    onset = next(h.frame for h in one.truth.happenings if h.kind == "onset" and h.actors == (one.truth.actors[0],))
    hit = max(h.frame for h in one.truth.happenings if h.kind == "contact")
    assert hit - onset == pytest.approx(4)
    assert first == math.floor(onset) + 1
    moving = math.ceil(hit)
    assert now.xy_F2[moving : len(now.xy_F2) - 4, 0] == pytest.approx(was.xy_F2[moving + 4 :, 0])


@pytest.mark.parametrize(("family", "seed"), cases("missing_effect"))
def test_no_effect_at_all(family: str, seed: int) -> None:
    was, now, _, _ = pair("missing_effect", family, seed)
    assert np.abs(steps(now)).max() == 0
    half = pair("missing_effect", family, seed, 0.25)[1]
    hit = np.flatnonzero(steps(was)[:, 0])[0] + 1
    assert steps(half)[hit, 0] == pytest.approx(steps(was)[hit, 0] / 2, rel=0.12)  # friction brakes both alike


def velocities(law: str, family: str, seed: int) -> tuple[Floats, Floats, Take]:
    """Of the culprit, right after the breach, in both twins; in flight."""
    was, now, first, one = pair(law, family, seed)
    contacts = [h.frame for h in one.truth.happenings if h.kind == "contact"]
    moment = contacts[0] if contacts else first - 1
    fall = pulls(was, 0, first - 1)[0] * (first + 0.5 - moment)
    return steps(was)[first] + (0, fall), steps(now)[first] + (0, fall), one


@pytest.mark.parametrize("law", ["midair_turn", "momentum"])
def test_a_change_of_half_the_velocity_at_equal_speed(law: str) -> None:
    for family, seed in cases(law):
        left, leaves, _ = velocities(law, family, seed)
        assert np.linalg.norm(leaves - left) == pytest.approx(np.linalg.norm(left) / 2, rel=1e-5)
        assert np.linalg.norm(leaves) == pytest.approx(np.linalg.norm(left), rel=1e-5)


@pytest.mark.parametrize("law", ["common_gravity", "drop_ratio", "const_accel"])
def test_half_of_gravity_more(law: str) -> None:
    for family, seed in cases(law):
        was, now, first, _ = pair(law, family, seed)
        assert pulls(now, first, first + 4) == pytest.approx(1.5 * pulls(was, first, first + 4), rel=1e-5)


@pytest.mark.parametrize(("family", "seed"), cases("restitution"))
def test_a_rebound_half_as_fast_again_as_the_impact(family: str, seed: int) -> None:
    was, now, first, one = pair("restitution", family, seed)
    floor_y = FLOOR_Y + was.radius_F[0]
    fell = was.xy_F2[math.ceil(one.truth.happenings[0].frame) : first, 1].max() - floor_y
    rose = now.xy_F2[first:, 1].max() - floor_y
    assert rose / fell == pytest.approx(1.5**2, rel=0.03)  # the tops lie between frames
    assert pulls(now, first, first + 5)[0] == pytest.approx(pulls(was, 0, 6)[0], rel=1e-6)


@pytest.mark.parametrize(("family", "seed"), cases("friction"))
def test_half_as_fast_again_by_itself(family: str, seed: int) -> None:
    _, now, first, _ = pair("friction", family, seed)
    speeds = np.abs(steps(now)[:, 0])
    assert speeds[first - 1 : first + 9].max() / speeds[first - 2] == pytest.approx(1.5, rel=0.05)
    assert (np.diff(speeds[first - 1 : first + 8]) > 0).all()


@pytest.mark.parametrize(("family", "seed"), cases("speed_jerk"))
def test_half_as_fast_at_once(family: str, seed: int) -> None:
    was, now, first, _ = pair("speed_jerk", family, seed)
    assert steps(now)[first, 0] == pytest.approx(steps(was)[first, 0] / 2)


@pytest.mark.parametrize(("family", "seed"), cases("spin"))
def test_half_the_rate_of_turning(family: str, seed: int) -> None:
    was, now, first, _ = pair("spin", family, seed)
    ratio = np.diff(now.angle_F)[first] / np.diff(was.angle_F)[first]
    assert abs(ratio - 1) == pytest.approx(0.5)


@pytest.mark.parametrize("law", ["colour", "consequence_persists", "identity"])
def test_twenty_delta_e(law: str) -> None:
    for family, seed in cases(law):
        was, now, first, _ = pair(law, family, seed)
        assert np.linalg.norm(lab_of(now.rgb_F3[first]) - lab_of(was.rgb_F3[first])) == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize(("family", "seed"), cases("size"))
def test_half_as_wide_again(family: str, seed: int) -> None:
    was, now, _, one = pair("size", family, seed)
    assert now.radius_F[span(one)[1]] == pytest.approx(1.5 * was.radius_F[0])


@pytest.mark.parametrize("law", ["rigid", "rigid_deform"])
def test_half_as_long_again_as_high_with_the_same_area(law: str) -> None:
    for family, seed in cases(law):
        _, now, first, _ = pair(law, family, seed)
        assert now.stretch_F2[first].max() / now.stretch_F2[first].min() == pytest.approx(1.5)
        assert now.stretch_F2[first].prod() == pytest.approx(1)


@pytest.mark.parametrize(("family", "seed"), cases("solidity"))
def test_half_a_diameter_into_each_other(family: str, seed: int) -> None:
    _, impossible = twin("solidity", seed, 0.5, family)
    one, other = (impossible.film.actors[index] for index in impossible.truth.actors)
    if one.form == "box":
        gap_F = np.abs(one.xy_F2[:, 0] - other.xy_F2[:, 0]) - one.radius_F - other.radius_F
        deepest, fastest = -gap_F.min(), np.abs(np.diff(gap_F)).max()
        smaller = min(diameter(one), diameter(other))
        assert smaller / 2 - fastest <= deepest <= smaller / 2 + 1e-9
    else:
        apart_F = np.hypot(*(one.xy_F2 - other.xy_F2).T)
        assert apart_F.min() < one.radius_F[0] + other.radius_F[0] - 0.3 * min(diameter(one), diameter(other))


@pytest.mark.parametrize("law", ["vanish", "spawn"])
def test_thirty_percent_of_the_film(law: str) -> None:
    for family, seed in cases(law):
        possible, impossible = twin(law, seed, 0.5, family)
        frames = impossible.film.frames
        assert frames - span(impossible)[0] == round(0.3 * frames)
        shown = [sum(float(body.shown_F[-1]) for body in t.film.actors) for t in (possible, impossible)]
        assert shown[1] - shown[0] == {"vanish": -1, "spawn": 1}[law]


@pytest.mark.parametrize("law", ["reappear", "path_behind_occluder"])
def test_one_diameter_off_its_way(law: str) -> None:
    for family, seed in cases(law):
        was, now, first, _ = pair(law, family, seed)
        way = steps(was)[first - 1] / np.linalg.norm(steps(was)[first - 1])
        off = now.xy_F2[first] - was.xy_F2[first]
        along, across = abs(off @ way), abs(off @ np.array((-way[1], way[0])))
        size = along if law == "reappear" else across
        assert size == pytest.approx(diameter(was), rel=0.25)  # the speed changes on the way, and the way bends


@pytest.mark.parametrize("law", ["shadow_follows", "mirror"])
def test_four_frames_late(law: str) -> None:
    for family, seed in cases(law):
        was, now, first, _ = pair(law, family, seed)
        if was.shadow_xy_F2 is not None and now.shadow_xy_F2 is not None:
            right_F2, late_F2 = was.shadow_xy_F2, now.shadow_xy_F2
        else:
            right_F2, late_F2 = was.xy_F2, now.xy_F2
        assert late_F2[first + 10 :, 0] == pytest.approx(right_F2[first + 6 : -4, 0])


@pytest.mark.parametrize(("family", "seed"), cases("support"))
def test_eight_frames_without_a_fall(family: str, seed: int) -> None:
    was, now, first, one = pair("support", family, seed)
    body = one.film.actors[0]
    assert (span(one)[0], span(one)[1]) == (first, first + 8)
    assert np.abs(np.diff(body.xy_F2[first - 1 : first + 7, 1], 2)).max() < 1e-8
    assert was.form == now.form


@pytest.mark.parametrize(("family", "seed"), cases("irreversibility"))
def test_half_of_the_pieces_join(family: str, seed: int) -> None:
    _, impossible = twin("irreversibility", seed, 0.5, family)
    assert len(impossible.truth.actors) == 2


@pytest.mark.parametrize(("family", "seed"), cases("pendulum"))
def test_half_as_wide_or_half_as_quick_again(family: str, seed: int) -> None:
    was, now, first, _ = pair("pendulum", family, seed)
    wider = np.abs(now.angle_F[first:]).max() / np.abs(was.angle_F[first:]).max()
    turns = [np.abs(np.diff(np.sign(body.angle_F[first:]))).sum() for body in (was, now)]
    assert wider == pytest.approx(1.5, rel=0.05) or turns[1] > turns[0]


@pytest.mark.parametrize(("family", "seed"), cases("liquid_level"))
def test_fifteen_degrees_aslant(family: str, seed: int) -> None:
    _, impossible = twin("liquid_level", seed, 0.5, family)
    left, right = next(f for f in impossible.film.fixtures if f.kind == "liquid").corners_P2[-1, (0, 3)]
    assert abs(math.degrees(math.atan((right[1] - left[1]) / (right[0] - left[0])))) == pytest.approx(15)


@pytest.mark.parametrize(("family", "seed"), cases("motion_without_cause"))
def test_an_eighth_of_a_diameter_per_frame(family: str, seed: int) -> None:
    _, now, first, _ = pair("motion_without_cause", family, seed)
    speeds = np.abs(steps(now)[first - 1 : first + 2, 0])
    assert speeds[0] + (speeds[0] - speeds[1]) / 2 == pytest.approx(0.125 * diameter(now))


@pytest.mark.parametrize(("family", "seed"), cases("energy"))
def test_kinetic_energy_grows_by_half(family: str, seed: int) -> None:
    if family in FLIGHTS:
        left, leaves, _ = velocities("energy", family, seed)
        assert leaves == pytest.approx(math.sqrt(1.5) * left, rel=1e-4)
    else:
        was, now, first, _ = pair("energy", family, seed)
        gained = np.linalg.norm(steps(now)[first]) / np.linalg.norm(steps(was)[first])
        assert gained == pytest.approx(math.sqrt(1.5), rel=0.06)  # the incline brakes both alike


@pytest.mark.parametrize(("family", "seed"), cases("occlusion_order"))
def test_depths_change_at_half_a_diameter_of_overlap(family: str, seed: int) -> None:
    _, impossible = twin("occlusion_order", seed, 0.5, family)
    first, actors = span(impossible)[0], impossible.film.actors
    apart = abs(actors[0].xy_F2[first, 0] - actors[1].xy_F2[first, 0])
    reach = actors[0].radius_F[0] + actors[1].radius_F[0]
    smaller = min(diameter(actors[0]), diameter(actors[1]))
    closing = sum(abs(steps(body)[first, 0]) for body in actors[:2])
    assert reach - smaller / 2 - closing <= apart <= reach - smaller / 2


@pytest.mark.parametrize(("family", "seed"), cases("count"))
def test_one_too_many_as_large_as_the_others(family: str, seed: int) -> None:
    possible, impossible = twin("count", seed, 0.5, family)
    shown = [sum(body.shown_F[-1] > 0 for body in t.film.actors) for t in (possible, impossible)]
    assert shown[1] == shown[0] + 1
    assert impossible.film.actors[-1].radius_F[0] == pytest.approx(possible.film.actors[0].radius_F[0])


@pytest.mark.parametrize(("family", "seed"), cases("event_order"))
def test_the_last_of_a_row_leaves_four_frames_before_its_pusher(family: str, seed: int) -> None:
    _, impossible = twin("event_order", seed, 0.5, family)
    onsets = sorted((h.actors[0], h.frame) for h in impossible.truth.happenings if h.kind == "onset")
    assert onsets[-2][1] - onsets[-1][1] == pytest.approx(4)


# Paint


@pytest.mark.parametrize("rgb", PAINTS)
def test_paint_goes_to_lab_and_back(rgb: tuple[float, float, float]) -> None:
    assert rgb_of(lab_of(rgb)) == pytest.approx(rgb, abs=1e-6)


def test_lab_is_that_of_the_standard() -> None:
    # sRGB red and white, D65 (IEC 61966-2-1; values as in CIE 15).
    assert lab_of((1.0, 0.0, 0.0)) == pytest.approx((53.24, 80.09, 67.20), abs=0.03)
    assert lab_of((1.0, 1.0, 1.0)) == pytest.approx((100.0, 0.0, 0.0), abs=0.01)
