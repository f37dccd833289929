"""`vgen bench step-cache`: what step caches save and what they cost in likeness; and the ratios that MagCache needs.

Each clip with a cache is timed in turns with one without, in process CPU time of the denoising, which other work on the
machine touches least. PSNR is between the two, which start from the same noise. The ratios for MagCache are measured on
a clip of another seed.
"""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgen.bench.stamp import commit
from vgen.config import merge
from vgen.files import replacing
from vgen.frames import psnr_db
from vgen.machine import machine, versions
from vgen.models.folder import EMBEDDED
from vgen.models.loaded import own_model
from vgen.models.step_cache import CacheMethod, StepCache
from vgen.pipeline import VideoPipeline
from vgen.run import Run

__all__ = ["RESULTS", "Asked", "bench_step_cache", "calibrate", "write_ratios"]

RESULTS = Path(__file__).with_name("results") / "step-cache-cpu.json"
PROMPTS = ("a red ball rolls to the right across the floor", "a blue cube falls")
CALIBRATION_SEED = 1000
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("first-block", {"threshold": threshold}) for threshold in (0.05, 0.1, 0.2)),
    *(("mag", {"threshold": threshold}) for threshold in (0.06, 0.24)),
    *(("taylorseer", {"cache_interval": interval}) for interval in (2, 4)),
)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is measured.

    Args:
        model: name, folder or hub id.
        device: as `vgen generate` takes it.
        prompt: of the clips; two of the embedded model's world where None.
        image: their first frame.
        steps: of the sampler; the card's where None.
    """

    model: str = EMBEDDED
    device: str = "auto"
    prompt: str | None = None
    image: str | None = None
    steps: int | None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        return PROMPTS if self.prompt is None else (self.prompt,)


def calibrate(asked: Asked, pipeline: VideoPipeline) -> list[float]:
    """How much the change that all blocks make grows from step to step: what MagCache's `mag_ratios` are.

    Measured by diffusers' own calibration on a clip of its own; of two transformers one after the other.
    """
    run = _start(asked, pipeline, asked.prompts[0], CALIBRATION_SEED, {})
    method = CacheMethod(name="mag", calibrate=True)
    model = own_model(pipeline.model)
    run.step_caches = [StepCache(dit, method) for dit in (model.dit, model.dit_2) if dit is not None]
    for event in run:
        if event.stage == "denoise" and event.done == event.total:
            return [ratio for cache in run.step_caches for ratio in cache.ratios("cond")]
    raise AssertionError("a run ends with its last step")


def write_ratios(ratios: list[float], path: Path) -> None:
    """A config for `vgen generate --config`.

    Raises:
        InputError: it cannot be written there.
    """
    listed = ", ".join(f"{ratio:.5f}" for ratio in ratios)
    with replacing(path) as partial:
        partial.write_text(f"step_cache:\n  name: mag\n  mag_ratios: [{listed}]\n", encoding="utf-8")


def bench_step_cache(asked: Asked, *, say: Say, results: Path | None = None) -> dict[str, Any]:
    """A row for each cache and setting.

    Args:
        asked: what is measured.
        say: told how far it is.
        results: where the figures are kept; nowhere where None.

    Returns:
        `rows`: share of block forwards that were skipped, time of the denoising over that without a cache, PSNR.
    """
    began_at, pipeline = commit(), VideoPipeline.from_pretrained(asked.model, device=asked.device)
    ratios = calibrate(asked, pipeline)
    _timed(_start(asked, pipeline, asked.prompts[0], 0, {}))  # warm
    rows = []
    for number, (name, knobs) in enumerate(CASES, 1):
        said = {"step_cache.name": name} | {f"step_cache.{knob}": value for knob, value in knobs.items()}
        said |= {"step_cache.mag_ratios": ratios} if name == "mag" else {}
        pairs = [_pair(asked, pipeline, prompt, seed, said) for seed, prompt in enumerate(asked.prompts)]
        rows.append({"cache": name, "knobs": knobs} | _row(pairs))
        say(f"{number}/{len(CASES)}: {name} {knobs}: time x{rows[-1]['time_ratio']:.2f}")
    card = pipeline.model.card
    figures = {
        "command": "vgen bench step-cache --write",
        "commit": began_at,
        "machine": machine(pipeline.device),
        "versions": versions(),
        "model": asked.model,
        "prompts": list(asked.prompts),
        "num_inference_steps": asked.steps or card.num_inference_steps,
        "mag_ratios": ratios,
        "rows": rows,
    }
    if results is not None:
        with replacing(results) as partial:
            partial.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A clip: CPU seconds of its denoising, frames, and what its caches report."""

    cpu_s: float
    frames_FYX3: NDArray[np.uint8]
    reports: list[dict[str, Any]]


def _start(asked: Asked, pipeline: VideoPipeline, prompt: str, seed: int, said: dict[str, Any]) -> Run:
    values = {"request.prompt": prompt, "request.seed": seed, "request.num_inference_steps": asked.steps}
    run = pipeline.start(*merge(("bench", values | said)), asked.image)
    assert isinstance(run, Run)  # `own_model` has refused others
    return run


def _timed(run: Run) -> _Made:
    chunks: list[NDArray[np.uint8]] = []
    cpu_s, since = 0.0, time.process_time()
    for event in run:
        now = time.process_time()
        cpu_s += now - since if event.stage == "denoise" else 0.0
        if event.frames_FYX3 is not None:
            chunks.append(event.frames_FYX3)
        since = time.process_time()
    return _Made(cpu_s=cpu_s, frames_FYX3=np.concatenate(chunks), reports=run.record()["step_cache"])


def _pair(asked: Asked, pipeline: VideoPipeline, prompt: str, seed: int, said: dict[str, Any]) -> tuple[_Made, _Made]:
    """The same clip without the cache and with it."""
    plain = _timed(_start(asked, pipeline, prompt, seed, {}))
    return plain, _timed(_start(asked, pipeline, prompt, seed, said))


def _row(pairs: list[tuple[_Made, _Made]]) -> dict[str, Any]:
    reports = list(itertools.chain.from_iterable(cached.reports for _, cached in pairs))
    ratios = [cached.cpu_s / plain.cpu_s for plain, cached in pairs]
    return {
        "skipped": sum(r["skipped"] for r in reports) / sum(r["blocks"] for r in reports),
        "time_ratio": fmean(ratios),
        "time_ratios": ratios,
        "psnr_db": fmean(psnr_db(plain.frames_FYX3, cached.frames_FYX3) for plain, cached in pairs),
    }
