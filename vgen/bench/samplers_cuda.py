"""Streaming on a GPU: a model of Wan-1.3B's shape with random weights makes 480p, three latent frames at a time.

Frames per second once the window is full, of the model alone and with the VAE, against what the matrix products alone
would allow: passes of 4 steps and 1 into the cache, at 790 TFLOP/s, which is what an H200 was measured to reach.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from vgen.bench.drawn import PEAK_FLOPS, drawn
from vgen.bench.sampler_costs import Counted, flops
from vgen.machine import pick_device
from vgen.models.cache import KVCache
from vgen.models.denoiser import TextBook, WanDenoiser
from vgen.models.dit import VideoDiT
from vgen.models.rope import Rope
from vgen.models.vae import StreamingDecoder
from vgen.samplers import (
    CachePositions,
    IndependentNoise,
    NoiseSource,
    Pyramid,
    Renoise,
    Rollout,
    SigmaTable,
    SinkWindow,
)

__all__ = ["CONTEXTS", "Shape", "bench_stream", "stream"]

CONTEXTS = {"window 21": (21, 0), "window 9 behind a sink of 3": (9, 3)}  # latent frames, those of the chunk included


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is run; Wan-1.3B at 480p where nothing is said.

    Args:
        dit, vae: arguments of the classes, where they differ from their defaults.
        rows, columns: of a latent frame.
        text: tokens of a prompt.
        block: latent frames of a chunk.
        steps: of a chunk.
    """

    dit: dict[str, Any] = field(default_factory=lambda: {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960})
    vae: dict[str, Any] = field(default_factory=dict)
    rows: int = 60
    columns: int = 104
    text: int = 512
    block: int = 3
    steps: int = 4


def bench_stream(device: str, *, chunks: int = 8) -> dict[str, Any]:
    """A row for each of CONTEXTS.

    Args:
        device: `cuda`, `cuda:1`, ...
        chunks: that are timed, after those that fill the window.

    Raises:
        ResourceError: there is no such device.
    """
    where = pick_device(device)
    return {"rows": [stream(where, name, *context, chunks=chunks) for name, context in CONTEXTS.items()]}


@torch.inference_mode()
def stream(
    device: torch.device, name: str, window: int, sink: int, *, chunks: int, shape: Shape | None = None
) -> dict[str, Any]:
    """Times chunks of a stream; a few fill the window first.

    Args:
        device: where it runs.
        name: of the context.
        window, sink: of the context, in latent frames.
        chunks: that are timed.
        shape: of the model.
    """
    shape = shape or Shape()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    dit = drawn(lambda: VideoDiT(**shape.dit), device, torch.bfloat16)
    vae = drawn(lambda: AutoencoderKLWan(**shape.vae), device, torch.float32)
    filling = -(-(window + sink) // shape.block) + 1
    rollout, context = _rollout(dit, shape, window, sink, frames=(filling + chunks) * shape.block)
    decoder = StreamingDecoder(vae)
    denoise_s, decode_s = [], []
    with Counted(dit) as counted:
        began = _now(device)
        for progress in rollout.run(rollout.start(context)):
            if progress.latents_BCTHW is None:
                continue
            denoise_s.append(_now(device) - began)
            began = _now(device)
            decoder.push(progress.latents_BCTHW)
            decode_s.append(_now(device) - began)
            began = _now(device)
    passes = counted.passes[-(shape.steps + 1) :]
    frames = shape.block * vae.config.scale_factor_temporal
    bound_s = sum(flops(one, dit.config, shape.text) for one in passes) / PEAK_FLOPS
    model_s, vae_s = (sum(seconds[filling:]) / chunks for seconds in (denoise_s, decode_s))
    return {
        "context": name,
        "steps": shape.steps,
        "frames_per_chunk": frames,
        "tflop_per_chunk": bound_s * PEAK_FLOPS / 1e12,
        "denoise_s": model_s,
        "decode_s": vae_s,
        "fps": frames / model_s,
        "fps_with_vae": frames / (model_s + vae_s),
        "bound_fps": frames / bound_s,
        "share_of_bound": bound_s / model_s,
        "peak_mib": torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None,
    }


def _rollout(dit: VideoDiT, shape: Shape, window: int, sink: int, frames: int) -> tuple[Rollout[KVCache], KVCache]:
    """`streaming` as its published models are run: few steps, fresh noise between them, no guidance."""
    text_BMD = torch.randn(1, shape.text, dit.config.text_dim, device=dit.device, dtype=dit.dtype)
    denoise = WanDenoiser(dit=dit, texts=TextBook(dit, [text_BMD]), rope=Rope(positions=CachePositions()))
    rollout = Rollout(
        denoise=denoise,
        schedule=Pyramid(num_steps=shape.steps, lag=shape.steps, block=shape.block),
        table=SigmaTable.of([level / shape.steps for level in range(shape.steps + 1)]),
        solver=Renoise(),
        noise=IndependentNoise(NoiseSource(0)),
        frames=frames,
        shape=(dit.config.in_channels, shape.rows, shape.columns),
        policy=SinkWindow(window=window, sink=sink, block=shape.block),
        device=dit.device,
    )
    return rollout, KVCache(layers=dit.config.num_layers, capacity=window + sink)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
