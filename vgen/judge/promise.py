"""What a prompt promises of the order of events, and whether a clip keeps it; `event_order` judges that too.

Read by the playground's grammar of captions. A new promise is a line of `PROMISES`; a prompt that says nothing of the
kind is said to, and nothing is judged by it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from vgen.errors import ConfigError
from vgen.judge.observation import EventKind, Observation, Sight
from vgen.judge.rule import Abstention, Measured, Measurement, Rule
from vgen.playground.caption import parse
from vgen.playground.scene import Event as Told

__all__ = ["ORDER", "PROMISES", "Moment", "Step", "check_prompt", "held_to", "measure_promise", "promise_of"]

ORDER = "event_order"  # the rule
SIGHT_SIGMA_FRAMES = 0.5  # of when a thing is first or last seen


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """When something happened, in frames, its standard error, and the ids of the tracks it happened to."""

    frame: float
    sigma_frames: float
    tracks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that a prompt says will happen: how a person would say it, and when it does."""

    words: str
    when: Callable[[Observation], list[Moment]]


def check_prompt(prompt: str | None, rules: tuple[Rule, ...]) -> None:
    """Raises ConfigError for a prompt without the rule that reads it."""
    if prompt is not None and ORDER not in {rule.name for rule in rules}:
        raise ConfigError(f"a prompt is read by the rule {ORDER} alone, which is not among those asked for")


def promise_of(prompt: str) -> tuple[Step, ...]:
    """The steps that a prompt promises, in their order; none where it promises nothing that can be checked."""
    told = parse(prompt).event
    return () if told is None else PROMISES.get(told, ())


def held_to(prompt: str, rules: tuple[Rule, ...], seen: Observation) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """The rules with `event_order` held to a prompt as well, and what a reader must be told of that."""
    steps = promise_of(prompt)
    if not steps:
        return rules, ("the prompt promises no event that can be checked; it was not used",)
    promised = measure_promise(steps, seen)

    def measure(rule: Rule, seen: Observation) -> Measured:
        own = rule.measure(seen)
        if isinstance(promised, Abstention):
            return promised if isinstance(own, Abstention) else own
        return promised if isinstance(own, Abstention) else (*promised, *own)

    held = tuple(replace(rule, measure=partial(measure, rule)) if rule.name == ORDER else rule for rule in rules)
    return held, (promised.reason,) if isinstance(promised, Abstention) else ()


def measure_promise(steps: tuple[Step, ...], seen: Observation) -> Measured:
    """Whether the first sights of the promised steps come in the promised order.

    Strength: frames of the wrong order beyond 2 standard errors, as of `event_order`; the worst of neighbouring steps.
    A step that was not seen at all leaves it undecidable: perception may have missed it, and a clip may obey physics
    without following its prompt.
    """
    found = [step.when(seen) for step in steps]
    missing = [step.words for step, moments in zip(steps, found, strict=True) if not moments]
    if missing:
        return Abstention(status="undecidable", reason=f"the prompt promises it, but it was not seen: {missing[0]}")
    firsts = [min(moments) for moments in found]
    pairs = [*pairwise(firsts)] or [(firsts[0], firsts[0])]
    early, sigma = max((a.frame - b.frame, float(np.hypot(a.sigma_frames, b.sigma_frames))) for a, b in pairs)
    order = sorted(range(len(steps)), key=lambda step: (firsts[step].frame, step))
    frames = [min(seen.num_frames - 1, max(0, round(first.frame))) for first in firsts]
    return (
        Measurement(
            strength=max(0.0, early - 2 * sigma),
            frames=(min(frames), max(frames)),
            objects=tuple(sorted({track for first in firsts for track in first.tracks})),
            quantity="a promised event before the one promised earlier, frames",
            value=early,
            expected=min(early, 0.0),
            sigma=sigma,
            text="of what the prompt promises " + ", then ".join(steps[step].words for step in order),
        ),
    )


def _events(kind: EventKind, seen: Observation, *, things: int = 1) -> list[Moment]:
    return [
        Moment(event.frame, event.sigma_frames, event.tracks)
        for event in seen.events
        if event.kind == kind and len(event.tracks) >= things
    ]


def _hidden(seen: Observation, *, over: bool) -> list[Moment]:
    """When things become hidden, or show again after that."""
    found = []
    for track in seen.tracks:
        hidden_F = track.sight_F == Sight.OCCLUDED
        showed_F = track.sight_F <= Sight.PARTLY
        begins_F = (hidden_F[:-1] & showed_F[1:]) if over else (showed_F[:-1] & hidden_F[1:])
        found += [Moment(float(frame), SIGHT_SIGMA_FRAMES, (track.id,)) for frame in np.flatnonzero(begins_F) + 1]
    return found


PROMISES: dict[Told, tuple[Step, ...]] = {
    "fall": (Step(words="something bounces", when=partial(_events, "bounce")),),
    "hit": (
        Step(words="two things meet", when=partial(_events, "contact", things=2)),
        Step(words="one that was at rest starts to move", when=partial(_events, "onset")),
    ),
    "slide": (Step(words="something stops", when=partial(_events, "stop")),),
    "hide": (
        Step(words="something is hidden", when=partial(_hidden, over=False)),
        Step(words="something hidden shows again", when=partial(_hidden, over=True)),
    ),
}
