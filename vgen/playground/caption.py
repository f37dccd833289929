"""Says a scene in words, and reads words back as a claim that a clip can be held to.

A closed grammar: several phrasings per event, synonyms for shapes, sizes and directions. A new phrasing is one line in
`PHRASINGS`; its verbs must stand in `EVENT_WORDS`, which a test holds by reading every phrasing back.
"""

import re
from dataclasses import dataclass

from vgen.errors import InputError
from vgen.playground.parts import Material
from vgen.playground.scene import COLOURS, SHAPES, Body, Colour, Direction, Event, Scene, Shape, Size

__all__ = [
    "EVENT_WORDS",
    "PHRASINGS",
    "VOCABULARY",
    "Claim",
    "caption",
    "claim_of",
    "num_variants",
    "parse",
    "unknown_words",
]

SHAPE_WORDS: dict[Shape, tuple[str, ...]] = {"ball": ("ball", "sphere"), "box": ("box", "block", "cube")}
SIZE_WORDS: dict[Size, tuple[str, ...]] = {"small": ("small", "little"), "medium": ("",), "large": ("big", "large")}
TOWARDS: tuple[str, ...] = ("to the {side}", "towards the {side}", "from {far_side} to {side}")

# {body}, {other}: noun phrases; {towards}: one of TOWARDS; {side}: the bare word.
PHRASINGS: dict[Event, tuple[str, ...]] = {
    "fall": (
        "{body} falls and bounces",
        "{body} drops to the floor and bounces",
        "{body} is falling down and bouncing",
        "{body} falls to the ground and bounces up again",
    ),
    "roll": (
        "{body} rolls {towards}",
        "{body} is rolling {side} across the floor",
        "{body} rolls across the floor {towards}",
        "{body} is rolling along the ground {towards}",
    ),
    "throw": (
        "{body} is thrown {towards}",
        "{body} is tossed {towards}",
        "{body} flies through the air {towards}",
        "{body} is thrown up into the air {towards}",
    ),
    "hit": (
        "{body} hits {other} and pushes it {towards}",
        "{body} moves {towards} and hits {other}",
        "{body} bumps into {other} and pushes it {side}",
        "{body} knocks {other} {towards}",
    ),
    "hide": (
        "{body} passes behind a pillar {towards}",
        "{body} rolls {side} behind a pillar",
        "{body} disappears behind a pillar and comes out on the {side}",
        "{body} is rolling {towards} and passes behind a pillar",
    ),
    "slide": (
        "{body} slides {towards} and stops",
        "{body} is sliding {side} and comes to rest",
        "{body} slides across the floor {towards} and slows down",
        "{body} is sliding along the ground {towards} until it stops",
    ),
    "ramp": (
        "{body} rolls down a ramp {towards}",
        "{body} is rolling {side} down a ramp",
        "{body} rolls {towards} down a slope",
        "{body} is rolling down a slope and on {towards}",
    ),
    "swing": (
        "{body} swings back and forth",
        "{body} is swinging on a rod",
        "{body} swings like a pendulum",
        "{body} hangs on a rod and swings",
    ),
}

# Read in this order: what hits, hides or takes a ramp may also roll.
EVENT_WORDS: dict[Event, frozenset[str]] = {
    "hit": frozenset({"hits", "bumps", "knocks", "pushes"}),
    "hide": frozenset({"behind", "disappears"}),
    "ramp": frozenset({"ramp", "slope"}),
    "swing": frozenset({"swings", "swinging", "pendulum"}),
    "throw": frozenset({"thrown", "tossed", "flies"}),
    "slide": frozenset({"slides", "sliding"}),
    "fall": frozenset({"falls", "falling", "drops", "bounces", "bouncing"}),
    "roll": frozenset({"rolls", "rolling"}),
}

_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a text promises; None or empty where it says nothing.

    Args:
        colours, shapes: of the named bodies, in the order in which they are named.
        event: the named event, or the first of two.
        direction: where it goes.
        then: the second event.
        sizes, materials: of the named bodies, in the same order; "medium" and "plain" where no word says so. Read in
            texts of the rich world alone (`caption_rich.py`).
    """

    colours: tuple[Colour, ...] = ()
    shapes: tuple[Shape, ...] = ()
    event: Event | None = None
    direction: Direction | None = None
    then: Event | None = None
    sizes: tuple[Size, ...] = ()
    materials: tuple[Material, ...] = ()


def claim_of(scene: Scene) -> Claim:
    """What every caption of a scene claims."""
    return Claim(
        colours=tuple(body.colour for body in scene.bodies),
        shapes=tuple(body.shape for body in scene.bodies),
        event=scene.event,
        direction=scene.direction,
    )


def num_variants(scene: Scene) -> int:
    """How many variants `caption` tells apart; some read alike where a phrasing leaves a choice unused."""
    total = len(PHRASINGS[scene.event]) * len(TOWARDS)
    for body in scene.bodies:
        total *= len(SHAPE_WORDS[body.shape]) * len(SIZE_WORDS[body.size])
    return total


def caption(scene: Scene, variant: int) -> str:
    """One of the texts that describe a scene, lower-case.

    Args:
        scene: what is described.
        variant: any number from 0; counts through phrasings first, then directions, shapes and sizes, and starts over
            after `num_variants(scene)`.

    Raises:
        InputError: for a negative variant.
    """
    wording = Wording(variant)
    phrasing = wording.choose(PHRASINGS[scene.event])
    side, towards = wording.sides(scene)
    nouns = [wording.noun_phrase(body) for body in scene.bodies]
    return phrasing.format(body=nouns[0], other=nouns[-1], towards=towards, side=side)


class Wording:
    """Choices of words, all taken from one number: the first from its lowest digit, the next from what is left.

    Args:
        variant: the number, from 0.

    Raises:
        InputError: it is negative.
    """

    def __init__(self, variant: int) -> None:
        if variant < 0:
            raise InputError(f"caption variant {variant} is negative; possible: 0 and above")
        self._left = variant

    def choose(self, options: tuple[str, ...]) -> str:
        self._left, index = divmod(self._left, len(options))
        return options[index]

    def sides(self, scene: Scene) -> tuple[str, str]:
        """A scene's direction in one word, and as something goes there."""
        side = scene.direction or "right"  # unused: phrasings of events without a direction name none
        towards = self.choose(TOWARDS)
        return side, towards.format(side=side, far_side="left" if side == "right" else "right")

    def noun_phrase(self, body: Body, material: str = "") -> str:
        noun, size = self.choose(SHAPE_WORDS[body.shape]), self.choose(SIZE_WORDS[body.size])
        return " ".join(word for word in ("a", size, body.colour, material, noun) if word)


def parse(text: str) -> Claim:
    """Reads a text as a claim; the inverse of `caption`.

    Words that the grammar does not know are passed over (`unknown_words` lists them). Where left and right are both
    named the last one counts, as in "from left to right".
    """
    words = _WORD.findall(text.lower())
    shape_of = {word: shape for shape in SHAPES for word in SHAPE_WORDS[shape]}
    sides: list[Direction] = [side for word in words for side in _SIDES if word == side]
    return Claim(
        colours=tuple(colour for word in words for colour in COLOURS if word == colour),
        shapes=tuple(shape_of[word] for word in words if word in shape_of),
        event=next((event for event, cues in EVENT_WORDS.items() if not cues.isdisjoint(words)), None),
        direction=sides[-1] if sides else None,
    )


def unknown_words(text: str) -> tuple[str, ...]:
    """The words of a text that the grammar never says, in order of first appearance."""
    return tuple(dict.fromkeys(word for word in _WORD.findall(text.lower()) if word not in VOCABULARY))


_SIDES: tuple[Direction, ...] = ("left", "right")


def _vocabulary() -> tuple[str, ...]:
    texts = [*TOWARDS, *(phrasing for phrasings in PHRASINGS.values() for phrasing in phrasings)]
    plain = " ".join(re.sub(r"\{\w+\}", " ", text) for text in texts)
    synonyms = [word for table in (SHAPE_WORDS, SIZE_WORDS) for words in table.values() for word in words]
    return tuple(sorted({"a", *_SIDES, *COLOURS, *filter(None, synonyms), *_WORD.findall(plain)}))


VOCABULARY: tuple[str, ...] = _vocabulary()
