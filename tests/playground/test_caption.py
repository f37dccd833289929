"""Every caption reads back as the claim of its scene, from a closed vocabulary."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgen.errors import InputError
from vgen.playground.caption import VOCABULARY, Claim, caption, claim_of, num_variants, parse, unknown_words
from vgen.playground.scene import EVENTS, sample_scene


@settings(max_examples=400, derandomize=True, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), variant=st.integers(0, 10**6))
def test_parse_is_the_inverse_of_caption(seed: int, variant: int) -> None:
    scene = sample_scene(seed)
    text = caption(scene, variant)
    assert text == text.lower()
    assert parse(text) == claim_of(scene)
    assert unknown_words(text) == ()


def test_every_word_of_the_vocabulary_is_said_and_no_other() -> None:
    said: set[str] = set()
    for seed in range(120):
        scene = sample_scene(seed)
        said |= {word for variant in range(num_variants(scene)) for word in caption(scene, variant).split()}
    assert tuple(sorted(said)) == VOCABULARY
    assert len(VOCABULARY) < 150


def test_variants_repeat_after_their_number() -> None:
    for seed in range(20):
        scene = sample_scene(seed)
        total = num_variants(scene)
        texts = [caption(scene, variant) for variant in range(total)]
        assert caption(scene, total + 3) == texts[3]
        assert len(set(texts)) >= 8


def test_every_event_is_read_in_free_wording() -> None:
    assert parse("Look: a BIG red ball, rolling left!") == Claim(
        colours=("red",), shapes=("ball",), event="roll", direction="left"
    )
    assert parse("a fancy dragon") == Claim()
    assert parse("a blue box from the left to the right").direction == "right"
    assert {parse(caption(scene, 1)).event for scene in map(sample_scene, range(100))} == set(EVENTS)


def test_unknown_words_are_named_once_each() -> None:
    assert unknown_words("a red dragon meets a dragon") == ("dragon", "meets")


def test_a_negative_variant_is_refused() -> None:
    with pytest.raises(InputError, match="variant -1"):
        caption(sample_scene(0), -1)


def test_captions_need_no_heavy_import() -> None:
    code = "import sys, vgen.playground.caption; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "cv2", "pymunk", "scipy"}.isdisjoint(done.stdout.split())
