"""How often clips show what their prompts say: rates with intervals, per split, beside chance.

Pure functions over (claim, detection) pairs; who makes the clips is the caller's affair.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from vgen.errors import InputError
from vgen.playground.caption import Claim
from vgen.playground.detect import Agreement
from vgen.playground.detect_rich import RichAgreement
from vgen.playground.detectors import DETECTORS, AnyDetection, agreement_of
from vgen.playground.scene import SPLITS, Scene, Split
from vgen.playground.worlds import world_named

__all__ = [
    "ASPECTS",
    "HELD_OUT",
    "Case",
    "Rate",
    "Report",
    "SplitScore",
    "held_out_prompts",
    "held_out_turns",
    "score",
    "wilson",
]

HELD_OUT: tuple[Split, ...] = ("held_out_seed", "held_out_combination")

_Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution

# What is counted in the first world, each over the cases that name it (`overall`: over all).
ASPECTS: tuple[str, ...] = DETECTORS["first"].aspects


@dataclass(frozen=True, slots=True)
class Rate:
    """`right` out of `total`."""

    right: int
    total: int

    @property
    def value(self) -> float | None:
        """The share, or None where there is nothing to count."""
        return self.right / self.total if self.total else None

    def as_dict(self) -> dict[str, float | int | list[float] | None]:
        low, high = wilson(self.right, self.total)
        return {"right": self.right, "total": self.total, "rate": self.value, "interval_95": [low, high]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One clip: where its scene comes from, what its prompt claims, what was seen in it."""

    split: Split
    claim: Claim
    detection: AnyDetection


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitScore:
    """Rates of one group of cases.

    Args:
        rates: per aspect of the world's detector; `motion` is the event and, where they are named, the direction, the
            second event and the order of the two.
        chance: share per aspect when each clip is held against every *other* prompt of the group in turn, which is the
            mean over all shufflings; None for a single case.
    """

    rates: dict[str, Rate]
    chance: dict[str, float | None]

    def as_dict(self) -> dict[str, dict[str, object]]:
        return {aspect: {**rate.as_dict(), "chance": self.chance[aspect]} for aspect, rate in self.rates.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The score of a set of clips, for all together ("all") and per split, and the detector that gave it."""

    scores: dict[str, SplitScore]
    detector: str

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {"detector_sha256": self.detector, "scores": {name: s.as_dict() for name, s in self.scores.items()}}


def wilson(right: int, total: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927, JASA 22, 209-212); (0, 1) where nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = right / total, _Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z_95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    low = 0.0 if right == 0 else centre - half  # exactly: rounding would leave 1e-17
    return low, 1.0 if right == total else centre + half


def score(cases: Sequence[Case], world: str = "first") -> Report:
    """Scores clips against their prompts.

    Args:
        cases: looked at by the detector of one world.
        world: a key of `WORLDS`.

    Raises:
        InputError: for no cases, or an unknown world.
    """
    detector = DETECTORS[world_named(world).name]
    if not cases:
        raise InputError("nothing to score: got 0 clips")
    groups = {"all": list(cases)} | {split: [case for case in cases if case.split == split] for split in SPLITS}
    scores = {name: _score_group(group, detector.aspects) for name, group in groups.items() if group}
    return Report(scores=scores, detector=detector.digest())


def held_out_prompts(count: int, split: Split, world: str = "first") -> list[tuple[Scene, str]]:
    """`count` scenes of a world's held-out split, each with one of its captions; the same ones every time.

    Raises:
        InputError: for the training split, or an unknown world.
    """
    place = world_named(world)
    if split == "train":
        raise InputError(
            "prompts of the training split are not held out; possible: held_out_seed, held_out_combination"
        )
    return [(scene, place.caption(scene, scene.seed)) for scene in place.scenes(split, count)]


@cache
def held_out_turns(count: int, world: str = "first") -> tuple[tuple[Split, Scene, str], ...]:
    """`count` held-out prompts with their scenes, of the held-out splits in turns; the same ones every time."""
    each = -(-count // len(HELD_OUT))
    drawn = [[(split, *pair) for pair in held_out_prompts(each, split, world)] for split in HELD_OUT]
    return tuple(prompt for turn in zip(*drawn, strict=True) for prompt in turn)[:count]


def _score_group(cases: Sequence[Case], aspects: Sequence[str]) -> SplitScore:
    own = [_aspects(agreement_of(case.detection, case.claim), case.claim) for case in cases]
    foreign = [
        _aspects(agreement_of(clip.detection, other.claim), other.claim)
        for clip in cases
        for other in cases
        if other is not clip
    ]
    return SplitScore(
        rates={aspect: _rate(own, aspect) for aspect in aspects},
        chance={aspect: _rate(foreign, aspect).value for aspect in aspects},
    )


def _aspects(agreement: Agreement | RichAgreement, claim: Claim) -> dict[str, bool | None]:
    """Per aspect whether it is right; None where the claim does not name it."""
    colours = agreement.colours if claim.colours else None
    shapes = agreement.shapes if claim.shapes else None
    event = agreement.event if claim.event else None
    direction = agreement.direction if claim.direction else None
    then, order = None, None
    if isinstance(agreement, RichAgreement) and claim.then:
        then, order = agreement.then, agreement.order
    named = [part for part in (event, then, order, direction) if part is not None]
    return {
        "colours": colours,
        "shapes": shapes,
        "event": event,
        "then": then,
        "order": order,
        "direction": direction,
        "motion": all(named) if named else None,
        "overall": agreement.overall,
    }


def _rate(answers: Sequence[dict[str, bool | None]], aspect: str) -> Rate:
    counted = [right for answer in answers if (right := answer[aspect]) is not None]
    return Rate(sum(counted), len(counted))
