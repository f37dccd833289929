"""Every rich caption reads back as the claim of its scene, from a closed vocabulary; first captions mean the same."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgen.errors import InputError
from vgen.playground.caption import VOCABULARY, Claim, caption, claim_of
from vgen.playground.caption_rich import (
    CHAIN_PHRASINGS,
    RICH_VOCABULARY,
    num_rich_variants,
    parse_rich,
    rich_caption,
    rich_claim_of,
)
from vgen.playground.scene import sample_scene
from vgen.playground.scene_rich import CHAINS
from vgen.playground.worlds import WORLDS

RICH = WORLDS["rich"]
TEXT_LENGTH = 56  # of configs/training/rich.yaml


def words_of(text: str) -> list[str]:
    return text.replace(",", "").split()


@settings(max_examples=300, derandomize=True, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), variant=st.integers(0, 10**6))
def test_parse_is_the_inverse_of_caption(seed: int, variant: int) -> None:
    scene = RICH.sample(seed)
    text = rich_caption(scene, variant)
    assert text == text.lower()
    assert parse_rich(text) == rich_claim_of(scene)
    assert {*words_of(text)} <= {*RICH_VOCABULARY}
    assert len(words_of(text)) < TEXT_LENGTH


@settings(max_examples=200, derandomize=True, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), variant=st.integers(0, 10**6))
def test_captions_of_the_first_world_mean_the_same(seed: int, variant: int) -> None:
    scene = sample_scene(seed)
    read, true = parse_rich(caption(scene, variant)), claim_of(scene)
    assert (read.colours, read.shapes, read.event, read.direction) == (
        true.colours,
        true.shapes,
        true.event,
        true.direction,
    )
    assert read.then is None and not true.sizes and not true.materials


def test_every_word_of_the_vocabulary_is_said() -> None:
    said: set[str] = set()
    for seed in range(200):
        scene = RICH.sample(seed)
        step = max(1, num_rich_variants(scene) // 97)
        said |= {word for v in range(0, num_rich_variants(scene), step) for word in words_of(rich_caption(scene, v))}
    assert tuple(sorted(said)) == RICH_VOCABULARY
    assert {*VOCABULARY} < {*RICH_VOCABULARY} and len(RICH_VOCABULARY) < 150


def test_a_chain_has_at_least_three_phrasings_and_all_say_then() -> None:
    assert {*CHAIN_PHRASINGS} == {*CHAINS}
    for phrasings in CHAIN_PHRASINGS.values():
        assert len(phrasings) >= 3 and len(set(phrasings)) == len(phrasings)
        assert all("then" in phrasing.replace(",", "").split() for phrasing in phrasings)


def test_variants_repeat_after_their_number() -> None:
    for seed in range(20):
        scene = RICH.sample(seed)
        total = num_rich_variants(scene)
        assert rich_caption(scene, total + 3) == rich_caption(scene, 3)
        assert len({rich_caption(scene, variant) for variant in range(min(total, 60))}) >= 8


def test_free_wording_is_read() -> None:
    text = "A BIG red metal ball rolls down the ramp, then hits a blue box with a small green ball on the left"
    assert parse_rich(text) == Claim(
        colours=("red", "blue", "green"),
        shapes=("ball", "box", "ball"),
        event="ramp",
        then="hit",
        sizes=("large", "medium", "small"),
        materials=("metal", "plain", "plain"),
    ), "the side of a bystander is no direction"
    assert parse_rich("a fancy dragon") == Claim()
    hidden = parse_rich("a red ball falls onto a ramp and then rolls down the ramp to the left")
    assert (hidden.event, hidden.then, hidden.direction) == ("fall", "ramp", "left")


def test_bystanders_are_said_where_they_are() -> None:
    for seed in range(200):
        scene = RICH.sample(seed)
        text = rich_caption(scene, seed)
        assert ("shelf" in text) == (scene.shelf is not None)
        assert bool({"with", "while"} & {*words_of(text)}) == bool(scene.bystanders)
        for body, start in zip(
            scene.bodies[-len(scene.bystanders) :], scene.starts[-len(scene.bystanders) :], strict=True
        ):
            if scene.bystanders and scene.shelf is None:
                side = "left" if start.x < 0.3 else "right" if start.x > 0.7 else None
                after = text[text.index(body.colour) :].split(" and ")[0]
                assert side is None or side in words_of(after), (seed, text)


def test_a_negative_variant_is_refused() -> None:
    with pytest.raises(InputError, match="variant -1"):
        rich_caption(RICH.sample(0), -1)


def test_captions_need_no_heavy_import() -> None:
    code = "import sys, vgen.playground.worlds; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "cv2", "pymunk", "scipy"}.isdisjoint(done.stdout.split())
