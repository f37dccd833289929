"""The rules of cause and of mechanics: each is silent where its law is kept, and louder the worse it breaks."""

from dataclasses import replace

import numpy as np
import pytest

from tests.judge.rules import world
from tests.judge.rules.cases import CASES
from vgen.judge.observation import Observation, Sight
from vgen.judge.rule import Abstention
from vgen.judge.rules import RULES

LAWS = sorted(CASES)
SEEDS = range(3)
# What a breach of one law is by the other's measure too, and how much of it: both are right there.
ALSO = {
    "event_order": {"effect_before_cause"},
    "effect_before_cause": {"event_order"},
}


def strength(law: str, obs: Observation) -> float:
    found = RULES[law].measure(obs)
    assert not isinstance(found, Abstention), f"{law}: {found.reason}"
    return max(measurement.strength for measurement in found)


def blank() -> Observation:
    """One thing in full view that moves evenly, nothing known of the ground."""
    return world.seen(world.body(world.uniform(6, (100, 100), (3, 0)), floor=None))


@pytest.mark.parametrize("law", LAWS)
def test_a_kept_law_is_kept_whatever_the_noise(law: str) -> None:
    for seed in range(6):
        obs = CASES[law](0.0, seed)
        assert strength(law, obs) < 0.05
        for other in LAWS:
            found = RULES[other].measure(obs)
            assert isinstance(found, Abstention) or max(m.strength for m in found) < 0.05, (other, seed)


@pytest.mark.parametrize("law", LAWS)
def test_the_strength_grows_with_the_severity(law: str) -> None:
    for seed in SEEDS:
        kept, slight, half, whole = (strength(law, CASES[law](s, seed)) for s in (0.0, 0.25, 0.5, 1.0))
        assert kept <= slight <= half <= whole
        assert half > kept + 0.1
        assert half > slight or law == "missing_effect"


@pytest.mark.parametrize("law", LAWS)
def test_no_other_rule_speaks_of_a_breach_that_is_not_its_own(law: str) -> None:
    obs = CASES[law](0.5, 1)
    for other in set(LAWS) - {law} - ALSO.get(law, set()):
        found = RULES[other].measure(obs)
        assert isinstance(found, Abstention) or max(m.strength for m in found) < 0.2, other


@pytest.mark.parametrize("law", LAWS)
def test_pixels_and_sides_do_not_matter(law: str) -> None:
    obs = CASES[law](0.5, 2)
    as_is = strength(law, obs)
    assert strength(law, world.resized(obs, 2.5)) == pytest.approx(as_is, rel=0.03, abs=0.01)
    assert strength(law, world.mirrored(obs)) == pytest.approx(as_is, rel=0.03, abs=0.01)


@pytest.mark.parametrize("law", ["momentum"])
@pytest.mark.parametrize("angle", [0.7, 2.0])
def test_directions_do_not_matter_where_the_law_knows_no_down(law: str, angle: float) -> None:
    obs = CASES[law](0.5, 2)
    assert strength(law, world.turned(obs, angle)) == pytest.approx(strength(law, obs), rel=0.1)


@pytest.mark.parametrize("law", LAWS)
def test_where_nothing_can_be_checked_a_rule_abstains(law: str) -> None:
    always_checked = {"motion_without_cause"}
    if law not in always_checked:
        found = RULES[law].measure(blank())
        assert isinstance(found, Abstention)
        assert found.status == "not_applicable"


@pytest.mark.parametrize("law", LAWS)
def test_every_measurement_points_at_frames_and_things(law: str) -> None:
    obs = CASES[law](0.5, 0)
    found = RULES[law].measure(obs)
    assert not isinstance(found, Abstention)
    ids = {track.id for track in obs.tracks}
    for m in found:
        assert 0 <= m.frames[0] <= m.frames[1] < obs.num_frames
        assert m.objects and set(m.objects) <= ids
        assert m.strength >= 0 and np.isfinite([m.strength, m.value, m.expected, m.sigma]).all()
        assert m.text and m.quantity


@pytest.mark.parametrize("law", ["const_accel", "common_gravity", "drop_ratio"])
def test_too_much_noise_is_undecidable_and_never_a_breach(law: str) -> None:
    quiet = CASES[law](0.0, 0)
    rng = np.random.default_rng(0)
    loud = world.seen(
        *(
            world.body(track.xy_F2 + 6 * rng.standard_normal(track.xy_F2.shape), id=track.id, sigma=6.0, floor=900)
            for track in quiet.tracks
        )
    )
    found = RULES[law].measure(loud)
    assert isinstance(found, Abstention) or max(m.strength for m in found) < 0.1


def test_a_teleport_is_no_matter_of_forces() -> None:
    flight = world.throw(36, (100, 300), (6, -13), floor=2000).xy_F2
    flight[18:, 0] += world.DIAMETER
    obs = world.seen(world.body(flight, floor=900))
    for law in ("midair_turn", "energy", "const_accel", "support"):
        found = RULES[law].measure(obs)
        assert isinstance(found, Abstention) or max(m.strength for m in found) < 0.05, law


def test_what_happens_behind_an_occluder_is_nobodys_turn() -> None:
    flight = world.throw(40, (100, 300), (6, -13), floor=2000).xy_F2
    flight[20:] = flight[19] + np.arange(1, 21)[:, None] * (6, 3)
    sight_F = np.zeros(40, np.uint8)
    sight_F[15:24] = Sight.OCCLUDED
    obs = world.seen(world.body(flight, floor=900, sight_F=sight_F))
    for law in ("midair_turn", "energy"):
        found = RULES[law].measure(obs)
        assert isinstance(found, Abstention) or max(m.strength for m in found) < 0.05, law


def test_the_faster_film_of_the_same_fall_gives_the_same_figures() -> None:
    for law, scale in (("const_accel", 1.5), ("midair_turn", 1.5)):
        obs = CASES[law](0.5, 3)
        (track,) = obs.tracks
        keep = np.arange(0, 36, 2)
        half = world.seen(world.body(track.xy_F2[keep], sigma=1e-3, floor=900))
        assert strength(law, half) == pytest.approx(strength(law, obs), rel=0.15 * scale)


def test_what_may_touch_the_scenery_is_turned_by_it_but_not_driven_on() -> None:
    for name, frame, least, most in (("energy", 10, 0.2, 2.0), ("midair_turn", 14, 0.0, 0.0)):
        obs = CASES[name](0.5, 1)
        edge = replace(obs, events=(*obs.events, world.event("contact", frame, (0,))))
        found = RULES[name].measure(edge)
        strongest = 0.0 if isinstance(found, Abstention) else max(m.strength for m in found)
        assert least <= strongest <= most, name


def test_an_incline_that_ends_is_no_impact_and_hides_no_gain_of_energy() -> None:
    slope, t = 0.4, np.arange(24)[:, None]
    down = np.array([60.0, 200.0]) + (2 * t + 0.15 * t**2) * (np.cos(slope), np.sin(slope))
    speed = 2 + 0.3 * 23
    for gain in (1.0, 1.5):
        on = down[-1] + np.arange(1, 20)[:, None] * (speed * gain, 0)
        track = world.body(np.concatenate([down, on]), standing_F=np.zeros(43))
        obs = world.seen(track, events=[world.event("contact", 23, (0,))])
        assert isinstance(RULES["restitution"].measure(obs), Abstention)
        assert strength("energy", obs) == pytest.approx(gain**2 - 1, abs=0.1)
