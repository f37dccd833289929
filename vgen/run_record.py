"""The record of a run: how a clip was made, with the same keys whichever pipeline made it.

What a run has no answer to is None or empty there; a new key is one here. How a record is written and read is the
business of `vgen/records.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from vgen.clip import Clip
from vgen.frames import digest_of
from vgen.machine import machine, peak_mib, versions
from vgen.models.loaded import AnyModel, LoadedModel
from vgen.models.quantization import Quantization
from vgen.plan import Plan
from vgen.records import Record
from vgen.schema import GenerateConfig, flat

__all__ = ["RECORD_SCHEMA", "Recorded", "asked_of", "model_row", "quantized_keys", "run_record"]

RECORD_SCHEMA = 3


class Recorded(Protocol):
    """What every run says of itself alike."""

    config: GenerateConfig
    said: list[str]
    job: Any  # a `Job`, or a `StockJob`
    plan: Plan
    notes: tuple[str, ...]
    stages_s: dict[str, float]  # `write` is the business of who writes
    wall_s: float  # from the first to the last event, what was done with them included


def run_record(
    run: Recorded,
    *,
    device: torch.device,
    dtype: torch.dtype,
    model: dict[str, Any],
    prompts: list[dict[str, Any]],
    attention: list[dict[str, Any]],
    chunks: list[int],
    sha256: str | None,
    drift: dict[str, Any] | None,
    kept: dict[str, Any] | None = None,
    quantization: Quantization | None = None,
    step_cache: Sequence[dict[str, Any]] = (),
    base: Clip | None = None,
    search: dict[str, Any] | None = None,
    performance: dict[str, Any] | None = None,
    resumed_at: int | None = None,
    parallel: dict[str, Any] | None = None,
) -> Record:
    """How a clip was made; complete once the run has ended.

    Args:
        run: whose clip it is.
        device, dtype: of the transformer.
        model: what made it, as a row.
        prompts: which frames saw which.
        attention: what it computed, a row for each kind of call.
        chunks: frames made so far, piece by piece.
        sha256, drift: of those frames.
        kept: config keys of how weights are kept, beside those that the job resolves.
        quantization: of the transformers.
        step_cache: what each skipped.
        base: the clip that is gone on from.
        search: what was tried, and which noise each piece took.
        performance: what was chosen, and what became of it.
        resumed_at: latent frame; what was measured is from there on.
        parallel: how processes shared it; None where one made it.
    """
    job, asked = run.job, flat(run.config)
    place = str(device) if parallel is None else device.type  # of several processes each has its own
    where = {"run.device": place, "run.dtype": str(dtype).removeprefix("torch.")}
    return {
        "schema": RECORD_SCHEMA,
        "request": {key: asked[key] for key in run.said},
        "resolved": job.resolved() | where | (kept or {}),
        "explicit": run.said,
        "seed": job.seed,
        "model": model,
        "versions": versions() | ({} if quantization is None else quantization.versions()),
        "machine": machine(device),
        "prompts": prompts,
        "attention": attention,
        "step_cache": list(step_cache),
        "image": _digest(job.image_YX3),
        "last_image": _digest(job.last_image_YX3),
        "extends": None if base is None else {"frames": len(base.frames), "sha256": base.sha256()},
        "frames": {"asked": job.asked_frames, "made": sum(chunks), "sha256": sha256},
        "search": search,
        "drift": drift,
        "stages_s": {stage: round(seconds, 3) for stage, seconds in run.stages_s.items()},
        "wall_s": round(run.wall_s, 3),
        "plan_mib": asdict(run.plan) | {"peak": run.plan.peak},
        "peak_mib": peak_mib(device),
        "performance": performance,
        "parallel": parallel,
        "chunks": chunks,
        "resumed_at": resumed_at,
        "notes": list(run.notes),
    }


def asked_of(job: Any, model: AnyModel) -> list[Any]:
    """All that processes which make a clip together must have alike, short of the weights themselves."""
    base = getattr(job, "base", None)
    return [
        job.resolved(),
        [_digest(job.image_YX3), _digest(job.last_image_YX3), None if base is None else base.sha256()],
        [model.id, model.commit, str(model.dit.dtype), model.device.type, versions()],
    ]


def model_row(model: LoadedModel) -> dict[str, Any]:
    """Which weights made a clip, LoRA and quantisation included."""
    return {
        "id": model.id,
        "commit": model.commit,
        "variant": None if model.variant is None else model.variant.name,
        "name": model.card.name,
        "digests": model.digests(),
        "lora": model.adapters.rows(),
        "lora_fused": model.adapters.fused,
        "quantization": None if model.quantization is None else model.quantization.scheme,
    }


def quantized_keys(model: LoadedModel) -> dict[str, Any]:
    """How the weights are quantised, as config keys; no path of a file, which replay is told."""
    kept = model.quantization
    return {} if kept is None or kept.files else {"model.quantization": kept.scheme}


def _digest(image_YX3: NDArray[np.uint8] | None) -> dict[str, str] | None:
    return None if image_YX3 is None else {"sha256": digest_of(image_YX3[None])}
