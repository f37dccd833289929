"""How well a model makes what a playground prompt says: clips of held-out prompts, looked at by the frozen detector.

The prompts, scenes and seeds of a world are the same every time. The same figures for real renders, and for clips held
against other prompts, stand beside, because a share alone says little.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vgen.frames import psnr_db
from vgen.pipeline import VideoPipeline
from vgen.playground.detectors import DETECTORS
from vgen.playground.render import render
from vgen.playground.scene import Scene, Split
from vgen.playground.score import HELD_OUT, Case, held_out_prompts, score
from vgen.playground.simulate import simulate
from vgen.playground.worlds import world_named

__all__ = ["FirstFrame", "first_frames", "generated_cases", "image_score", "rendered_cases", "text_score"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FirstFrame:
    """How well a clip keeps the image that it was made from."""

    split: Split
    psnr_db: float


def generated_cases(
    pipeline: VideoPipeline, count: int, *, sampler: str | None = None, steps: int | None = None, world: str = "first"
) -> Iterator[Case]:
    """One case per held-out prompt, half from each split, as its clip is finished.

    Args:
        pipeline: whose model is scored, at its card's defaults.
        count: prompts in all.
        sampler, steps: other than the card's.
        world: whose prompts; a key of `WORLDS`.
    """
    claim_of, detect = world_named(world).claim_of, DETECTORS[world].detect
    for split, scene, prompt in _prompts(count, world):
        clip = pipeline(prompt, seed=scene.seed % 2**31, sampler=sampler, num_inference_steps=steps)
        yield Case(split=split, claim=claim_of(scene), detection=detect(clip.frames, clip.fps))


def rendered_cases(pipeline: VideoPipeline, count: int, *, world: str = "first") -> Iterator[Case]:
    """The same prompts with the world's own renders in place of the model's clips, at the model's size and length."""
    card, claim_of, detect = pipeline.model.card, world_named(world).claim_of, DETECTORS[world].detect
    for split, scene, _ in _prompts(count, world):
        frames = _render(scene, card.height, card.width, card.num_frames)
        yield Case(split=split, claim=claim_of(scene), detection=detect(frames, scene.fps))


def first_frames(pipeline: VideoPipeline, count: int, *, world: str = "first") -> Iterator[FirstFrame]:
    """Image-to-video from first frames of held-out renders: PSNR of the clip's first frame against the image."""
    card = pipeline.model.card
    for split, scene, prompt in _prompts(count, world):
        image_YX3 = _render(scene, card.height, card.width, 1)[0]
        clip = pipeline(prompt, image_YX3, seed=scene.seed % 2**31)
        yield FirstFrame(split, psnr_db(clip.frames[0], image_YX3))


def text_score(
    pipeline: VideoPipeline, count: int, *, sampler: str | None = None, steps: int | None = None, world: str = "first"
) -> dict[str, Any]:
    """Rates of `count` generated clips, beside those of real renders; progress goes to stderr."""
    cases = list(_counted(generated_cases(pipeline, count, sampler=sampler, steps=steps, world=world), count))
    return {
        "model": pipeline.model.id,
        "digests": pipeline.model.digests(),
        "sampler": sampler or "full",
        "num_inference_steps": steps or pipeline.model.card.num_inference_steps,
        "generated": score(cases, world).as_dict(),
        "rendered": score(list(rendered_cases(pipeline, count, world=world)), world).as_dict(),
    }


def image_score(pipeline: VideoPipeline, count: int, *, world: str = "first") -> dict[str, Any]:
    """How well `count` clips keep the held-out renders that they were made from; progress goes to stderr."""
    values = [first.psnr_db for first in _counted(first_frames(pipeline, count, world=world), count)]
    return {
        "model": pipeline.model.id,
        "digests": pipeline.model.digests(),
        "first_frame_psnr_db": {"mean": fmean(values), "least": min(values), "clips": len(values)},
    }


def _counted(pieces: Iterator[T], count: int) -> Iterator[T]:
    since = time.perf_counter()
    for done, piece in enumerate(pieces, start=1):
        if done % 10 == 0 or done == count:
            left = (time.perf_counter() - since) / done * (count - done)
            print(f"clips: {done}/{count}, {left:.0f} s left", file=sys.stderr, flush=True)
        yield piece


def _prompts(count: int, world: str) -> Iterator[tuple[Split, Scene, str]]:
    for index, split in enumerate(HELD_OUT):
        for scene, prompt in held_out_prompts(count * (index + 1) // 2 - count * index // 2, split, world):
            yield split, scene, prompt


def _render(scene: Scene, height: int, width: int, frames: int) -> NDArray[np.uint8]:
    clip: NDArray[np.uint8] = render([scene], [simulate(scene, frames)], height=height, width=width)[0].numpy()
    return clip
