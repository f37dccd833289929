"""Arithmetic of `vgen bench generate`: from clips that were made in turns to medians, ratios and differences.

A ratio is of the processor's time on a CPU and of the wall clock on a GPU: the median of the turns, the least and the
greatest. `whole` is text, denoise and decode; what the engines write differs, so that `write` stands apart.
"""

from dataclasses import replace
from statistics import median
from typing import Any

from torch import Tensor

from vgen.bench.drawn import PEAK, PEAK_FLOPS
from vgen.bench.generate_runs import STAGES, Made, Request
from vgen.bench.sampler_costs import Pass, flops
from vgen.models.loaded import LoadedModel
from vgen.presets import attention_presets

__all__ = ["RADIAL", "TOLERANCE", "at_published_steps", "dense_flops", "difference", "figures", "ratios", "times_alone"]

RADIAL = "radial-wan2.1"
# dtype -> how far the engines' latents (relative root mean square) and frames (largest, of 0..1) may differ
TOLERANCE = {"float32": (1e-4, 0.00393), "bfloat16": (0.05, 0.1)}

Row = dict[str, Any]


def times_alone(made: Made) -> Made:
    """Without the tensors, of which a turn has gigabytes."""
    return replace(made, latents_BCTHW=made.latents_BCTHW[:0], frames_FYX3=made.frames_FYX3[:0])


def difference(stock: Made, ours: Made, dtype: str) -> Row:
    """How far the outputs of the engines are apart, and whether that is within the tolerance."""
    apart: Tensor = ours.latents_BCTHW - stock.latents_BCTHW
    rms = float(apart.square().mean().sqrt() / stock.latents_BCTHW.square().mean().sqrt())
    frames = float(abs(ours.frames_FYX3 - stock.frames_FYX3).max())
    most_latents, most_frames = TOLERANCE[dtype]
    return {
        "latents": float(apart.abs().max()),
        "latents_rms": rms,
        "frames": frames,
        "tolerance": {"latents_rms": most_latents, "frames": most_frames},
        "within": rms <= most_latents and frames <= most_frames,
    }


def dense_flops(model: LoadedModel, request: Request) -> int:
    """Of one pass with dense attention."""
    _, frames, rows, columns = request.initial_CTHW.shape
    _, patch_h, patch_w = model.dit.config.patch_size
    tokens = (rows // patch_h) * (columns // patch_w)
    one = Pass(frames=tuple(range(frames)), past=0, block=None, tokens=tokens, levels=1)
    return flops(one, model.dit.config, request.text_length)


def figures(made: list[Made], work: int, way: str, on_cpu: bool) -> Row:
    """Medians of one way over the turns."""
    stages = {stage: median(one.stages_s[stage] for one in made) for stage in STAGES}
    forward_s = median(seconds for one in made for seconds in one.forward_s)
    peaks = [one.peak_mib for one in made if one.peak_mib is not None]
    return {
        "stages_s": stages,
        "whole_s": median(sum(one.stages_s[stage] for stage in STAGES[:3]) for one in made),
        "compared_s": median(_spent(one, "whole", on_cpu) for one in made),
        "busy_s": {stage: median(one.busy_s[stage] for one in made) for stage in STAGES} if on_cpu else None,
        "forwards": len(made[0].forward_s),
        "forward_s": forward_s,
        "tflops": None if way == "radial" else work / forward_s / 1e12,
        "share_of_peak": None if way == "radial" or on_cpu else work / forward_s / PEAK_FLOPS,
        "peak": None if way == "radial" or on_cpu else PEAK,
        "peak_mib": max(peaks) if peaks else None,
    }


def ratios(turns: list[dict[str, Made]], way: str, other: str, on_cpu: bool) -> Row:
    """Time of one way over the other's, by stage."""
    found: Row = {}
    for stage in (*STAGES, "whole"):
        each = [_spent(turn[way], stage, on_cpu) / _spent(turn[other], stage, on_cpu) for turn in turns]
        found[stage] = {"median": median(each), "interval": [min(each), max(each)]}
    return found


def _spent(made: Made, stage: str, on_cpu: bool) -> float:
    """Seconds as they are compared."""
    spent = made.busy_s if on_cpu else made.stages_s
    return sum(spent[one] for one in STAGES[:3]) if stage == "whole" else spent[stage]


def at_published_steps(ways: dict[str, Row], turns: list[dict[str, Made]], request: Request) -> Row:
    """Dense over radial for the whole clip of as many steps as were published, from the time of each kind of pass."""
    preset = attention_presets()[RADIAL]
    steps, dense = preset["attention.num_inference_steps"], preset["attention.dense_first_steps"]
    passes = 2 if request.guidance > 1 else 1
    dense_here = passes * round(dense * request.steps / steps)
    sparse_s = median(seconds for turn in turns for seconds in turn["radial"].forward_s[dense_here:])
    beside_s = sum(ways["vgen"]["stages_s"][stage] for stage in ("text", "decode"))
    dense_s = ways["vgen"]["forward_s"]
    whole = beside_s + passes * steps * dense_s
    return {
        "steps": steps,
        "dense_first_steps": dense,
        "dense_forward_s": dense_s,
        "sparse_forward_s": sparse_s,
        "whole": whole / (beside_s + passes * (dense * dense_s + (steps - dense) * sparse_s)),
    }
