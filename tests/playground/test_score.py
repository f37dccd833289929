"""Rates against closed forms and against cases whose answer is known."""

import json

import numpy as np
import pytest

from vgen.errors import InputError
from vgen.playground.caption import Claim, claim_of, parse
from vgen.playground.detect import Detection, digest
from vgen.playground.scene import Scene, Split, sample_scene, split_of
from vgen.playground.score import ASPECTS, Case, Rate, held_out_prompts, score, wilson
from vgen.playground.see import Thing


def perfect_sight(scene: Scene) -> Detection:
    """What a faultless detector would report."""
    nothing = np.zeros((4, 3), np.float32)
    things = tuple(Thing(body.colour, body.shape, nothing, nothing[:, 0]) for body in scene.bodies)
    return Detection(objects=things, event=scene.event, direction=scene.direction)


def test_wilson_against_published_and_exact_values() -> None:
    assert wilson(81, 263) == pytest.approx(
        (0.2553, 0.3662), abs=1e-4
    )  # Newcombe 1998, Stat. Med. 17, 857-872, table I
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("total", [1, 7, 60, 500])
def test_wilson_bounds_solve_the_score_equation(total: int) -> None:
    for right in range(0, total + 1, max(1, total // 7)):
        low, high = wilson(right, total)
        assert 0 <= low <= right / total <= high <= 1
        for bound in (low, high):
            if 0 < bound < 1:
                z = (right / total - bound) / np.sqrt(bound * (1 - bound) / total)
                assert abs(z) == pytest.approx(1.959964, abs=1e-5)


def test_perfect_clips_score_one_and_chance_is_low() -> None:
    scenes = [sample_scene(seed) for seed in range(80)]
    cases = [Case(split=split_of(s), claim=claim_of(s), detection=perfect_sight(s)) for s in scenes]
    report = score(cases)
    assert set(report.scores) == {"all", "train", "held_out_combination"}
    for group in report.scores.values():
        assert all(rate.right == rate.total for rate in group.rates.values())
    everything = report.scores["all"]
    assert everything.rates["overall"] == Rate(80, 80)
    assert everything.rates["direction"].total == sum(scene.direction is not None for scene in scenes)
    assert everything.chance["event"] == pytest.approx(1 / 8, abs=0.06)
    assert everything.chance["overall"] is not None and everything.chance["overall"] < 0.02


def test_each_aspect_counts_what_it_names() -> None:
    scene = next(s for s in map(sample_scene, range(50)) if s.event == "roll" and s.direction == "left")
    seen = perfect_sight(scene)

    def rates(claim: Claim, split: Split = "train") -> dict[str, Rate]:
        return score([Case(split=split, claim=claim, detection=seen)]).scores[split].rates

    wrong_way = rates(Claim(colours=(scene.bodies[0].colour,), event="roll", direction="right"))
    assert {aspect: (rate.right, rate.total) for aspect, rate in wrong_way.items()} == {
        "colours": (1, 1),
        "shapes": (0, 0),
        "event": (1, 1),
        "direction": (0, 1),
        "motion": (0, 1),
        "overall": (0, 1),
    }
    assert rates(Claim(event="slide"))["motion"] == Rate(0, 1)
    assert rates(Claim(direction="left"))["motion"] == Rate(1, 1)


def test_chance_is_every_clip_against_every_other_prompt() -> None:
    scenes = [sample_scene(seed) for seed in range(3)]
    claims = [Claim(event="roll"), Claim(event="roll"), Claim(event="fall")]
    seen = [Detection(objects=(), event=event, direction=None) for event in ("roll", "fall", "fall")]
    cases = [Case(split=split_of(s), claim=c, detection=d) for s, c, d in zip(scenes, claims, seen, strict=True)]
    # Clip 0 (roll) against roll, fall: 1; clip 1 (fall) against roll, fall: 1; clip 2 (fall) against roll, roll: 0.
    assert score(cases).scores["all"].chance["event"] == pytest.approx(2 / 6)


def test_a_report_is_plain_data() -> None:
    scene = sample_scene(0)
    report = score([Case(split="train", claim=claim_of(scene), detection=perfect_sight(scene))]).as_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["detector_sha256"] == digest()
    with pytest.raises(InputError, match="nothing to score"):
        score([])


def test_held_out_prompts_are_held_out_and_repeat() -> None:
    for split in ("held_out_seed", "held_out_combination"):
        prompts = held_out_prompts(30, split)
        assert prompts == held_out_prompts(30, split)
        assert all(split_of(scene) == split and parse(prompt) == claim_of(scene) for scene, prompt in prompts)
    with pytest.raises(InputError, match="not held out"):
        held_out_prompts(1, "train")
    assert set(ASPECTS) >= {"colours", "event", "direction", "overall"}
