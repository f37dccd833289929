"""Seeds make the same scenes everywhere; splits keep apart what must not meet."""

from collections import Counter

import pytest

from tests.playground.golden import GOLDEN, scene_digest
from vgen.errors import InputError
from vgen.playground.scene import (
    COLOURS,
    EVENTS,
    HELD_OUT_COMBINATIONS,
    HELD_OUT_FROM_SEED,
    SPLITS,
    sample_scene,
    scenes,
    split_of,
)


def test_sixteen_scenes_are_the_committed_ones() -> None:
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    assert [int(seed) for seed, _ in lines] == list(range(16))
    assert [scene_digest(int(seed)) for seed, _ in lines] == [digest for _, digest in lines]


def test_every_event_colour_and_combination_occurs_about_equally() -> None:
    drawn = Counter((scene.bodies[0].colour, scene.event) for scene in map(sample_scene, range(4800)))
    assert len(drawn) == len(COLOURS) * len(EVENTS)
    assert min(drawn.values()) >= 60 and max(drawn.values()) <= 150  # 100 expected, standard deviation 10


def test_two_bodies_have_different_colours() -> None:
    casts = [scene.bodies for scene in map(sample_scene, range(500)) if scene.event == "hit"]
    assert casts and all(len(cast) == 2 and cast[0].colour != cast[1].colour for cast in casts)


def test_held_out_combinations_are_a_tenth_and_leave_every_colour_and_event_to_training() -> None:
    assert len(HELD_OUT_COMBINATIONS) / (len(COLOURS) * len(EVENTS)) == pytest.approx(0.1, abs=0.02)
    trained = {(colour, event) for colour in COLOURS for event in EVENTS} - HELD_OUT_COMBINATIONS
    assert {colour for colour, _ in trained} == set(COLOURS) and {event for _, event in trained} == set(EVENTS)


def test_splits_share_no_seed_and_training_no_held_out_combination() -> None:
    seeds = {}
    for split in SPLITS:
        members = list(scenes(split, 60))
        assert [split_of(scene) for scene in members] == [split] * 60
        assert all((scene.seed >= HELD_OUT_FROM_SEED) == (split != "train") for scene in members)
        combinations = {(scene.bodies[0].colour, scene.event) for scene in members}
        assert combinations.isdisjoint(HELD_OUT_COMBINATIONS) == (split != "held_out_combination")
        seeds[split] = {scene.seed for scene in members}
    assert len(set.union(*seeds.values())) == 180


def test_a_split_goes_on_after_the_last_seed() -> None:
    whole = list(scenes("held_out_seed", 12))
    rest = scenes("held_out_seed", 6, start=whole[5].seed + 1 - HELD_OUT_FROM_SEED)
    assert list(rest) == whole[6:]


def test_bad_seed_and_split_are_refused() -> None:
    with pytest.raises(InputError, match="seed -1 is out of range"):
        sample_scene(-1)
    with pytest.raises(InputError, match="did you mean 'train'"):
        next(scenes("trian", 1))  # type: ignore[arg-type]  # the mistake under test
