"""`vgen bench generate`: vgen against stock diffusers on the same weights in the same run, and radial against dense.

Ways of making one clip take turns, after each has been called once to warm up: `stock`, `vgen` (dense) and `radial`, at
its published share of dense steps. Both engines get the same latents, prompts, steps, guidance, dtypes and kernels of
attention, nothing is offloaded, and both are eager or both compiled. Their latents and frames are compared in the same
run; where they differ by more than the tolerance, the figures mean nothing and the bench fails.

What is run: generate_models.py. How one clip is made and timed: generate_runs.py. What is made of the times:
generate_figures.py.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from vgen.attention.kernels import KERNELS, order_for
from vgen.bench.generate_figures import (
    RADIAL,
    TOLERANCE,
    at_published_steps,
    dense_flops,
    difference,
    figures,
    ratios,
    times_alone,
)
from vgen.bench.generate_models import MODELS, Subject, compiled_stock, stock_of, vgen_of
from vgen.bench.generate_runs import Made, Request, stock_clip, vgen_clip
from vgen.bench.recipes import fingerprint, keep, kept
from vgen.bench.stamp import commit
from vgen.errors import ConfigError, ResourceError, nearest
from vgen.machine import machine, pick_device, pick_dtype, versions
from vgen.models.loaded import LoadedModel
from vgen.models.vae import latent_frames

__all__ = ["PARTS", "RESULTS", "Asked", "bench_generate", "compared"]

RESULTS = Path(__file__).with_name("results")
PARTS = {"dense": ("stock", "vgen"), "sparse": ("vgen", "radial")}  # part -> ways of making the clip
WAYS = ("stock", "vgen", "radial")
PROMPT, NEGATIVE = "a red ball rolls to the right across the floor", "a blue cube falls"
Row = dict[str, Any]
Say = Callable[[str], None]
Way = Callable[[Request], Made]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is measured; None is what the device or the model takes by default.

    Args:
        models: of MODELS.
        parts: of PARTS.
        device, dtype: as `vgen generate` takes them.
        compile: both engines compiled, where both are eager otherwise.
        steps: of the clip.
        pairs: turns that are timed.
    """

    models: tuple[str, ...] | None = None
    parts: tuple[str, ...] = tuple(PARTS)
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    steps: int | None = None
    pairs: int | None = None

    def check(self) -> None:
        """Refuses unknown names, numbers below 1, and models that this device cannot run.

        Raises:
            ConfigError, ResourceError: one of these.
        """
        device = pick_device(self.device)
        for option, asked, able in (("models", self.models or (), MODELS), ("parts", self.parts, PARTS)):
            for name in asked:
                if name not in able:
                    raise ConfigError(f"--{option}: unknown '{name}'; {nearest(name, able)}")
        for option in ("steps", "pairs"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise ConfigError(f"--{option} is at least 1, got {value}")
        for name in self.models or ():
            if MODELS[name].device == "cuda" and device.type != "cuda":
                raise ResourceError(
                    f"--models {name} needs a CUDA device, this is {device}; possible: {', '.join(_here(device.type))}"
                )
        name = str(pick_dtype(self.dtype, device)).removeprefix("torch.")
        if name not in TOLERANCE:
            raise ConfigError(f"--dtype {name} has no tolerance to compare within; possible: {', '.join(TOLERANCE)}")

    @property
    def named(self) -> tuple[str, ...]:
        """The models."""
        return self.models or _here(pick_device(self.device).type)

    @property
    def ways(self) -> tuple[str, ...]:
        return tuple(way for way in WAYS if any(way in PARTS[part] for part in self.parts))

    @property
    def command(self) -> str:
        """What asks for this."""
        words = ["vgen bench generate"]
        words += ["--models", ",".join(self.models)] if self.models else []
        words += ["--parts", ",".join(self.parts)] if self.parts != tuple(PARTS) else []
        for option in ("device", "dtype"):
            words += [f"--{option}", getattr(self, option)] if getattr(self, option) != "auto" else []
        words += ["--compile"] if self.compile else []
        for option in ("steps", "pairs"):
            words += [f"--{option}", str(getattr(self, option))] if getattr(self, option) is not None else []
        return " ".join(words)


def _here(kind: str) -> tuple[str, ...]:
    """Models that are meant for a kind of device."""
    return tuple(name for name, subject in MODELS.items() if subject.device == kind)


def bench_generate(asked: Asked, *, say: Say, results: Path | None = None) -> dict[str, Any]:
    """A row for each model.

    Args:
        asked: what is measured.
        say: told how far it is.
        results: a folder that keeps the rows by their fingerprints, those of a CPU and of a GPU apart.

    Returns:
        `rows` by model, `within`: whether all outputs agree, and what it was taken on; ready for JSON.

    Raises:
        VgenError: something cannot be measured, or not here.
    """
    asked.check()
    device = pick_device(asked.device)
    dtype, began_at = pick_dtype(asked.dtype, device), commit()
    stamp = {"command": asked.command, "commit": began_at, "vgen": versions()["vgen"]}
    rows: dict[str, Row] = {}
    for name in asked.named:
        subject = MODELS[name]
        say(f"{name}: loading")
        with _kernels(device):
            row: Row = stamp | _measured(name, subject, subject.load(device, dtype), asked, say)
        gc.collect()
        if results is not None and row["difference"].get("within", True):
            path = results / f"generate-{device.type}.json"
            row["before"] = compared(row, kept(path, row["fingerprint"]))
            keep(path, row)
            say(f"{name}: {_told(row['before'])}")
        rows[name] = row
    within = all(row["difference"].get("within", True) for row in rows.values())
    return stamp | {"machine": machine(device), "versions": versions(), "within": within, "rows": rows}


def compared(row: Row, before: Row | None) -> Row | None:
    """How seconds of the whole stand to those of an earlier row with the same fingerprint, by way; None without one."""
    if before is None:
        return None
    assert row["fingerprint"] == before["fingerprint"], "figures of unlike recipes are not compared"
    over = {way: made["compared_s"] / before["ways"][way]["compared_s"] for way, made in row["ways"].items()}
    return {"commit": before["commit"], "whole_over": over, "ratio": before.get("ratio")}


def _told(before: Row | None) -> str:
    if before is None:
        return "the first figures of this recipe on such a machine"
    over = ", ".join(f"{way} {times:.2f}" for way, times in before["whole_over"].items())
    return f"time of the whole over that at commit {before['commit']}, same recipe: {over}"


@contextmanager
def _kernels(device: torch.device) -> Iterator[None]:
    """On a GPU both engines choose among ours, in our order; a CPU has one fused kernel."""
    if device.type != "cuda":
        yield
        return
    order = order_for(torch.cuda.get_device_capability(device))
    with sdpa_kernel([KERNELS[name] for name in order], set_priority=True):
        yield


def _measured(name: str, subject: Subject, model: LoadedModel, asked: Asked, say: Say) -> Row:
    """A row: every way in turns."""
    if asked.compile:
        torch._dynamo.reset()
    request = _request(model, asked.steps or subject.steps)
    ways = _ways(model, asked)
    for way, make in ways.items():
        say(f"{name}: {way}, to warm up")
        make(_request(model, 1))
    turns: list[dict[str, Made]] = []
    apart: Row = {}
    for turn in range(asked.pairs or subject.pairs):
        made = {way: ways[way](request) for way in (list(ways) if turn % 2 == 0 else reversed(ways))}
        if "stock" in made and not apart:
            apart = difference(made["stock"], made["vgen"], str(model.dit.dtype).removeprefix("torch."))
        turns.append({way: times_alone(one) for way, one in made.items()})
        told = ", ".join(f"{way} {turns[-1][way].stages_s['denoise']:.2f} s" for way in ways)
        say(f"{name}: turn {turn + 1} of {asked.pairs or subject.pairs}: denoising takes {told}")
    recipe = _recipe(model, request, asked)
    work = dense_flops(model, request)
    on_cpu = model.device.type == "cpu"
    row: Row = {
        "model": name,
        "fingerprint": fingerprint(recipe),
        "recipe": recipe,
        "turns": len(turns),
        "ratio_of": "processor time" if on_cpu else "wall clock",
        "ways": {way: figures([turn[way] for turn in turns], work, way, on_cpu) for way in ways},
        "difference": apart,
        "tflop_per_forward": work / 1e12,
    }
    if "stock" in ways:
        row["ratio"] = ratios(turns, "vgen", "stock", on_cpu)
    if "radial" in ways:
        row["speedup"] = ratios(turns, "vgen", "radial", on_cpu)
        row["attention"] = turns[0]["radial"].attention
        row["speedup"]["at_published_steps"] = at_published_steps(row["ways"], turns, request)
    return row


def _ways(model: LoadedModel, asked: Asked) -> dict[str, Way]:
    ours, keys = vgen_of(model), {"performance.compile": True} if asked.compile else {}
    sparse: dict[str, Any] = {"attention.name": RADIAL}
    if model.device.type == "cuda":
        sparse["attention.executor"] = "flex"
    ways: dict[str, Way] = {
        "vgen": lambda request: vgen_clip(ours, request, keys),
        "radial": lambda request: vgen_clip(ours, request, keys | sparse),
    }
    if "stock" in asked.ways:
        stock = stock_of(model)
        stock = compiled_stock(stock) if asked.compile else stock
        ways["stock"] = lambda request: stock_clip(stock, request)
    return {way: ways[way] for way in asked.ways}


def _request(model: LoadedModel, steps: int) -> Request:
    card, spatial = model.card, model.vae.config.scale_factor_spatial
    frames = latent_frames(card.num_frames, model.vae.config.scale_factor_temporal)
    shape = (model.vae.config.z_dim, frames, card.height // spatial, card.width // spatial)
    return Request(
        prompt=PROMPT,
        negative_prompt=NEGATIVE if card.guidance_scale > 1 else None,
        height=card.height,
        width=card.width,
        num_frames=card.num_frames,
        fps=card.fps,
        steps=steps,
        guidance=card.guidance_scale,
        text_length=card.text_length,
        initial_CTHW=torch.randn(shape, generator=torch.Generator().manual_seed(0)),
    )


def _recipe(model: LoadedModel, request: Request, asked: Asked) -> Row:
    """Everything that makes figures comparable."""
    config, encoder, on = model.dit.config, model.prompts.encoder.config, machine(model.device)
    shape = ("num_attention_heads", "attention_head_dim", "num_layers", "ffn_dim", "in_channels", "text_dim")
    dtypes = {"transformer": model.dit.dtype, "vae": model.vae.dtype, "text_encoder": model.prompts.encoder.dtype}
    return {
        "transformer": {key: config[key] for key in shape},
        "vae": {key: model.vae.config[key] for key in ("base_dim", "z_dim", "scale_factor_spatial")},
        "text_encoder": {"layers": encoder.num_layers, "width": encoder.d_model, "tokens": request.text_length},
        "scheduler": type(model.scheduler).__name__,
        "image": model.card.image,
        "size": [request.height, request.width],
        "num_frames": request.num_frames,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance,
        "dtypes": {part: str(dtype).removeprefix("torch.") for part, dtype in dtypes.items()},
        "sdpa": _kernel(model),
        "compile": asked.compile,
        "offload": "none",
        "ways": list(asked.ways),
        "sparse": RADIAL if "radial" in asked.ways else None,
        "machine": on,
        "versions": {name: version for name, version in versions().items() if name != "vgen"},
    }


def _kernel(model: LoadedModel) -> str:
    """Which kernel torch takes for both engines' self-attention."""
    config = model.dit.config
    shape = (1, config.num_attention_heads, 1024, config.attention_head_dim)
    q = torch.empty(shape, device=model.device, dtype=model.dit.dtype)
    return SDPBackend(torch._fused_sdp_choice(q, q, q)).name.lower()
