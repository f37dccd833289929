"""A story: the prompts of a request, when each begins, and how a model reads them."""

import itertools
import math
from typing import Any

from vgen.config import require_prompt
from vgen.errors import ConfigError, InputError
from vgen.models.loaded import LoadedModel
from vgen.schema import GenerateConfig

__all__ = ["frames_in", "latent_starts", "read_by", "story_of"]


def story_of(config: GenerateConfig) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The prompts of a request, and when each begins, in seconds.

    Raises:
        ConfigError: no prompt at 0 s, times that do not rise, or two ways of saying what should be seen.
    """
    request = config.request
    if request.story is None:
        return (request.prompt,), (0.0,)
    rows = [_timed(row) for row in request.story]
    if request.prompt:
        rows.insert(0, (0.0, request.prompt))
    if not rows:
        raise ConfigError("a story without prompts; give at least one")
    times = [at for at, _ in rows]
    if times[0] != 0:
        raise ConfigError(f"the first prompt starts at {times[0]:g} s; say what is seen from 0 s on")
    for before, after in itertools.pairwise(times):
        if after <= before:
            raise ConfigError(f"prompts start one after another; {after:g} s follows {before:g} s")
    return tuple(prompt for _, prompt in rows), tuple(times)


def latent_starts(starts_s: tuple[float, ...], fps: int, per_latent: int, *, offset: int) -> tuple[int, ...]:
    """The latent frame that holds the first frame of each prompt; known frames in front see the first prompt.

    Args:
        starts_s: when each begins, rising from 0.
        fps: frames per second.
        per_latent: frames that a latent frame stands for.
        offset: latent frames of a clip that is gone on from; without one, latent frame 0 is a single frame.

    Raises:
        ConfigError: two of them begin in one latent frame.
    """
    frames = [frames_in(at, fps) for at in starts_s]
    starts = [offset + frame // per_latent if offset else -(-frame // per_latent) for frame in frames]
    for (a, b), times in zip(itertools.pairwise(starts), itertools.pairwise(starts_s), strict=True):
        if b <= a:
            raise ConfigError(
                f"prompts at {times[0]:g} s and {times[1]:g} s fall on one latent frame, which is {per_latent} frames "
                f"or {per_latent / fps:.3g} s; set them further apart"
            )
    return (0, *starts[1:])


def read_by(model: LoadedModel, which: str, prompt: str) -> list[str]:
    """Notes on how a model reads a prompt.

    Args:
        model: whose words and tokens count.
        which: what the message calls it.
        prompt: as it was asked for.

    Raises:
        InputError: it says nothing, or the model would see nothing of it, or not all.
    """
    require_prompt(prompt)
    prompts, notes = model.prompts, []
    if model.card.closed_vocabulary:
        words, unknown = prompts.unknown_words(prompt)
        if len(unknown) == len(words):
            raise InputError(
                f"model '{model.id}' knows no word of the {which} {prompt!r:.200}; it knows: "
                f"{', '.join(prompts.vocabulary())}. For any other prompt use --model with a folder of an open-domain "
                "model, such as Wan2.1"
            )
        if unknown:
            notes.append(f"{which}: model '{model.id}' does not know these words: {', '.join(dict.fromkeys(unknown))}")
    tokens = prompts.tokens_of(prompt)
    if tokens > prompts.length:
        raise InputError(f"the {which} is {tokens} tokens long, model '{model.id}' reads {prompts.length}; shorten it")
    return notes


def frames_in(seconds: float, fps: int) -> int:
    """Frames that begin before a time; with it the first frame that does not."""
    return math.ceil(round(seconds * fps, 6))


def _timed(row: Any) -> tuple[float, str]:
    """One row of a story, whoever wrote it."""
    if not isinstance(row, dict) or {*row} != {"at", "prompt"} or not isinstance(row["prompt"], str):
        raise ConfigError(f"a story is a list of {{at: seconds, prompt: words}}, got {str(row)[:80]}")
    at = row["at"]
    text = at.removesuffix("s").strip() if isinstance(at, str) else at
    try:
        seconds = float(text)
    except (OverflowError, TypeError, ValueError):
        seconds = math.nan
    if isinstance(at, bool) or not 0 <= seconds < math.inf:
        raise ConfigError(f"a prompt starts at a time such as 4s, got {str(at)[:40]!r}")
    return seconds, row["prompt"]
