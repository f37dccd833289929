"""`VideoPipeline`: a prompt or an image in, a clip out; the only place that knows all parts."""

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from vgen.attention import VideoAttention
from vgen.clip import Clip
from vgen.config import GenerateConfig, merge
from vgen.errors import ConfigError
from vgen.frames import Frames
from vgen.images import ImageSource, load_image
from vgen.job import resolve
from vgen.machine import pick_device, pick_dtype
from vgen.models.load import EMBEDDED, LoadedModel, load_model
from vgen.plan import check_memory, free_mib, plan_of
from vgen.run import Event, Run

__all__ = ["Event", "Run", "VideoPipeline"]


class VideoPipeline:
    """Makes clips with one model.

    Args:
        model: as loaded.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model

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
        return cls(load_model(str(model), device=where, dtype=pick_dtype(dtype, where), free_mib=free_mib(where)))

    @property
    def device(self) -> torch.device:
        """Where the transformer runs."""
        return self.model.dit.device

    @property
    def dtype(self) -> torch.dtype:
        """In which precision the transformer runs."""
        return self.model.dit.dtype

    def __call__(
        self,
        prompt: str,
        image: "ImageSource | None" = None,
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
        attention: str | Mapping[str, Any] | None = None,
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
            attention: a pattern or preset, as `radial`; or with its knobs, `{"name": "radial", "decay": 0.3}`.

        Raises:
            VgenError: one of its children, with one line that says what is possible.
        """
        given = {"name": attention} if isinstance(attention, str) else attention or {}
        config, said = merge(
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
                    **{f"attention.{name}": value for name, value in given.items()},
                },
            ),
        )
        return self.start(config, said, image).clip()

    def stream(
        self, prompt: str, image: "ImageSource | None" = None, *, seconds: float | None = None, seed: int | None = None
    ) -> Generator[Frames, None, None]:
        """Chunks of finished frames, uint8 [F, Y, X, 3], as the causal sampler makes them; leave the loop to stop.

        Args:
            prompt, image, seconds, seed: as in `__call__`.
        """
        values = {
            "request.prompt": prompt,
            "request.seconds": seconds,
            "request.seed": seed,
            "sampler.name": "causal",
        }
        for event in self.start(*merge(("call", values)), image):
            if event.frames_FYX3 is not None:
                yield event.frames_FYX3

    def start(
        self,
        config: GenerateConfig,
        said: list[str],
        image: "ImageSource | None" = None,
        *,
        initial_CTHW: Tensor | None = None,
        attention: VideoAttention | None = None,
    ) -> Run:
        """A run that has checked everything and done nothing yet.

        Args:
            config, said: as `vgen.config.merge` returns them. What they say of model, device and dtype must agree with
                this pipeline.
            image: the first frame; `config.request.image` where None.
            initial_CTHW: initial latents in place of the seed's, for comparison with other engines.
            attention: in place of the config's, for comparisons; such a run's record cannot be replayed.

        Raises:
            VgenError: the request cannot be served.
        """
        self._check_same(config, said)
        source = config.request.image if image is None else image
        loaded = None if source is None else load_image(source)
        job = resolve(config, said, self.model, None if loaded is None else loaded.pixels_YX3)
        plan = plan_of(job, self.model)
        check_memory(plan, f"{job.num_frames} frames of {job.width}x{job.height}", free_mib(self.device))
        notes = (*(() if loaded is None else loaded.notes), *job.notes)
        return Run(
            self.model,
            config=config,
            said=said,
            job=job,
            plan=plan,
            notes=notes,
            initial_CTHW=initial_CTHW,
            attention=attention,
        )

    def _check_same(self, config: GenerateConfig, said: list[str]) -> None:
        """A config may repeat what this pipeline is, and nothing else."""
        ours = {
            "model.id": (config.model.id, self.model.id),
            "run.device": (pick_device(config.run.device), self.device),
            "run.dtype": (pick_dtype(config.run.dtype, self.device), self.dtype),
        }
        for key, (asked, is_) in ours.items():
            if key in said and asked != is_:
                raise ConfigError(f"{key}: asked for {asked}, this pipeline was loaded with {is_}; load another")
