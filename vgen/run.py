"""A `Run`: one job under way, as a generator of events, and what its record says of how it went.

From the job and the model to a rollout: `vgen/wiring.py`. What stands in a record: `vgen/run_record.py`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vgen.attention import VideoAttention
from vgen.checkpoint import Checkpoint, attempt_row
from vgen.clip import Clip
from vgen.clipwise import attention_of, recorded_rows
from vgen.drift import DriftMeter
from vgen.errors import NumericalError
from vgen.frames import Frames, FramesDigest, to_uint8
from vgen.heap import give_back, giving_back
from vgen.job import Job
from vgen.ladder import FittedVerifier, Ladder
from vgen.models.loaded import LoadedModel
from vgen.models.residence import release_cached
from vgen.models.step_cache import StepCache
from vgen.models.vae import StreamingDecoder
from vgen.parallel.mesh import Mesh
from vgen.parallel.sharing import SharedVerifier, shared_frames
from vgen.performance import Fit, placed_keys
from vgen.plan import check_memory, free_mib, in_one_clip
from vgen.run_record import asked_of, model_row, quantized_keys, run_record
from vgen.samplers import Attempt, Piece, Progress, Rollout, RolloutState, Verifier, redone, replayed
from vgen.schema import GenerateConfig
from vgen.speed import Speed
from vgen.wiring import Wiring

__all__ = ["Event", "Run", "as_frames"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a run has done.

    Args:
        stage: `text`, `denoise`, `verify` or `decode`.
        done, total: units of the stage: prompts, steps, frames. What is made again is counted again, from its start.
        frames_FYX3: finished frames, with `decode` alone.
        latents_BCTHW: what they were decoded from; None for frames of a clip that is gone on from.
        x0_BCTHW: the present guess at the frames of a step, with `denoise` alone; `Run.preview` decodes it.
        attempt: a piece that the verifier has judged, with `verify` alone.
    """

    stage: str
    done: int
    total: int
    frames_FYX3: Frames | None = None
    latents_BCTHW: Tensor | None = None
    x0_BCTHW: Tensor | None = None
    attempt: Attempt | None = None


class Run:
    """One job: iterate once for its events, or ask for the clip; then for the record.

    Args:
        model: what runs it.
        config, said: what was asked.
        job, fit: what that became, and how it is kept in memory.
        notes: what the user should know before it starts.
        initial_CTHW: initial latents in place of the seed's, for comparison with other engines.
        attention: in place of the job's, for comparisons.
        verifier: judges each finished piece where the job redoes those that fail.
        draws: which noise each piece takes, as the search of a recorded run settled on; no verifier is asked then.
        speed: what it is made faster with; nothing where None.
        mesh: the processes that make the clip together, each with a run of the same job; this one alone where None.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        config: GenerateConfig,
        said: list[str],
        job: Job,
        fit: Fit,
        notes: tuple[str, ...],
        initial_CTHW: Tensor | None = None,
        attention: VideoAttention | None = None,
        verifier: Verifier[Any] | None = None,
        draws: tuple[int, ...] | None = None,
        speed: Speed | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        self.mesh = Mesh.solo() if mesh is None else mesh
        assert not job.search.redo or verifier is not None or draws is not None, "nobody to say what is redone"
        self.verifier = verifier
        self.draws = draws
        self.speed = speed or Speed()
        self.model = model
        self.config = config
        self.said = said
        self.job = job
        self.plan = fit.plan
        self._fit = fit
        self._ladder = Ladder(
            model.residence,
            fit.rungs,
            planned_mib=fit.plan.weights + fit.plan.more,
            shared=self.mesh.degrees.replica > 1,
        )
        self.notes = notes
        self.initial_CTHW = initial_CTHW
        self.stages_s = {"text": 0.0, "denoise": 0.0, "decode": 0.0, "write": 0.0}
        self.wall_s = 0.0
        self._digest = FramesDigest(height=job.height, width=job.width)
        self._drift = DriftMeter(fps=float(job.fps), height=job.height, width=job.width)
        self._chunks: list[int] = []
        self._attempts: list[Attempt] = []
        self._drawn: list[int] = []
        calls = job.num_steps * model.dit.config.num_layers * (2 if job.guided else 1)
        if attention is None:
            heads = model.dit.config.num_attention_heads
            attention = attention_of(job, self.mesh.along("clips"), calls, self.mesh.first_head(heads))
        self.attention = attention
        dits = [dit for dit in (model.dit, model.dit_2) if dit is not None]
        self.step_caches = [StepCache(*pair) for pair in zip(dits, job.step_cache.methods, strict=False)]
        self._resumed: int | None = None
        self._begun = False

    @property
    def wiring(self) -> Wiring:
        """What its rollout is put together from."""
        return Wiring(
            model=self.model,
            job=self.job,
            ladder=self._ladder,
            attention=self.attention,
            step_caches=self.step_caches,
            initial_CTHW=self.initial_CTHW,
            speed=self.speed,
            mesh=self.mesh,
        )

    @property
    def resumable(self) -> bool:
        """Whether a killed run can be gone on with, from the pieces that it has finished or judged."""
        return self.job.sampling.in_chunks and self.draws is None

    def __iter__(self) -> Iterator[Event]:
        """Runs the job. Leaving the loop stops it; a second loop is a mistake.

        Raises:
            NumericalError: a latent or a frame became non-finite; names the step or frame.
        """
        return self.events()

    def events(
        self, checkpoint: Checkpoint | None = None, *, resume: bool = False, output: dict[str, Any] | None = None
    ) -> Iterator[Event]:
        """As iterating, with a checkpoint after each chunk. Of several processes each has the same events.

        Args:
            checkpoint: where that is kept, by the main process alone; the others read it where they go on.
            resume: go on from what stands there; the frames that were finished are decoded again and come first.
            output: what the caller writes, kept in the checkpoint as plain JSON.

        Raises:
            NumericalError: a latent or a frame became non-finite; names the step or frame.
            InputError: the checkpoint cannot be written, or is damaged.
            ParallelError: another process has ended, does not answer, or has come to something else.
        """
        assert not self._begun, "a run runs once; start another"
        self._begun, began = True, time.perf_counter()
        on_cpu = self.model.device.type == "cpu"
        try:
            with giving_back(at_once=on_cpu and not self.plan.holes):
                yield from self._all_events(checkpoint, resume, output)
        finally:
            self.wall_s = time.perf_counter() - began
            release_cached()

    def _all_events(
        self, checkpoint: Checkpoint | None, resume: bool, output: dict[str, Any] | None
    ) -> Iterator[Event]:
        clock = _Clock(self.stages_s)
        if self.mesh.degrees.replica > 1:  # their noise too, which hardly shows in what comes out
            self.mesh.together.agree("the request", asked_of(self.job, self.model))
            self.mesh.together.agree("the noise", self.wiring.noise(0).initial(0, self.job.latent_shape, None))
        rollout, context = self.wiring.rollout()
        state = rollout.start(context)
        if checkpoint is not None and resume:
            state = self._gone_on(rollout, context, checkpoint)
            self._resumed = state.front
            self.mesh.together.agree("where the run goes on", [state.step, state.front, len(self._attempts)])
        elif checkpoint is not None and self.mesh.main:
            assert self.job.last_image_YX3 is None, "a clip with a last image is finished as a whole"
            checkpoint.begin(self.record() | {"output": output}, image_YX3=self.job.image_YX3, base=self.job.base)
        give_back()
        clock.add("text")
        yield Event(stage="text", done=1, total=1)
        clock.restart()
        decoder = StreamingDecoder(self.model.vae)
        yield from self._base_frames()
        if checkpoint is not None and resume:
            for frame in range(state.front):
                yield from self._decoded(decoder, frame, checkpoint.finished(range(frame, frame + 1)), clock)
        try:
            yield from self._denoised(rollout, state, decoder, checkpoint, clock)
        finally:
            for cache in self.step_caches:
                cache.release()
            if self.speed.graphs is not None:
                self.speed.graphs.release()

    def _gone_on(self, rollout: Rollout[Any], context: Any, checkpoint: Checkpoint) -> RolloutState:
        """Where a killed run goes on: a search with what it has judged, another from its last chunk."""
        if self.job.search.redo:
            self._attempts = checkpoint.attempts()
            return rollout.start(context)
        device = self.model.device
        state = checkpoint.state(context, device)
        rollout.resume(state, lambda frames: checkpoint.finished(frames).to(device))
        return state

    def clip(self) -> Clip:
        """Runs the job to its end.

        Raises:
            ResourceError: all its frames together do not fit into memory; iterating hands them on one by one.
            NumericalError: as iterating.
        """
        job, self.plan = self.job, in_one_clip(self.plan, self.job)
        what, free = f"a Clip of {job.num_frames} frames of {job.width}x{job.height}", free_mib(self.model.device)
        if self.plan.more > free:
            self.plan = replace(self.plan, holes=0.0)
        check_memory(self.plan, what, free)
        chunks = [event.frames_FYX3 for event in self if event.frames_FYX3 is not None]
        return Clip(frames=np.concatenate(chunks), fps=float(self.job.fps), record=self.record())

    def preview(self, x0_BCTHW: Tensor) -> Frames:
        """A frame for each latent of a guess, uint8 [T, Y, X, 3]; the first is decoded as if a clip began there."""

        def step() -> Frames:
            self.model.residence.use("vae")
            decoder = StreamingDecoder(self.model.vae)
            shown = [decoder.push(latent_BCTHW)[:, :, -1:] for latent_BCTHW in x0_BCTHW.split(1, dim=2)]
            return as_frames(torch.cat(shown, dim=2))

        return self._ladder.attempt("preview", step)

    def guess(self, x0_BCTHW: Tensor) -> Frames:
        """The whole clip as the model sees it now, uint8 [F, Y, X, 3]."""
        return as_frames(self._pushed(StreamingDecoder(self.model.vae), x0_BCTHW))

    def record(self) -> dict[str, Any]:
        """How the clip was made; complete once the run has ended."""
        model, job = self.model, self.job
        return run_record(
            self,
            device=model.device,
            dtype=model.dit.dtype,
            kept=placed_keys(self._ladder.placement) | self.speed.keys() | quantized_keys(model),
            model=model_row(model),
            quantization=model.quantization,
            prompts=job.seen(model.vae.config.scale_factor_temporal),
            attention=recorded_rows(self.attention, job.sampling.table.per_step),
            step_cache=[cache.report() for cache in self.step_caches],
            base=job.base,
            chunks=self._chunks,
            sha256=self._digest.hexdigest(),
            drift=self._drift.report() if self._chunks else None,
            search=self._search_record() if job.search.redo or self.draws is not None else None,
            performance={"chosen": self._fit.why, "rungs_taken": list(self._ladder.taken)} | self.speed.report(),
            resumed_at=self._resumed,
            parallel=None if self.mesh.world.size == 1 else self.mesh.record(),
        )

    def _denoised(
        self,
        rollout: Rollout[Any],
        state: RolloutState,
        decoder: StreamingDecoder,
        checkpoint: Checkpoint | None,
        clock: "_Clock",
    ) -> Iterator[Event]:
        total = rollout.total
        assert total is not None, "a job has an end"
        for made in self._searched(rollout, state):
            if isinstance(made, Progress):
                clock.add("denoise")
                yield Event(stage="denoise", done=made.move.index + 1, total=total, x0_BCTHW=made.x0_BCTHW)
                clock.restart()
            elif isinstance(made, Attempt):
                clock.add("verify")
                self._attempts.append(made)
                if checkpoint is not None and self.mesh.main:
                    checkpoint.keep_attempts(self._attempts)
                yield Event(stage="verify", done=made.frames.stop, total=self.job.frames, attempt=made)
                clock.restart()
            else:
                yield from self._finished(made, decoder, None if self.job.search.redo else checkpoint, clock)

    def _searched(self, rollout: Rollout[Any], state: RolloutState) -> Iterator[Progress | Attempt | Piece]:
        """The rollout's steps and pieces, made anew from before what is wrong where the job asks for it."""
        redo = self.job.search.redo
        if self.draws is not None:
            yield from replayed(rollout, state, noise_of=self.wiring.noise, draws=self.draws)
        elif redo:
            assert self.verifier is not None
            known = tuple(self._attempts)
            fitted = FittedVerifier(verifier=self.verifier, ladder=self._ladder, residence=self.model.residence)
            verifier = SharedVerifier(verifier=fitted, peers=self.mesh.together)
            yield from redone(rollout, state, verifier, noise_of=self.wiring.noise, redo=redo, known=known)
        else:
            yield from _pieces(rollout, state)

    def _finished(
        self, piece: Piece, decoder: StreamingDecoder, checkpoint: Checkpoint | None, clock: "_Clock"
    ) -> Iterator[Event]:
        """Keeps and decodes a piece."""
        self._drawn.append(piece.draw)
        if piece.latents_BCTHW is None:
            return
        frames = piece.frames
        self.mesh.together.agree(f"latent frames {frames.start} to {frames.stop - 1}", piece.latents_BCTHW)
        if checkpoint is not None and self.mesh.main:
            checkpoint.add(piece.state, piece.frames.start, piece.latents_BCTHW)
        if not self._chunks:
            give_back()
        clock.restart()
        for frame, latent_BCTHW in zip(piece.frames, piece.latents_BCTHW.split(1, dim=2), strict=True):
            yield from self._decoded(decoder, frame, latent_BCTHW, clock)

    def _search_record(self) -> dict[str, Any]:
        """What was tried, and which noise each piece took: enough to make the clip again without judging."""
        tried = [attempt_row(one) for one in self._attempts]
        return {"draws": self._drawn, "attempts": tried}

    def _base_frames(self) -> Iterator[Event]:
        """The clip that is gone on from, as it is."""
        if self.job.base is not None:
            frames_FYX3 = self.job.base.frames
            self._take(frames_FYX3)
            yield Event(stage="decode", done=len(frames_FYX3), total=self.job.num_frames, frames_FYX3=frames_FYX3)

    def _decoded(self, decoder: StreamingDecoder, frame: int, latent_BCTHW: Tensor, clock: "_Clock") -> Iterator[Event]:
        """The frames of one latent frame; those of a clip that is gone on from are there already."""
        pixels_BCFYX = self._pushed(decoder, latent_BCTHW) if self.mesh.main else None
        if self.job.base is not None and frame < self.job.known:
            return
        try:
            own_FYX3 = None if pixels_BCFYX is None else as_frames(pixels_BCFYX)
        except NumericalError as error:
            raise NumericalError(f"the VAE's decoder at latent frame {frame}: {error}") from error
        frames_FYX3 = shared_frames(self.mesh.together, own_FYX3)
        self._take(frames_FYX3)
        clock.add("decode")
        yield Event(
            stage="decode",
            done=sum(self._chunks),
            total=self.job.num_frames,
            frames_FYX3=frames_FYX3,
            latents_BCTHW=latent_BCTHW,
        )
        clock.restart()

    def _pushed(self, decoder: StreamingDecoder, latents_BCTHW: Tensor) -> Tensor:
        def step() -> Tensor:
            self.model.residence.use("vae")
            return decoder.push(latents_BCTHW)

        return self._ladder.attempt("decode", step)

    def _take(self, frames_FYX3: Frames) -> None:
        self._digest.update(frames_FYX3)
        self._drift.add(frames_FYX3)
        self._chunks.append(len(frames_FYX3))


def as_frames(pixels_BCFYX: Tensor) -> Frames:
    """What a decoder hands out, in -1..1, as the frames of one clip.

    Raises:
        NumericalError: a pixel is not finite.
    """
    pixels_FYX3 = (pixels_BCFYX[0].permute(1, 2, 3, 0) + 1.0) / 2.0
    return to_uint8(pixels_FYX3.cpu().numpy())


def _pieces(rollout: Rollout[Any], state: RolloutState) -> Iterator[Progress | Piece]:
    """A rollout without a search: pieces as soon as anything is finished."""
    for progress in rollout.run(state):
        yield progress
        done = progress.latents_BCTHW
        if done is not None:
            frames = range(state.front - done.shape[2], state.front)
            yield Piece(frames=frames, draw=0, given=False, latents_BCTHW=done, state=state)


class _Clock:
    """Adds up wall-clock time by stage; what the consumer does between events is not the run's time."""

    def __init__(self, stages_s: dict[str, float]) -> None:
        self.stages_s = stages_s
        self.restart()

    def restart(self) -> None:
        self._since = time.perf_counter()

    def add(self, stage: str) -> None:
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + time.perf_counter() - self._since
        self.restart()
