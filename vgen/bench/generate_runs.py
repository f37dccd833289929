"""One clip of `vgen bench generate`, by one engine: seconds of its stages and of each forward pass, and what came.

Both engines are called as their users call them. Stages are told by the same clock on both sides, which waits for the
device; a stage ends where the next one begins. On a CPU it also counts the processor's time, children's included, which
other work on the machine touches least.

text       from the call to the prompts' states; ours plans its memory there too
denoise    to the last latents
decode     to frames in the host's memory, of 8 bits (ours) or float32 (stock); ours takes their digest and drift there
write      an mp4, by each engine's own writer: x264 (crf 16, preset medium), checked by reading it back (ours);
           `export_to_video` at its default quality (stock)

On a CPU the C library keeps freed memory for both engines, as it does by itself once large tensors were freed.
"""

import gc
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from diffusers import WanPipeline
from diffusers.utils import export_to_video
from numpy.typing import NDArray
from torch import Tensor, nn

from vgen.config import merge
from vgen.models.residence import release_cached
from vgen.pipeline import VideoPipeline
from vgen.run import Run
from vgen.sparsity import record_rows
from vgen.video.write import open_writer

__all__ = ["STAGES", "Clock", "Forwards", "Made", "Request", "stock_clip", "vgen_clip"]

STAGES = ("text", "denoise", "decode", "write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A clip, as both engines are asked for it.

    Args:
        prompt, negative_prompt: as written; the latter None without guidance.
        height, width, num_frames, fps: of the clip.
        steps, guidance: of the sampler.
        text_length: tokens of a prompt.
        initial_CTHW: what it starts from.
    """

    prompt: str
    negative_prompt: str | None
    height: int
    width: int
    num_frames: int
    fps: int
    steps: int
    guidance: float
    text_length: int
    initial_CTHW: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What came of a request.

    Args:
        stages_s: wall clock of STAGES.
        busy_s: processor time of the same.
        forward_s: of every pass of the transformer.
        peak_mib: the most memory that was held meanwhile, weights included; None where the system does not say it.
        latents_BCTHW: before decoding.
        frames_FYX3: in 0..1.
        attention: rows as a record holds them; ours alone.
    """

    stages_s: dict[str, float]
    busy_s: dict[str, float]
    forward_s: list[float]
    peak_mib: float | None
    latents_BCTHW: Tensor
    frames_FYX3: NDArray[np.float32]
    attention: list[dict[str, Any]]


class Clock:
    """Adds up seconds by stage, once the device has done what it was told.

    Args:
        device: that is waited for.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stages_s = dict.fromkeys(STAGES, 0.0)
        self.busy_s = dict.fromkeys(STAGES, 0.0)
        self._since = self._now()

    def ends(self, stage: str) -> None:
        """What was done since the last call was this stage."""
        now = self._now()
        self.stages_s[stage] += now[0] - self._since[0]
        self.busy_s[stage] += now[1] - self._since[1]
        self._since = now

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in spent)


class Forwards:
    """Times the passes of a module within a `with` block, without waiting for the device.

    Args:
        module: whose passes.
        device: where it runs.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module, self._device = module, device
        self._marks: list[Any] = []
        self._handles: list[Any] = []

    def __enter__(self) -> "Forwards":
        mark: Callable[..., None] = lambda *_: self._marks.append(self._mark())  # noqa: E731
        self._handles = [self._module.register_forward_pre_hook(mark), self._module.register_forward_hook(mark)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def seconds(self) -> list[float]:
        """Of each pass, in order; the device has finished them."""
        pairs = zip(self._marks[::2], self._marks[1::2], strict=True)
        if self._device.type == "cuda":
            return [begun.elapsed_time(ended) / 1e3 for begun, ended in pairs]
        return [ended - begun for begun, ended in pairs]

    def _mark(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def vgen_clip(pipeline: VideoPipeline, request: Request, keys: Mapping[str, Any]) -> Made:
    """Ours.

    Args:
        pipeline: whose model runs.
        request: the clip.
        keys: config keys beside those of the request, as of sparse attention.
    """
    values = {
        "request.prompt": request.prompt,
        "request.negative_prompt": request.negative_prompt,
        "request.height": request.height,
        "request.width": request.width,
        "request.num_frames": request.num_frames,
        "request.num_inference_steps": request.steps,
        "request.guidance_scale": request.guidance,
        "request.seed": 0,
    }
    latents: list[Tensor] = []
    frames: list[NDArray[np.uint8]] = []
    device = pipeline.device
    with _clean(device) as peak, Forwards(pipeline.model.dit, device) as forwards:
        clock = Clock(device)
        run = pipeline.start(*merge(("bench", {**values, **keys})), initial_CTHW=request.initial_CTHW)
        assert isinstance(run, Run), "a model of Wan's kind"
        for event in run:
            clock.ends(event.stage)
            latents += [] if event.latents_BCTHW is None else [event.latents_BCTHW]
            frames += [] if event.frames_FYX3 is None else [event.frames_FYX3]
        peak_mib = peak()
        with _written() as path:
            clock.ends("decode")
            with open_writer(path, fps=request.fps, height=request.height, width=request.width) as writer:
                for chunk_FYX3 in frames:
                    writer.write(chunk_FYX3)
            clock.ends("write")
    return Made(
        stages_s=clock.stages_s,
        busy_s=clock.busy_s,
        forward_s=forwards.seconds,
        peak_mib=peak_mib,
        latents_BCTHW=torch.cat(latents, dim=2).float().cpu(),
        frames_FYX3=np.concatenate(frames).astype(np.float32) / 255.0,
        attention=record_rows(run.attention, run.job.levels),
    )


def stock_clip(stock: WanPipeline, request: Request) -> Made:
    """diffusers', by its one call, in which the ends of stages are noted."""
    device = stock.transformer.device
    last: dict[str, Tensor] = {}

    def keep(_pipeline: Any, _step: int, _t: Any, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        last["latents"] = kept["latents"]
        return {}

    with _clean(device) as peak, Forwards(stock.transformer, device) as forwards:
        clock = Clock(device)
        with _noted(stock, clock):
            frames_FYX3 = stock(
                prompt=request.prompt,
                negative_prompt=request.negative_prompt,
                height=request.height,
                width=request.width,
                num_frames=request.num_frames,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance,
                max_sequence_length=request.text_length,
                latents=request.initial_CTHW[None].to(device, copy=True),
                callback_on_step_end=keep,
                output_type="np",
            ).frames[0]
            clock.ends("decode")
        peak_mib = peak()
        with _written() as path:
            clock.ends("decode")
            export_to_video(list(frames_FYX3), str(path), fps=request.fps)
            clock.ends("write")
    return Made(
        stages_s=clock.stages_s,
        busy_s=clock.busy_s,
        forward_s=forwards.seconds,
        peak_mib=peak_mib,
        latents_BCTHW=last["latents"].float().cpu(),
        frames_FYX3=frames_FYX3,
        attention=[],
    )


@contextmanager
def _noted(stock: WanPipeline, clock: Clock) -> Iterator[None]:
    """Ends the stages where the pipeline has read the prompts, and where it turns to the VAE."""
    encode_prompt, decode = stock.encode_prompt, stock.vae.decode

    def encoding(*args: Any, **kwargs: Any) -> Any:
        states = encode_prompt(*args, **kwargs)
        clock.ends("text")
        return states

    def decoding(*args: Any, **kwargs: Any) -> Any:
        clock.ends("denoise")
        return decode(*args, **kwargs)

    stock.encode_prompt, stock.vae.decode = encoding, decoding
    try:
        yield
    finally:
        del stock.encode_prompt, stock.vae.decode


@contextmanager
def _clean(device: torch.device) -> Iterator[Callable[[], float | None]]:
    """Begins with no memory held for later, and tells the most that was held since."""
    gc.collect()
    release_cached()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) / 2**20
        return
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():  # not Linux
        yield lambda: None
        return
    reset.write_text("5")

    def peak() -> float:
        told = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(told.split()[1]) / 1024

    yield peak


@contextmanager
def _written() -> Iterator[Path]:
    """Where a clip is written, and then gone."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "clip.mp4"
