"""Says a rich scene in words, and reads words back: materials, two events in a row, bystanders.

The grammar of `caption.py` goes on: its phrasings for single events, `CHAIN_PHRASINGS` for two, where the word "then"
always comes before the second one, and at the end, after "with" or "while", what rests in the scene. Captions of the
first world mean the same here.
"""

import re
from dataclasses import replace
from typing import TypeVar

from vgen.playground.caption import (
    EVENT_WORDS,
    PHRASINGS,
    SHAPE_WORDS,
    SIZE_WORDS,
    TOWARDS,
    Claim,
    Wording,
)
from vgen.playground.caption import VOCABULARY as FIRST_VOCABULARY
from vgen.playground.caption import claim_of as first_claim_of
from vgen.playground.caption import parse as first_parse
from vgen.playground.parts import Material
from vgen.playground.scene import SHAPES, Event, Scene, Size, Start

__all__ = ["CHAIN_PHRASINGS", "RICH_VOCABULARY", "num_rich_variants", "parse_rich", "rich_caption", "rich_claim_of"]

# As in `PHRASINGS`.
CHAIN_PHRASINGS: dict[tuple[Event, Event], tuple[str, ...]] = {
    ("ramp", "hit"): (
        "{body} rolls down a ramp {towards} and then hits {other}",
        "{body} is rolling {side} down a slope and then bumps into {other}",
        "{body} rolls {towards} down a ramp, then it knocks {other} away",
        "first {body} rolls down a slope, then it hits {other} and pushes it {towards}",
    ),
    ("hide", "hit"): (
        "{body} passes behind a pillar {towards} and then hits {other}",
        "{body} rolls {side} behind a pillar, comes out and then bumps into {other}",
        "{body} disappears behind a pillar, then it comes out and knocks {other} {towards}",
        "first {body} is rolling {towards} behind a pillar, then it hits {other}",
    ),
    ("ramp", "hide"): (
        "{body} rolls down a ramp {towards} and then passes behind a pillar",
        "{body} is rolling {side} down a slope and then disappears behind a pillar",
        "first {body} rolls down a ramp, then it rolls {towards} behind a pillar",
    ),
    ("swing", "hit"): (
        "{body} swings {towards} on a rod and then hits {other}",
        "{body} swings like a pendulum and then knocks {other} {towards}",
        "{body} is swinging {side} on a rod, then it bumps into {other}",
        "first {body} swings down on a rod, then it hits {other} and pushes it {towards}",
    ),
    ("fall", "ramp"): (
        "{body} falls onto a ramp and then rolls down the ramp {towards}",
        "{body} drops onto a slope and then rolls {side} down the slope",
        "first {body} falls down, then it rolls {towards} down a ramp",
        "{body} is falling onto a ramp, then it is rolling down the ramp {towards}",
    ),
    ("roll", "fall"): (
        "{body} rolls {towards} along a ledge and then falls to the floor",
        "{body} is rolling {side} on a ledge and then drops to the floor",
        "{body} rolls {towards} off a ledge, then it falls to the ground",
        "first {body} rolls along a ledge {towards}, then it falls down",
    ),
}

MATERIAL_WORDS: dict[Material, str] = {"plain": "", "rubber": "rubber", "metal": "metal", "wooden": "wooden"}

# {things}: bystanders with their places, and verbs in the second, joined by "and".
BYSTANDER_PHRASINGS: tuple[str, ...] = (", with {things}", " while {things}")
BYSTANDER_VERBS: tuple[str, ...] = ("lies", "rests", "is")
PLACES: tuple[str, ...] = ("on the left", "in the middle", "on the right", "on a shelf")
_THIRDS = (0.36, 0.64)  # of the floor: where left and right end

_WORD = re.compile(r"[a-z]+")
_THEN = "then"
_BESIDE = frozenset({"with", "while"})


def rich_claim_of(scene: Scene) -> Claim:
    """What every rich caption of a scene claims."""
    return replace(
        first_claim_of(scene),
        then=scene.then,
        sizes=tuple(body.size for body in scene.bodies),
        materials=tuple(body.material for body in scene.bodies),
    )


def num_rich_variants(scene: Scene) -> int:
    """How many variants `rich_caption` tells apart; some read alike where a phrasing leaves a choice unused."""
    total = len(_phrasings(scene)) * len(TOWARDS)
    for body in scene.bodies:
        total *= len(SHAPE_WORDS[body.shape]) * len(SIZE_WORDS[body.size])
    return total * (len(BYSTANDER_PHRASINGS) * len(BYSTANDER_VERBS) if scene.bystanders else 1)


def rich_caption(scene: Scene, variant: int) -> str:
    """One of the texts that describe a rich scene, lower-case.

    Args:
        scene: what is described, bystanders too.
        variant: any number from 0; counts through phrasings first, then those of bystanders, directions, shapes and
            sizes, and starts over after `num_rich_variants(scene)`.

    Raises:
        InputError: for a negative variant.
    """
    wording = Wording(variant)
    phrasing = wording.choose(_phrasings(scene))
    beside, verb = "", ""
    if scene.bystanders:
        beside, verb = wording.choose(BYSTANDER_PHRASINGS), wording.choose(BYSTANDER_VERBS)
    side, towards = wording.sides(scene)
    nouns = [wording.noun_phrase(body, MATERIAL_WORDS[body.material]) for body in scene.bodies]
    text = phrasing.format(body=nouns[0], other=nouns[min(1, len(nouns) - 1)], towards=towards, side=side)
    if not beside:
        return text
    actors = len(scene.bodies) - len(scene.bystanders)
    link = f" {verb} " if "while" in beside else " "
    things = [
        f"{noun}{link}{_place(scene, start)}" for noun, start in zip(nouns[actors:], scene.starts[actors:], strict=True)
    ]
    return f"{text}{beside.format(things=' and '.join(things))}"


def parse_rich(text: str) -> Claim:
    """Reads a text as a claim; the inverse of `rich_caption`, and of `caption` but for sizes and materials.

    As `parse` for what comes before "with" or "while"; of the rest only the things are read. A thing of which no size
    or material is said is of medium size and plain.
    """
    words = _WORD.findall(text.lower())
    end = next((index for index, word in enumerate(words) if word in _BESIDE), len(words))
    told = words[:end]
    turn = told.index(_THEN) if _THEN in told else end
    everything = first_parse(" ".join(words))
    phrases = _noun_phrases(words)
    return Claim(
        colours=everything.colours,
        shapes=everything.shapes,
        event=_event(told[:turn]),
        then=_event(told[turn:]),
        direction=first_parse(" ".join(told)).direction,
        sizes=tuple(_said(phrase, _SIZE_OF, "medium") for phrase in phrases),
        materials=tuple(_said(phrase, _MATERIAL_OF, "plain") for phrase in phrases),
    )


def _phrasings(scene: Scene) -> tuple[str, ...]:
    return PHRASINGS[scene.event] if scene.then is None else CHAIN_PHRASINGS[scene.event, scene.then]


def _place(scene: Scene, start: Start) -> str:
    """Where a bystander is, in words."""
    left, middle, right, shelf = PLACES
    if scene.shelf is not None and start.y > scene.shelf.top:
        return shelf
    return left if start.x < _THIRDS[0] else right if start.x > _THIRDS[1] else middle


# Read in this order, as EVENT_WORDS is; but what falls onto a ramp falls.
_READ: tuple[Event, ...] = ("hit", "hide", "fall", "ramp", "swing", "throw", "slide", "roll")
_SHAPE_NOUNS = frozenset(word for shape in SHAPES for word in SHAPE_WORDS[shape])
_SIZE_OF: dict[str, Size] = {word: size for size, words in SIZE_WORDS.items() for word in words if word}
_MATERIAL_OF: dict[str, Material] = {word: material for material, word in MATERIAL_WORDS.items() if word}
_Said = TypeVar("_Said")


def _event(words: list[str]) -> Event | None:
    return next((event for event in _READ if not EVENT_WORDS[event].isdisjoint(words)), None)


def _noun_phrases(words: list[str]) -> list[list[str]]:
    """For each shape that is named, the words from the last one up to it."""
    phrases: list[list[str]] = []
    since = 0
    for index, word in enumerate(words):
        if word in _SHAPE_NOUNS:
            phrases.append(words[since:index])
            since = index + 1
    return phrases


def _said(phrase: list[str], meanings: dict[str, _Said], unsaid: _Said) -> _Said:
    return next((meanings[word] for word in phrase if word in meanings), unsaid)


def _vocabulary() -> tuple[str, ...]:
    texts = [*BYSTANDER_PHRASINGS, *(phrasing for phrasings in CHAIN_PHRASINGS.values() for phrasing in phrasings)]
    plain = " ".join(re.sub(r"\{\w+\}", " ", text) for text in texts)
    words = _WORD.findall(" ".join([plain, *PLACES, *BYSTANDER_VERBS, "and"]))
    return tuple(sorted({*FIRST_VOCABULARY, *words, *_MATERIAL_OF}))


RICH_VOCABULARY: tuple[str, ...] = _vocabulary()
