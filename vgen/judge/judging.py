"""`judge`: a clip in, a report out. Puts perception, rules, guards, card and scoring together."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from vgen import __version__
from vgen.clip import Clip
from vgen.errors import ConfigError, InputError, nearest
from vgen.frames import Frames
from vgen.judge.card import Card, load_card
from vgen.judge.guards import Guard, guards_of
from vgen.judge.observation import Observation
from vgen.judge.perception.observe import MIN_FRAMES, MIN_SIDE_PX, observe
from vgen.judge.perception.observe import VERSION as PERCEPTION
from vgen.judge.promise import check_prompt, held_to
from vgen.judge.rule import GROUPS, Abstention, Rule
from vgen.judge.rules import RULES
from vgen.judge.scoring import coverage_of, plausibility_of, verdict_of
from vgen.judge.verdict import Report, Verdict
from vgen.video.read import Limits

__all__ = ["LIMITS", "Examination", "examine", "judge", "report_on", "select_rules", "versions"]

LIMITS = Limits(decoded_mib=3072)  # perception holds the clip more than once
# What may go wrong inside a rule through the clip alone; anything else is a mistake of ours and is not swallowed.
FAILURES = (np.linalg.LinAlgError,)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examination:
    """A report with what it rests on, for pictures.

    Args:
        clip: what was judged.
        observation: what perception saw in it.
        report: the verdicts.
    """

    clip: Clip
    observation: Observation
    report: Report


def judge(
    clip: Clip | Path | str | Frames,
    *,
    fps: float | None = None,
    rules: Sequence[str] | None = None,
    prompt: str | None = None,
    card: Card | None = None,
    limits: Limits = LIMITS,
) -> Report:
    """Whether a clip obeys cause and physics, with evidence.

    Args:
        clip: a clip, a video file, a folder of PNG frames, or uint8 frames [F, Y, X, 3].
        fps: frames per second of an array, or of a folder whose pictures do not say it.
        rules: names of rules or groups; all where None.
        prompt: what the clip should show; `event_order` holds it to the order of events that this promises.
        card: the calibration; the one that ships with vgen where None.
        limits: the largest file that is read.

    Returns:
        the report: the same clip gives the same one.

    Raises:
        InputError: the clip cannot be read, is a single frame, or too small or large.
        ConfigError: no such rule, or a prompt without the rule that reads it.
    """
    return examine(clip, fps=fps, rules=rules, prompt=prompt, card=card, limits=limits).report


def examine(
    clip: Clip | Path | str | Frames,
    *,
    name: str | None = None,
    fps: float | None = None,
    rules: Sequence[str] | None = None,
    prompt: str | None = None,
    card: Card | None = None,
    limits: Limits = LIMITS,
) -> Examination:
    """As `judge`, with the frames and what was seen in them; `name` is what the report calls the clip."""
    asked = select_rules(rules)
    check_prompt(prompt, asked)
    made = _clip_of(clip, fps, limits)
    name = _printable(name or (Path(clip).name if isinstance(clip, Path | str) else "clip"))
    frames, height, width, _ = made.frames.shape
    if frames < MIN_FRAMES:
        raise InputError(f"'{name}' has one frame; a judge needs at least {MIN_FRAMES} to see anything happen")
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(f"'{name}' is {width}x{height} pixels; at least {MIN_SIDE_PX}x{MIN_SIDE_PX} can be judged")
    seen = observe(made.frames, made.fps)
    return Examination(
        clip=made, observation=seen, report=report_on(seen, name=name, rules=asked, prompt=prompt, card=card)
    )


def report_on(
    seen: Observation,
    *,
    name: str = "clip",
    rules: Sequence[Rule] | None = None,
    prompt: str | None = None,
    card: Card | None = None,
) -> Report:
    """The report on what was seen in a clip called `name`; the other arguments as of `judge`."""
    card = load_card() if card is None else card
    asked = tuple(RULES.values() if rules is None else rules)
    asked, notes = (asked, ()) if prompt is None else held_to(prompt, asked, seen)
    guards = tuple(guards_of(seen))
    verdicts = tuple(_verdict(rule, seen, guards, card) for rule in asked)
    counted = [verdict for verdict in verdicts if verdict.calibrated]
    return Report(
        clip=name,
        verdicts=verdicts,
        plausibility=plausibility_of(counted),
        coverage=coverage_of(counted),
        calibration=card.digest,
        versions=versions(),
        warnings=(*notes, *_warnings(seen, card), *(guard.reason for guard in guards)),
    )


def select_rules(names: Sequence[str] | None) -> tuple[Rule, ...]:
    """The rules of these names and groups, in the order of `RULES`; all where None.

    Raises:
        ConfigError: there is none of such a name, or no name was given.
    """
    if names is None:
        return tuple(RULES.values())
    if not names:
        raise ConfigError(f"no rule was named; groups: {', '.join(GROUPS)}; rules: vgen judge rules")
    for name in names:
        if name not in RULES and name not in GROUPS:
            raise ConfigError(f"unknown rule '{name}'; {nearest(name, {*RULES, *GROUPS})}")
    return tuple(rule for rule in RULES.values() if rule.name in names or rule.group in names)


def _clip_of(clip: Clip | Path | str | Frames, fps: float | None, limits: Limits) -> Clip:
    if isinstance(clip, Path | str):
        return Clip.read(clip, fps=fps, limits=limits)
    if isinstance(clip, Clip):
        if fps is not None:
            raise InputError("a Clip has a frame rate of its own; fps is for arrays and folders of PNG frames")
        return clip
    if fps is None:
        raise InputError("an array of frames does not say how fast they follow each other; pass fps=")
    return Clip(frames=clip, fps=fps)


def _printable(name: str) -> str:
    """A file's name may hold anything; a report is one line per thing and UTF-8."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)


def _verdict(rule: Rule, seen: Observation, guards: Sequence[Guard], card: Card) -> Verdict:
    stopped = next((guard for guard in guards if guard.stops(rule)), None)
    if stopped is not None:
        return verdict_of(rule, Abstention(status="undecidable", reason=stopped.reason), card)
    try:
        measured = rule.measure(seen)
    except FAILURES as error:
        return Verdict(
            rule=rule.name,
            group=rule.group,
            status="error",
            violation=None,
            reason=f"its fit failed: {error}",
            calibrated=rule.name in card.rules,
        )
    for found in () if isinstance(measured, Abstention) else measured:
        inside = 0 <= found.frames[0] <= found.frames[1] < seen.num_frames
        assert inside, f"{rule.name}: frames {found.frames} of a clip of {seen.num_frames}"
        assert all(0 <= n < len(seen.tracks) for n in found.objects), f"{rule.name}: no such things: {found.objects}"
    return verdict_of(rule, measured, card)


def _warnings(seen: Observation, card: Card) -> list[str]:
    warnings = []
    if card.provisional:
        warnings.append("the calibration is provisional: no figure of this report has been tested")
    if seen.cuts:
        listed = ", ".join(str(frame) for frame in seen.cuts[:8]) + (", ..." if len(seen.cuts) > 8 else "")
        warnings.append(
            f"the clip is cut at frame {listed}; judged is its longest shot, frames {seen.shot[0]}-{seen.shot[1] - 1}"
        )
    if not seen.tracks:
        warnings.append("no thing was found that moves, comes or goes")
    return warnings


@cache
def versions() -> dict[str, str]:
    """Of all that a report can depend on."""
    return {
        "vgen": __version__,
        "perception": PERCEPTION,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "opencv": version("opencv-python-headless"),
        "scipy": version("scipy"),
    }
