"""A `StockRun`: one job of a stock pipeline under way, with the face of a `Run`, and the record of how it went."""

import copy
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_dispatch import attention_backend
from torch import Tensor

from vgen.attention import VideoAttention
from vgen.checkpoint import Checkpoint
from vgen.clip import Clip
from vgen.drift import DriftMeter
from vgen.errors import ModelError, NumericalError
from vgen.frames import Frames, digest_of
from vgen.models.families import install
from vgen.models.stock.family import stacked_noise
from vgen.models.stock.model import StockModel
from vgen.parallel.mesh import Mesh
from vgen.plan import Plan, check_memory, free_mib
from vgen.run import Event, as_frames
from vgen.run_record import run_record
from vgen.schema import GenerateConfig
from vgen.sparsity import record_rows
from vgen.stock.job import StockJob, layers_of
from vgen.stock.steps import steps_of

__all__ = ["StockRun"]


class StockRun:
    """One job: iterate once for its events, or ask for the clip; then for the record.

    Args:
        model: what runs it.
        config, said: what was asked.
        job, plan: what that became.
        notes: what the user should know before it starts.
        initial_CTHW: initial latents in place of the seed's, for comparison with other engines.
        attention: in place of the job's, for comparisons.
        mesh: as of a `Run`; processes share clips out, and none of them.
    """

    resumable = False

    def __init__(
        self,
        model: StockModel,
        *,
        config: GenerateConfig,
        said: list[str],
        job: StockJob,
        plan: Plan,
        notes: tuple[str, ...],
        initial_CTHW: Tensor | None = None,
        attention: VideoAttention | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        self.mesh = Mesh.solo() if mesh is None else mesh
        self.model = model
        self.config = config
        self.said = said
        self.job = job
        self.plan = plan
        self.notes = notes
        self.initial_CTHW = initial_CTHW
        self.stages_s = {"text": 0.0, "denoise": 0.0, "decode": 0.0, "write": 0.0}
        self.wall_s = 0.0
        calls = job.num_steps * layers_of(model) * (2 if job.branched else 1)
        self._attention = job.attention.build(calls) if attention is None else attention
        self._installed = attention is not None or job.attention.pattern != "dense"
        self._frames_FYX3: Frames | None = None
        self._begun = False

    def __iter__(self) -> Iterator[Event]:
        """Runs the job. Leaving the loop stops it; a second loop is a mistake.

        Raises:
            NumericalError: a latent or a frame became non-finite; names the step.
            ModelError: the VAE makes other sizes than its config says.
        """
        return self.events()

    def events(
        self, checkpoint: Checkpoint | None = None, *, resume: bool = False, output: dict[str, Any] | None = None
    ) -> Iterator[Event]:
        """As iterating. A clip is finished as a whole, so that there is nothing to go on from.

        Args:
            checkpoint, resume: none.
            output: what the caller writes.
        """
        assert checkpoint is None and not resume, "a stock pipeline finishes its clip as a whole"
        assert not self._begun, "a run runs once; start another"
        self._begun, began = True, time.perf_counter()
        family, job, model = self.model.family, self.job, self.model
        with self._timed("text"), torch.no_grad():
            pipe = self._own_pipe()
            texts = family.encode(pipe, job)
        yield Event(stage="text", done=1, total=1)
        given = yield from self._denoised(pipe, texts)
        with self._timed("decode"), torch.no_grad():
            latents_BCTHW = family.unpacked(pipe, given, (job.latent_shape[0], job.frames, *job.latent_shape[2:]))
            frames_FYX3 = self._decoded(pipe, latents_BCTHW)
        if frames_FYX3.shape[:3] != (job.num_frames, job.height, job.width):
            raise ModelError(
                f"model '{model.id}': its VAE makes {frames_FYX3.shape[:3]} of {latents_BCTHW.shape[2:]} latents, its "
                f"config promises {(job.num_frames, job.height, job.width)}"
            )
        self._frames_FYX3, self.wall_s = frames_FYX3, time.perf_counter() - began
        yield Event(
            stage="decode",
            done=job.num_frames,
            total=job.num_frames,
            frames_FYX3=frames_FYX3,
            latents_BCTHW=latents_BCTHW,
        )

    def clip(self) -> Clip:
        """Runs the job to its end.

        Raises:
            ResourceError: it does not fit into memory.
            NumericalError: as iterating.
        """
        job = self.job
        what = f"a Clip of {job.num_frames} frames of {job.width}x{job.height}"
        check_memory(self.plan, what, free_mib(self.model.dit.device))
        frames_FYX3 = np.concatenate([event.frames_FYX3 for event in self if event.frames_FYX3 is not None])
        return Clip(frames=frames_FYX3, fps=float(job.fps), record=self.record())

    def preview(self, x0_BCTHW: Tensor) -> Frames:
        """As `Run.preview`; its own events hold no guesses."""
        with torch.no_grad():
            return self._decoded(self.model.pipe, x0_BCTHW)

    def record(self) -> dict[str, Any]:
        """How the clip was made, as `Run.record`; complete once the run has ended."""
        model, job, made = self.model, self.job, self._frames_FYX3
        return run_record(
            self,
            device=model.dit.device,
            dtype=model.dit.dtype,
            model={
                "id": model.id,
                "commit": model.commit,
                "variant": None if model.variant is None else model.variant.name,
                "name": model.card.name,
                "pipeline": model.pipeline,
                "digests": model.digests(),
                "lora": [],
                "lora_fused": False,
                "quantization": None,
            },
            prompts=job.seen(),
            attention=record_rows(self._attention, job.levels),
            chunks=[] if made is None else [len(made)],
            sha256=None if made is None else digest_of(made),
            drift=None if made is None else self._drift(made),
            parallel=None if self.mesh.world.size == 1 else self.mesh.record(),
        )

    def _own_pipe(self) -> Any:
        """The model's pipeline with a scheduler of its own, whose state is the run's."""
        pipe = copy.copy(self.model.family.for_shot(self.model.pipe, self.job))
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def _denoised(self, pipe: Any, texts: dict[str, Tensor]) -> Generator[Event, None, Tensor]:
        """The steps, and at the end what the pipeline hands out."""
        total, done = self.job.num_steps, 0
        steps: Generator[int, None, Tensor] = steps_of(partial(self._called, pipe, texts))
        try:
            while True:
                with self._timed("denoise"):
                    try:
                        done = next(steps)
                    except StopIteration as end:
                        return end.value
                yield Event(stage="denoise", done=done, total=total)
        finally:
            steps.close()

    @torch.no_grad()
    def _called(self, pipe: Any, texts: dict[str, Tensor], report: Callable[[int], None]) -> Tensor:
        """One call of the pipeline, from noise to the latents that it hands out; reports each step."""
        job, stack = self.job, ExitStack()

        def after_step(_: Any, index: int, timestep: object, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            if not torch.isfinite(tensors["latents"]).all():
                raise NumericalError(
                    f"the latents became non-finite at step {index + 1} of {job.num_steps}; usual cause: weights or "
                    "dtype (try --dtype float32)"
                )
            stack.close()  # nothing of ours stands while the caller has the word
            report(index + 1)
            self._enter(stack)
            return {}

        generator = job.noise.generator("pipeline")
        noise_BCTHW = (
            stacked_noise(job.noise, job.latent_shape) if self.initial_CTHW is None else self.initial_CTHW[None]
        )
        arguments = self.model.family.arguments(pipe, job, noise_BCTHW.to(pipe.transformer.device), generator)
        with stack:
            self._enter(stack)
            given: Tensor = pipe(
                height=job.height,
                width=job.width,
                num_frames=job.num_frames,
                num_inference_steps=job.num_inference_steps,
                output_type="latent",
                return_dict=False,
                callback_on_step_end=after_step,
                **texts,
                **arguments,
            )[0]
        return given

    def _enter(self, stack: ExitStack) -> None:
        """What must stand while the transformer runs."""
        stack.enter_context(attention_backend("native"))  # whatever the environment says
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "In CPU autocast", UserWarning)  # of diffusers' Mochi, on every step
        if self._installed:
            stack.enter_context(install(self.model.dit, self._attention))

    def _decoded(self, pipe: Any, latents_BCTHW: Tensor) -> Frames:
        pixels_BCFYX = self.model.family.decode(pipe, self.job, latents_BCTHW)
        try:
            return as_frames(pixels_BCFYX.float().clamp(-1.0, 1.0))
        except NumericalError as error:
            raise NumericalError(f"the VAE's decoder: {error}") from error

    def _drift(self, frames_FYX3: Frames) -> dict[str, Any]:
        meter = DriftMeter(fps=float(self.job.fps), height=self.job.height, width=self.job.width)
        meter.add(frames_FYX3)
        return meter.report()

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        since = time.perf_counter()
        try:
            yield
        finally:
            self.stages_s[stage] += time.perf_counter() - since
