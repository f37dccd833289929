"""The worlds by name hold together: what one part says of a world the others know."""

import json

import pytest

from vgen.errors import InputError
from vgen.playground import scene as first
from vgen.playground.bars import detector_bars
from vgen.playground.detect_rich import RichDetection, rich_digest
from vgen.playground.detectors import DETECTORS
from vgen.playground.scene import SPLITS
from vgen.playground.score import Case, Rate, held_out_prompts, held_out_turns, score
from vgen.playground.see import Thing
from vgen.playground.worlds import WORLDS, world_named


def test_each_world_has_a_detector_and_its_own_words() -> None:
    assert {*WORLDS} == {*DETECTORS} == {"first", "rich"}
    assert all(world.name == name for name, world in WORLDS.items())


@pytest.mark.parametrize("name", WORLDS)
def test_scenes_splits_and_texts_of_a_world_agree(name: str) -> None:
    world = world_named(name)
    for split in SPLITS:
        for scene in world.scenes(split, 5):
            assert world.split_of(scene) == split and scene.fps == world.fps
            text = world.caption(scene, scene.seed)
            assert world.parse(text) == world.claim_of(scene)
            assert {*text.replace(",", "").split()} <= {*world.vocabulary}
            assert world.num_variants(scene) >= 8


def test_the_first_world_is_the_one_there_was() -> None:
    world = WORLDS["first"]
    assert (world.fps, world.native_frames, world.frames) == (12, 33, 65)
    assert list(world.scenes("held_out_seed", 5)) == list(first.scenes("held_out_seed", 5))
    assert held_out_turns(6) == held_out_turns(6, "first") != held_out_turns(6, "rich")
    assert "then" not in DETECTORS["first"].aspects and "materials" not in detector_bars(2)


def test_an_unknown_world_is_refused() -> None:
    with pytest.raises(InputError, match="unknown world 'reich'; did you mean 'rich'"):
        world_named("reich")
    with pytest.raises(InputError, match="unknown world"):
        held_out_prompts(2, "held_out_seed", "second")


def test_a_perfect_sight_of_rich_clips_scores_one_and_a_swapped_order_shows() -> None:
    world = WORLDS["rich"]
    cases, swapped = [], []
    for split, scene, prompt in held_out_turns(40, "rich"):
        things = tuple(Thing(b.colour, b.shape, None, None) for b in scene.bodies)  # type: ignore[arg-type]
        events = [event for event in (scene.event, scene.then) if event]
        seen = tuple((event, float(frame)) for frame, event in enumerate(events))
        sight = RichDetection(objects=things, seen=seen, direction=scene.direction)
        turned = RichDetection(objects=things, seen=seen[::-1], direction=scene.direction)
        assert world.parse(prompt) == world.claim_of(scene)
        cases.append(Case(split=split, claim=world.claim_of(scene), detection=sight))
        swapped.append(Case(split=split, claim=world.claim_of(scene), detection=turned))
    report = score(cases, "rich")
    assert report.detector == rich_digest() and json.loads(json.dumps(report.as_dict())) == report.as_dict()
    rates = report.scores["all"].rates
    assert {*rates} == {*DETECTORS["rich"].aspects} and all(rate.right == rate.total for rate in rates.values())
    chains = sum(case.claim.then is not None for case in cases)
    assert rates["then"] == rates["order"] == Rate(chains, chains) and 5 < chains < 40
    chance = report.scores["all"].chance
    assert chance["overall"] is not None and chance["overall"] < 0.02
    wrong = score(swapped, "rich").scores["all"].rates
    assert wrong["order"] == Rate(0, chains) and wrong["then"] == Rate(chains, chains)
    assert wrong["motion"].right == wrong["overall"].right == 40 - chains
