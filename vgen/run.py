"""A `Run`: one job under way, as a generator of events, and the record of how it went."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vgen.attention import VideoAttention
from vgen.clip import Clip
from vgen.config import GenerateConfig, flat
from vgen.errors import NumericalError
from vgen.frames import Frames, FramesDigest, digest_of, to_uint8
from vgen.job import Job
from vgen.machine import machine, peak_mib, versions
from vgen.models.cache import KVCache
from vgen.models.denoiser import WanDenoiser
from vgen.models.load import LoadedModel
from vgen.models.vae import StreamingDecoder, encode_frames
from vgen.plan import Plan
from vgen.samplers import Branches, BranchTexts, GivenNoise, Guided, IndependentNoise, NoiseSource, Rollout
from vgen.sparsity import record_rows

__all__ = ["RECORD_SCHEMA", "Event", "Run"]

RECORD_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a run has done.

    Args:
        stage: `text`, `denoise` or `decode`.
        done, total: units of the stage: prompts, steps, frames.
        frames_FYX3: finished frames, with `decode` alone.
        latents_BCTHW: what they were decoded from.
    """

    stage: str
    done: int
    total: int
    frames_FYX3: Frames | None = None
    latents_BCTHW: Tensor | None = None


class Run:
    """One job: iterate once for its events, or ask for the clip; then for the record.

    Args:
        model: what runs it.
        config, said: what was asked.
        job, plan: what that became.
        notes: what the user should know before it starts.
        initial_CTHW: initial latents in place of the seed's, for comparison with other engines.
        attention: in place of the job's, for comparisons.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        config: GenerateConfig,
        said: list[str],
        job: Job,
        plan: Plan,
        notes: tuple[str, ...],
        initial_CTHW: Tensor | None = None,
        attention: VideoAttention | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self.said = said
        self.job = job
        self.plan = plan
        self.notes = notes
        self.initial_CTHW = initial_CTHW
        self.stages_s = {"text": 0.0, "denoise": 0.0, "decode": 0.0}
        self._digest = FramesDigest(height=job.height, width=job.width)
        self._chunks: list[int] = []
        calls = job.table.num_steps * model.dit.config.num_layers * (2 if job.guidance_scale > 1 else 1)
        self._attention = job.attention.build(calls) if attention is None else attention
        self._begun = False

    def __iter__(self) -> Iterator[Event]:
        """Runs the job. Leaving the loop stops it; a second loop is a mistake.

        Raises:
            NumericalError: a latent or a frame became non-finite; names the step or frame.
        """
        assert not self._begun, "a run runs once; start another"
        self._begun = True
        clock = _Clock(self.stages_s)
        rollout, context = self._rollout()
        clock.add("text")
        yield Event(stage="text", done=1, total=1)
        clock.restart()
        decoder = StreamingDecoder(self.model.vae)
        total = self.job.schedule.total(self.job.frames, known=self.job.known)
        for progress in rollout.run(rollout.start(context)):
            clock.add("denoise")
            yield Event(stage="denoise", done=progress.step.index + 1, total=total)
            clock.restart()
            if progress.latents_BCTHW is not None:
                for latent_BCTHW in progress.latents_BCTHW.split(1, dim=2):
                    frames_FYX3 = self._decode(decoder, latent_BCTHW)
                    clock.add("decode")
                    yield Event(
                        stage="decode",
                        done=sum(self._chunks),
                        total=self.job.num_frames,
                        frames_FYX3=frames_FYX3,
                        latents_BCTHW=latent_BCTHW,
                    )
                    clock.restart()

    def clip(self) -> Clip:
        """Runs the job to its end."""
        chunks = [event.frames_FYX3 for event in self if event.frames_FYX3 is not None]
        return Clip(frames=np.concatenate(chunks), fps=float(self.job.fps), record=self.record())

    def record(self) -> dict[str, Any]:
        """How the clip was made; complete once the run has ended."""
        model, job = self.model, self.job
        device, dtype = model.dit.device, str(model.dit.dtype).removeprefix("torch.")
        asked = flat(self.config)
        return {
            "schema": RECORD_SCHEMA,
            "request": {key: asked[key] for key in self.said},
            "resolved": job.resolved() | {"run.device": str(device), "run.dtype": dtype},
            "explicit": self.said,
            "seed": job.seed,
            "model": {"id": model.id, "name": model.card.name, "digests": model.digests()},
            "versions": versions(),
            "machine": machine(device),
            "attention": record_rows(self._attention, job.table.per_step),
            "image": None if job.image_YX3 is None else {"sha256": digest_of(job.image_YX3[None])},
            "frames": {"asked": job.asked_frames, "made": sum(self._chunks), "sha256": self._digest.hexdigest()},
            "stages_s": {stage: round(seconds, 3) for stage, seconds in self.stages_s.items()},
            "plan_mib": asdict(self.plan) | {"peak": self.plan.peak},
            "peak_mib": peak_mib(device),
            "chunks": self._chunks,
            "notes": list(self.notes),
        }

    def _decode(self, decoder: StreamingDecoder, latent_BCTHW: Tensor) -> Frames:
        pixels_FYX3 = (decoder.push(latent_BCTHW)[0].permute(1, 2, 3, 0) + 1.0) / 2.0
        try:
            frames_FYX3 = to_uint8(pixels_FYX3.cpu().numpy())
        except NumericalError as error:
            raise NumericalError(f"the VAE's decoder at latent frame {len(self._chunks)}: {error}") from error
        self._digest.update(frames_FYX3)
        self._chunks.append(len(frames_FYX3))
        return frames_FYX3

    @torch.no_grad()
    def _rollout(self) -> tuple[Rollout[Any], Any]:
        """The sampler's axes, wired to the model, and the empty memory that it fills."""
        job, model = self.job, self.model
        text: Any = self._prepared(job.prompt)
        denoise: Any = WanDenoiser(model.dit, self._attention)
        context: Any = self._context()
        if job.guidance_scale > 1:
            denoise = Guided(denoise, job.guidance_scale)
            text = BranchTexts(text, self._prepared(job.negative_prompt))
            context = None if context is None else Branches(context, self._context())
        source = NoiseSource(job.seed)
        rollout: Rollout[Any] = Rollout(
            denoise=denoise,
            schedule=job.schedule,
            table=job.table,
            solver=job.solver,
            noise=IndependentNoise(source) if self.initial_CTHW is None else GivenNoise(self.initial_CTHW, source),
            text=text,
            frames=job.frames,
            shape=job.latent_shape,
            policy=job.policy,
            known_CTHW=None if job.image_YX3 is None else self._first_latent(job.image_YX3),
            device=model.dit.device,
        )
        return rollout, context

    def _prepared(self, prompt: str) -> Any:
        return self.model.dit.prepare_text(self.model.prompts(prompt).to(self.model.dit.dtype))

    def _context(self) -> KVCache | None:
        if self.job.policy is None:
            return None
        return KVCache(layers=self.model.dit.config.num_layers, capacity=self.job.cache_frames)

    def _first_latent(self, image_YX3: NDArray[np.uint8]) -> Tensor:
        vae = self.model.vae
        pixels_BCFYX = torch.tensor(image_YX3, device=vae.device).permute(2, 0, 1)[None, :, None].to(vae.dtype)
        return encode_frames(vae, pixels_BCFYX / 127.5 - 1.0)[0]


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
