"""What samplers cost: passes of the model and their FLOPs, by shape; the key-value cache and FreeNoise against others.

Two ways of making the same clip take turns in one process, and the best time of each counts. Times are of the stage
`denoise` alone.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from vgen.config import merge
from vgen.models.dit import VideoDiT
from vgen.pipeline import VideoPipeline

__all__ = ["Counted", "Pass", "cache_cost", "flops", "freenoise_cost"]

PROMPT = "a red ball rolls to the right across the floor"
ALL = 100_000  # latent frames: more than there are
CACHED = {"name": "causal", "memory": "kv", "window": ALL}
RECOMPUTED = {"name": "causal", "memory": "refeed", "mask": "causal", "window": ALL}
_ONE_BY_ONE = {"name": "full", "windows": "newest", "window": "trained", "noise": "independent"}
WAYS: dict[str, dict[str, Any]] = {
    "freenoise": {"name": "freenoise"},
    "newest": _ONE_BY_ONE | {"stride": "third"},  # the same windows and stride
    "disjoint": _ONE_BY_ONE | {"stride": "trained"},
    "full": {"name": "full"},
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass of a `VideoDiT`, by its shapes.

    Args:
        frames: absolute index of each latent frame that is shown.
        past: latent frames in the cache.
        block: frames per block of a block-causal mask; none where None.
        tokens: of a frame.
        levels: noise levels that the model is told.
    """

    frames: tuple[int, ...]
    past: int
    block: int | None
    tokens: int
    levels: int

    @property
    def pairs(self) -> int:
        """Pairs of frames of which one sees the other."""
        block = self.block
        if block is None:
            return len(self.frames) * (self.past + len(self.frames))
        own = sum(key // block <= query // block for query in self.frames for key in self.frames)
        return len(self.frames) * self.past + own


def flops(one: Pass, config: Any, text: int) -> int:
    """Multiplications and additions in the matrix products of a pass.

    Left out: what is done once per clip (keys and values of the text), and what is no matrix product.

    Args:
        one: with dense attention.
        config: of the `VideoDiT`.
        text: tokens of a prompt.
    """
    d, (_, patch_h, patch_w) = config.num_attention_heads * config.attention_head_dim, config.patch_size
    tokens = len(one.frames) * one.tokens
    linear = tokens * (12 * d**2 + 4 * d * config.ffn_dim)
    attention = 4 * d * (one.pairs * one.tokens**2 + tokens * text)
    ends = 2 * tokens * d * (config.in_channels + config.out_channels) * patch_h * patch_w
    time_embedding = 2 * one.levels * d * (config.freq_dim + d + 6 * d)
    return int(config.num_layers * (linear + attention) + ends + time_embedding)


class Counted:
    """Notes the passes of a model within a `with` block, in `passes`."""

    def __init__(self, dit: VideoDiT) -> None:
        self.passes: list[Pass] = []
        self._dit = dit
        self._handle: RemovableHandle | None = None

    def __enter__(self) -> "Counted":
        self._handle = self._dit.register_forward_pre_hook(self._note, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._handle is not None, "entered before"
        self._handle.remove()

    def _note(self, dit: VideoDiT, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x_BCTHW, sigma_BT = args[:2]
        _, patch_h, patch_w = dit.config.patch_size
        context, frames = kwargs.get("context"), kwargs.get("frames")
        self.passes.append(
            Pass(
                frames=tuple(range(x_BCTHW.shape[2]) if frames is None else frames),
                past=0 if context is None else len(context.frames),
                block=kwargs.get("causal_block"),
                tokens=(x_BCTHW.shape[3] // patch_h) * (x_BCTHW.shape[4] // patch_w),
                levels=sigma_BT.shape[1],
            )
        )


def cache_cost(
    pipeline: VideoPipeline, *, times: int | None = None, steps: int | None = None, repeat: int = 3, say: Say
) -> dict[str, Any]:
    """A causal clip with a cache of everything, against the same clip with everything shown again in every step.

    Args:
        pipeline: whose model runs.
        times: length over the model's own; 10 where None.
        steps: of the sampler; 2 where None.
        repeat: pairs.
        say: told how far it is.

    Returns:
        seconds and FLOPs of both, their ratios, `share` of the one ratio in the other, and by how much the latents
        differ. Ready for JSON.
    """
    times, steps = times or 10, steps or 2
    runs = _in_turns(pipeline, {"cached": CACHED, "recomputed": RECOMPUTED}, times, steps, repeat, say)
    text, config = pipeline.model.card.text_length, pipeline.model.dit.config
    work = {name: sum(flops(one, config, text) for one in run.passes) for name, run in runs.items()}
    wall = runs["recomputed"].seconds / runs["cached"].seconds
    counted = work["recomputed"] / work["cached"]
    difference = runs["recomputed"].latents_BCTHW - runs["cached"].latents_BCTHW
    return {
        "times": times,
        "steps": steps,
        "latent_frames": difference.shape[2],
        "seconds": {name: run.seconds for name, run in runs.items()},
        "passes": {name: len(run.passes) for name, run in runs.items()},
        "flops": work,
        "wall_ratio": wall,
        "flop_ratio": counted,
        "share": wall / counted,
        "largest_difference": float(difference.abs().max()),
    }


def freenoise_cost(
    pipeline: VideoPipeline, *, times: int | None = None, steps: int | None = None, repeat: int = 5, say: Say
) -> dict[str, Any]:
    """FreeNoise, against the same windows denoised one by one, against disjoint ones, and against one full pass.

    Args:
        pipeline, times, steps, repeat, say: as `cache_cost`; times and steps 4 where None.

    Returns:
        seconds of each way, and `over`: FreeNoise's over the other's. Ready for JSON.
    """
    times, steps = times or 4, steps or 4
    runs = _in_turns(pipeline, WAYS, times, steps, repeat, say)
    ours = runs["freenoise"].seconds
    return {
        "times": times,
        "steps": steps,
        "latent_frames": runs["freenoise"].latents_BCTHW.shape[2],
        "seconds": {name: run.seconds for name, run in runs.items()},
        "passes": {name: len(run.passes) for name, run in runs.items()},
        "over": {name: ours / run.seconds for name, run in runs.items() if name != "freenoise"},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What a run took, and what it made."""

    seconds: float
    passes: list[Pass]
    latents_BCTHW: Tensor


def _in_turns(
    pipeline: VideoPipeline, ways: Mapping[str, dict[str, Any]], times: int, steps: int, repeat: int, say: Say
) -> dict[str, _Ran]:
    """The fastest run of each way; guidance would double all of them and is off."""
    best: dict[str, _Ran] = {}
    began = time.perf_counter()
    for turn in range(repeat):
        for number, (name, sampler) in enumerate(ways.items(), start=1 + turn * len(ways)):
            ran = _run(pipeline, sampler, times, steps)
            if name not in best or ran.seconds < best[name].seconds:
                best[name] = ran
            left = (time.perf_counter() - began) / number * (repeat * len(ways) - number)
            say(f"{name}: {ran.seconds:.2f} s; {left:.0f} s left")
    return best


def _run(pipeline: VideoPipeline, sampler: dict[str, Any], times: int, steps: int) -> _Ran:
    values = {f"sampler.{option}": value for option, value in sampler.items()} | {
        "request.prompt": PROMPT,
        "request.num_frames": times * pipeline.model.card.num_frames,
        "request.num_inference_steps": steps,
        "request.guidance_scale": 1.0,
        "request.seed": 0,
    }
    run = pipeline.start(*merge(("bench", values)))
    with Counted(pipeline.model.dit) as counted:
        latents = [event.latents_BCTHW for event in run if event.latents_BCTHW is not None]
    return _Ran(seconds=run.stages_s["denoise"], passes=counted.passes, latents_BCTHW=torch.cat(latents, dim=2))
