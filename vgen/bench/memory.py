"""Predicted against measured peak memory on a CPU: `python -m vgen.bench.memory`; Linux alone says what was the most.

The embedded model, and random weights in its place at three sizes: Wan's transformer and VAE under its text encoder.
Each case runs in a process of its own. What is compared is what the run takes above what the process held before it,
and the same with the weights, above what it held before they were loaded.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vgen.bench.stamp import commit
from vgen.errors import ResourceError

__all__ = ["CASES", "Case", "main", "measure", "write_model"]

MIB = 1 << 20
PROMPT = "a red ball rolls to the right across the floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model and a request.

    Args:
        heads, layers, ffn_dim: of the transformer, 64 wide each head; the embedded model where 0.
        base_dim: of the VAE.
        side: of a frame in pixels.
        frames: of the clip.
        sampler: its preset.
    """

    heads: int = 0
    layers: int = 0
    ffn_dim: int = 0
    base_dim: int = 0
    side: int = 96
    frames: int = 33
    sampler: str = "full"


CASES = {
    "embedded": Case(),
    "embedded_causal": Case(sampler="causal"),
    "small": Case(heads=3, layers=4, ffn_dim=768, base_dim=16, side=64, frames=9),
    "medium": Case(heads=12, layers=2, ffn_dim=3072, base_dim=8, side=256, frames=49),
    "large": Case(heads=8, layers=4, ffn_dim=2048, base_dim=48, side=192, frames=13),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints one JSON object: a row per case, and the largest distance of a prediction from what was measured."""
    parser = argparse.ArgumentParser(prog="python -m vgen.bench.memory")
    parser.add_argument("--cases", default=",".join(CASES), help="by commas")
    parser.add_argument("--lean", action="store_true", help="give freed memory back at once, as where memory is short")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "MODEL"), help="one of them, in this process")
    asked = parser.parse_args(argv)
    if asked.measure is not None:
        print(json.dumps(measure(CASES[asked.measure[0]], asked.measure[1], lean=asked.lean)))
        return 0
    rows = {name: _in_process(name, lean=asked.lean) for name in asked.cases.split(",")}
    worst = max(abs(row["with_weights"]["off"]) for row in rows.values())
    print(json.dumps({"commit": commit(), "worst": worst, "cases": rows}, indent=2))
    return 0


def measure(case: Case, model: str, *, lean: bool = False) -> dict[str, Any]:
    """What a run was to take and what it took, in MiB; `lean` gives freed memory back at once."""
    from vgen.config import merge
    from vgen.models.loaded import own_model
    from vgen.pipeline import VideoPipeline
    from vgen.search import AnyRun  # noqa: F401 (what a run imports is no part of it)

    empty, _ = _resident_mib()
    pipeline = VideoPipeline.from_pretrained(model, device="cpu")
    asked = {
        "request.prompt": PROMPT,
        "request.seed": 0,
        "request.width": case.side,
        "request.height": case.side,
        "request.num_frames": case.frames,
        "request.num_inference_steps": 2,
        "sampler.name": case.sampler,
    }
    run = pipeline.start(*merge(("bench", asked)))
    if lean:
        run.plan = replace(run.plan, holes=0.0)
    loaded = own_model(pipeline.model)
    for part in (loaded.dit, loaded.vae, loaded.prompts.encoder):
        for weights in part.parameters():
            weights.sum()  # files are mapped: weights come to memory as they are read
    before, _ = _resident_mib()
    Path("/proc/self/clear_refs").write_text("5")  # the most that was resident is counted from here on
    for _ in run:
        pass
    _, peak = _resident_mib()
    plan = run.plan
    return {
        "plan": {"text": plan.text, "denoise": plan.denoise, "decode": plan.decode, "weights": plan.weights},
        "run": _compared(plan.more, peak - before),
        "with_weights": _compared(plan.weights + plan.more, peak - empty),
    }


def write_model(case: Case, folder: Path) -> Path:
    """The embedded model's folder with a transformer and a VAE of random weights."""
    import torch
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    from vgen.models.folder import embedded_folder

    shutil.copytree(embedded_folder(), folder)
    for part in ("vae", "transformer"):
        shutil.rmtree(folder / part)
    text_dim = json.loads((embedded_folder() / "text_encoder" / "config.json").read_text())["d_model"]
    torch.manual_seed(0)
    WanTransformer3DModel(
        num_attention_heads=case.heads,
        attention_head_dim=64,
        num_layers=case.layers,
        ffn_dim=case.ffn_dim,
        text_dim=text_dim,
    ).save_pretrained(folder / "transformer")
    AutoencoderKLWan(base_dim=case.base_dim).save_pretrained(folder / "vae")
    return folder


def _in_process(name: str, *, lean: bool) -> dict[str, Any]:
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        model = str(write_model(case, Path(folder) / "model")) if case.heads else "playground"
        argv = [sys.executable, "-m", "vgen.bench.memory", "--measure", name, model, *(["--lean"] if lean else [])]
        done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise ResourceError(f"case {name} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _compared(predicted: float, measured: float) -> dict[str, float]:
    off = predicted / measured - 1
    return {"predicted": round(predicted, 1), "measured": round(measured, 1), "off": round(off, 4), "abs": abs(off)}


def _resident_mib() -> tuple[float, float]:
    """What is resident, and the most that was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    now, most = (int(told[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
    return now, most


if __name__ == "__main__":
    sys.exit(main())
