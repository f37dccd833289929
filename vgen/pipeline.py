"""`VideoPipeline`: a prompt or an image in, a clip out; the only place that knows all parts.

A run is a generator of events, so progress, preview, streaming and stopping are the caller's `for`.
"""

import platform
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from vgen import __version__
from vgen.clip import Clip
from vgen.config import GenerateConfig, flat, merge
from vgen.errors import ConfigError, ResourceError
from vgen.frames import FramesDigest
from vgen.images import load_image
from vgen.job import Job, resolve
from vgen.models.cache import KVCache
from vgen.models.denoiser import WanDenoiser
from vgen.models.load import EMBEDDED, LoadedModel, load_model
from vgen.models.vae import StreamingDecoder, encode_frames
from vgen.plan import Plan, check_memory, free_mib
from vgen.samplers import Branches, BranchTexts, GivenNoise, Guided, IndependentNoise, NoiseSource, Rollout

__all__ = ["Event", "Run", "VideoPipeline", "pick_device", "pick_dtype"]

RECORD_SCHEMA = 1
RECORDED_PACKAGES = ("torch", "diffusers", "transformers", "numpy")
ImageSource = str | Path | Image | NDArray[np.uint8] | Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a run has done.

    Args:
        stage: `text`, `denoise` or `decode`.
        done, total: units of the stage: prompts, steps, frames.
        frames_FYX3: finished frames, with `decode` alone.
    """

    stage: str
    done: int
    total: int
    frames_FYX3: NDArray[np.uint8] | None = None


class VideoPipeline:
    """Makes clips with one model.

    Args:
        model: as loaded.
        device, dtype: where and in which precision the transformer runs.
    """

    def __init__(self, model: LoadedModel, *, device: torch.device, dtype: torch.dtype) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype

    @classmethod
    def from_pretrained(cls, model: str | Path = EMBEDDED, *, device: str = "auto", dtype: str = "auto") -> Self:
        """Loads a model.

        Args:
            model: `playground`, the one that comes with the package, or a folder in diffusers format.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
            dtype: `auto` (float32 on a CPU, bfloat16 elsewhere), `float32`, `bfloat16` or `float16`.

        Raises:
            ModelError: the model cannot be loaded; the message says why and what to do.
            ConfigError, ResourceError: device or dtype are unknown or absent.
        """
        where = pick_device(device)
        precision = pick_dtype(dtype, where)
        return cls(load_model(str(model), device=where, dtype=precision), device=where, dtype=precision)

    def __call__(
        self,
        prompt: str,
        image: ImageSource | None = None,
        *,
        seconds: float | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        fit: str | None = None,
        fps: int | None = None,
        seed: int | None = None,
        negative_prompt: str | None = None,
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        sampler: str | None = None,
        window: int | None = None,
        sink: int | None = None,
    ) -> Clip:
        """One clip. What is not said, the model card decides.

        Main arguments:
            prompt: what should be seen.
            image: the first frame: a path, a PIL image, uint8 [Y, X, 3], or a float tensor [3, Y, X] in 0..1.
            seconds, num_frames: the length, one or the other; rounded up to what the VAE and the sampler allow.
            seed: the same seed gives the same frames.

        Other arguments:
            height, width: pixels, multiples of the model's grid.
            fit: how an image of another shape is fitted: `crop`, `pad` or `stretch`.
            fps: frames per second of the clip.
            negative_prompt: what should not be seen; needs guidance above 1.
            guidance_scale: weight of the prompt; 1 and below turn guidance off.
            num_inference_steps: steps of the sampler.
            sampler: `full`, `causal`, or another preset of `configs/sampler`.
            window, sink: latent frames that a causal sampler looks back on, and never forgets.

        Raises:
            VgenError: one of its children, with one line that says what is possible.
        """
        config, said = merge(
            ("model", {"model.id": self.model.id}),
            (
                "call",
                {
                    "request.prompt": prompt,
                    "request.seconds": seconds,
                    "request.num_frames": num_frames,
                    "request.height": height,
                    "request.width": width,
                    "request.fit": fit,
                    "request.fps": fps,
                    "request.seed": seed,
                    "request.negative_prompt": negative_prompt,
                    "request.guidance_scale": guidance_scale,
                    "request.num_inference_steps": num_inference_steps,
                    "sampler.name": sampler,
                    "sampler.window": window,
                    "sampler.sink": sink,
                },
            ),
        )
        return self.start(config, said, image).clip()

    def stream(
        self, prompt: str, image: ImageSource | None = None, *, seconds: float | None = None, seed: int | None = None
    ) -> Generator[NDArray[np.uint8], None, None]:
        """Chunks of finished frames, uint8 [F, Y, X, 3], as the causal sampler makes them; leave the loop to stop.

        Args:
            prompt, image, seconds, seed: as in `__call__`.
        """
        values = {
            "request.prompt": prompt,
            "request.seconds": seconds,
            "request.seed": seed,
            "sampler.name": "causal",
            "model.id": self.model.id,
        }
        for event in self.start(*merge(("call", values)), image):
            if event.frames_FYX3 is not None:
                yield event.frames_FYX3

    def start(self, config: GenerateConfig, said: list[str], image: ImageSource | None = None) -> "Run":
        """A run that has checked everything and done nothing yet.

        Args:
            config, said: as `vgen.config.merge` returns them.
            image: the first frame; `config.request.image` where None.

        Raises:
            VgenError: the request cannot be served.
        """
        source = config.request.image if image is None else image
        loaded = None if source is None else load_image(source)
        job = resolve(config, self.model, None if loaded is None else loaded.pixels_YX3)
        plan = self.plan(job)
        check_memory(plan, f"{job.num_frames} frames of {job.width}x{job.height}", self._free_mib())
        return Run(self, config, said, job, plan, (*(() if loaded is None else loaded.notes), *job.notes))

    def plan(self, job: Job) -> Plan:
        """Estimated memory of a job."""
        dit, vae = self.model.dit, self.model.vae
        parts = (dit, vae, self.model.prompts.encoder)
        per_frame = (job.height // 16) * (job.width // 16)
        width = dit.config.num_attention_heads * dit.config.attention_head_dim
        shown = job.frames if job.policy is None else job.policy.capacity + job.schedule.block
        branches = 2 if job.guidance_scale > 1 else 1
        cached = 0 if job.policy is None else 2 * dit.config.num_layers * job.policy.capacity * per_frame * width
        return Plan.of(
            weight_bytes=sum(p.numel() * p.element_size() for part in parts for p in part.parameters()),
            tokens=shown * per_frame,
            width=width,
            ffn=dit.config.ffn_dim,
            value_bytes=self.dtype.itemsize,
            cached_values=branches * cached,
            latent_values=job.frames * vae.config.z_dim * job.height * job.width // 64,
            frame_pixels=job.height * job.width,
            vae_width=vae.config.decoder_base_dim or vae.config.base_dim,
            num_frames=job.num_frames,
        )

    def _free_mib(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.mem_get_info(self.device)[0] / (1 << 20)
        return free_mib()


class Run:
    """One job under way: iterate for events, then ask for the clip or the record.

    Args:
        pipeline: whose model runs.
        config, said: what was asked.
        job, plan: what that became.
        notes: what the user should know before it starts.
    """

    def __init__(
        self,
        pipeline: VideoPipeline,
        config: GenerateConfig,
        said: list[str],
        job: Job,
        plan: Plan,
        notes: tuple[str, ...],
    ) -> None:
        self.pipeline = pipeline
        self.config = config
        self.said = said
        self.job = job
        self.plan = plan
        self.notes = notes
        self.stages_s = {"text": 0.0, "denoise": 0.0, "decode": 0.0}
        self._digest = FramesDigest(height=job.height, width=job.width)
        self._chunks: list[int] = []
        self.latents_BCTHW: list[Tensor] = []

    def __iter__(self) -> Iterator[Event]:
        """Runs the job. Leaving the loop stops it.

        Raises:
            NumericalError: a latent became non-finite; names the step.
        """
        return self.watch()

    def clip(self) -> Clip:
        """Runs the job to its end."""
        return self.collect(self)

    def collect(self, events: Iterator[Event] | Self) -> Clip:
        """The clip of this run's events, which the caller may have watched on the way."""
        chunks = [event.frames_FYX3 for event in events if event.frames_FYX3 is not None]
        return Clip(frames=np.concatenate(chunks), fps=float(self.job.fps), record=self.record())

    def latents(self, initial_CTHW: Tensor) -> Tensor:
        """The final latents from given initial ones, for comparison with other engines."""
        for _ in self.watch(initial_CTHW):
            pass
        return torch.cat(self.latents_BCTHW, dim=2)

    def record(self) -> dict[str, Any]:
        """How the clip was made; complete once the run has ended."""
        model, job = self.pipeline.model, self.job
        dtype = str(self.pipeline.dtype).removeprefix("torch.")
        return {
            "schema": RECORD_SCHEMA,
            "request": {key: value for key, value in flat(self.config).items() if key in self.said},
            "resolved": job.resolved() | {"run.device": str(self.pipeline.device), "run.dtype": dtype},
            "explicit": self.said,
            "seed": job.seed,
            "model": {"id": model.id, "name": model.card.name, "digests": model.digests()},
            "versions": _versions(),
            "machine": _machine(self.pipeline.device),
            "attention": [{"layers": "all", "steps": "all", "pattern": "dense", "executor": "sdpa", "density": 1.0}],
            "image": None if job.image_YX3 is None else _image_digest(job.image_YX3),
            "frames": {"asked": job.asked_frames, "made": sum(self._chunks), "sha256": self._digest.hexdigest()},
            "stages_s": {stage: round(seconds, 3) for stage, seconds in self.stages_s.items()},
            "plan_mib": asdict(self.plan) | {"peak": self.plan.peak},
            "peak_mib": _peak_mib(self.pipeline.device),
            "chunks": self._chunks,
            "notes": list(self.notes),
        }

    def watch(self, initial_CTHW: Tensor | None = None) -> Iterator[Event]:
        """The run's events; `initial_CTHW` are given initial latents in place of the seed's."""
        clock = _Clock(self.stages_s)
        rollout, context = self._rollout(initial_CTHW)
        clock.add("text")
        yield Event(stage="text", done=1, total=1)
        clock.restart()
        decoder = StreamingDecoder(self.pipeline.model.vae)
        total = rollout.schedule.total(self.job.frames, known=0 if self.job.image_YX3 is None else 1)
        for progress in rollout.run(rollout.start(context)):
            clock.add("denoise")
            yield Event(stage="denoise", done=progress.step.index + 1, total=total)
            clock.restart()
            if progress.latents_BCTHW is not None:
                self.latents_BCTHW.append(progress.latents_BCTHW)
                for frame in range(progress.latents_BCTHW.shape[2]):
                    frames = _to_uint8(decoder.push(progress.latents_BCTHW[:, :, frame : frame + 1]))
                    self._digest.update(frames)
                    self._chunks.append(len(frames))
                    clock.add("decode")
                    yield Event(stage="decode", done=sum(self._chunks), total=self.job.num_frames, frames_FYX3=frames)
                    clock.restart()

    def _rollout(self, initial_CTHW: Tensor | None) -> tuple[Rollout[Any], Any]:
        job, model, device = self.job, self.pipeline.model, self.pipeline.device
        text: Any = model.dit.prepare_text(model.prompts(job.prompt).to(model.dit.dtype))
        denoise: Any = WanDenoiser(model.dit)
        context: Any = self._context()
        if job.guidance_scale > 1:
            denoise = Guided(denoise, job.guidance_scale)
            negative = model.dit.prepare_text(model.prompts(job.negative_prompt).to(model.dit.dtype))
            text = BranchTexts(text, negative)
            context = None if context is None else Branches(context, self._context())
        source = NoiseSource(job.seed)
        spatial = model.vae.config.scale_factor_spatial
        rollout: Rollout[Any] = Rollout(
            denoise=denoise,
            schedule=job.schedule,
            table=job.table,
            solver=job.solver,
            noise=IndependentNoise(source) if initial_CTHW is None else GivenNoise(initial_CTHW, source),
            text=text,
            frames=job.frames,
            shape=(model.vae.config.z_dim, job.height // spatial, job.width // spatial),
            policy=job.policy,
            known_CTHW=self._image_latent(),
            device=device,
        )
        return rollout, context

    def _context(self) -> KVCache | None:
        if self.job.policy is None:
            return None
        return KVCache(layers=self.pipeline.model.dit.config.num_layers, capacity=self.job.policy.capacity)

    def _image_latent(self) -> Tensor | None:
        if self.job.image_YX3 is None:
            return None
        vae = self.pipeline.model.vae
        pixels = torch.tensor(self.job.image_YX3, device=vae.device).permute(2, 0, 1)[None, :, None]
        return encode_frames(vae, pixels.to(vae.dtype) / 127.5 - 1.0)[0]


class _Clock:
    """Adds up wall-clock time by stage; what the consumer does between events is not the run's time."""

    def __init__(self, stages_s: dict[str, float]) -> None:
        self.stages_s = stages_s
        self.restart()

    def restart(self) -> None:
        self._since = time.perf_counter()

    def add(self, stage: str) -> None:
        self.stages_s[stage] += time.perf_counter() - self._since
        self.restart()


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device '{name}'; possible: auto, cpu, cuda, cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device '{name}' is not supported; possible: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(f"device '{name}' is not there: {torch.cuda.device_count()} CUDA devices; use --device cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a name; `auto` is float32 on a CPU, bfloat16 elsewhere."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in dtypes:
        raise ConfigError(f"unknown dtype '{name}'; possible: auto, {', '.join(dtypes)}")
    return dtypes[name]


def _to_uint8(frames_BCFYX: Tensor) -> NDArray[np.uint8]:
    pixels_FYX3 = ((frames_BCFYX[0] + 1.0) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0)
    array: NDArray[np.uint8] = pixels_FYX3.contiguous().cpu().numpy()
    return array


def _versions() -> dict[str, str]:
    ours = {"vgen": __version__, "python": platform.python_version()}
    return ours | {name: version(name) for name in RECORDED_PACKAGES}


def _machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "device": name,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / (1 << 20), 1)
    import resource  # not on Windows, where vgen has not been tried

    unit = 1 if platform.system() == "Darwin" else 1024  # bytes there, KiB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 20), 1)


def _image_digest(image_YX3: NDArray[np.uint8]) -> dict[str, Any]:
    digest = FramesDigest(height=image_YX3.shape[0], width=image_YX3.shape[1])
    digest.update(image_YX3[None])
    return {"sha256": digest.hexdigest()}
