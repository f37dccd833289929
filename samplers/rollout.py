"""`Rollout` walks down a schedule and yields what each step did; the caller's `for` owns progress, preview and stop.

The state is plain data (latents, level counter, solver history, context), so a run can be saved, forked and resumed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from vgen.errors import NumericalError
from vgen.samplers.protocols import Context, ContextPolicy, Denoiser, FrameSchedule, NoisePolicy, Solver, Text
from vgen.samplers.schedule import Step
from vgen.samplers.sigmas import SigmaTable

__all__ = ["Progress", "Rollout", "RolloutState"]

C = TypeVar("C", bound=Context)


@dataclass(slots=True, kw_only=True)
class RolloutState:
    """Where a rollout stands, after whole steps only.

    Args:
        step: index of the next step.
        first_frame: absolute index of the first frame in `x_BCTHW`.
        x_BCTHW: frames that have started and are not committed, fp32.
        history: the solver's.
        context: memory of committed frames; None for schedules that need none.
    """

    step: int
    first_frame: int
    x_BCTHW: Tensor
    history: dict[str, Tensor] = field(default_factory=dict)
    context: Any = None

    def fork(self) -> "RolloutState":
        """An independent copy; the parent is not disturbed by what becomes of it."""
        return RolloutState(
            step=self.step,
            first_frame=self.first_frame,
            x_BCTHW=self.x_BCTHW.clone(),
            history=dict(self.history),
            context=None if self.context is None else self.context.fork(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One finished step.

    Args:
        step: what was done.
        total: steps of the whole run; None without end.
        x0_BCTHW: the model's current guess at the clean frames of the step, for previews.
        latents_BCTHW: the frames of `step.commit`, clean; None where the step finished none.
    """

    step: Step
    total: int | None
    x0_BCTHW: Tensor
    latents_BCTHW: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Generic[C]):
    """The five axes over one denoiser.

    Args:
        denoise: the model, guided or not.
        schedule, solver, noise, policy: the axes; `policy` None keeps every committed frame that the context holds.
        table: sigmas of the schedule's levels.
        text: the prompt as the denoiser wants it.
        frames: latent frames in all; None streams without end.
        shape: channels, rows and columns of a latent frame.
        known_CTHW: leading frames that are given clean (an image's latent).
        device: where latents live.
    """

    denoise: Denoiser[C]
    schedule: FrameSchedule
    table: SigmaTable
    solver: Solver
    noise: NoisePolicy
    text: Text
    frames: int | None
    shape: tuple[int, int, int]
    policy: ContextPolicy | None = None
    known_CTHW: Tensor | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def start(self, context: C | None = None) -> RolloutState:
        """The state before the first step; `context` is empty, or None where nothing is committed to one."""
        empty = torch.empty((1, self.shape[0], 0, *self.shape[1:]), device=self.device)
        return RolloutState(step=0, first_frame=0, x_BCTHW=empty, context=context)

    def run(self, state: RolloutState) -> Iterator[Progress]:
        """Goes on from `state`, which is brought up to date before each yield.

        Raises:
            NumericalError: a prediction became non-finite; names the step and frames.
        """
        known = 0 if self.known_CTHW is None else self.known_CTHW.shape[1]
        total = None if self.frames is None else self.schedule.total(self.frames, known=known)
        for step in self.schedule.steps(self.frames, known=known):
            if step.index < state.step:
                continue
            yield self._advance(state, step, total)

    @torch.no_grad()
    def _advance(self, state: RolloutState, step: Step, total: int | None) -> Progress:
        self._admit(state, step)
        window = slice(step.frames.start - state.first_frame, step.frames.stop - state.first_frame)
        x = state.x_BCTHW[:, :, window]
        frames_T = torch.tensor(list(step.frames))
        if state.context is not None and self.policy is not None:
            state.context.drop(self.policy.expired(step.frames.stop))
        x0 = x
        if step.updates:
            x0 = self._predict(x, step, frames_T, state.context, total)
            x, state.history = self.solver(x, x0, step, self.table, self.noise, state.history)
            state.x_BCTHW = torch.cat(
                (state.x_BCTHW[:, :, : window.start], x, state.x_BCTHW[:, :, window.stop :]), dim=2
            )
        done = self._commit(state, step) if step.commit else None
        state.step = step.index + 1
        return Progress(step=step, total=total, x0_BCTHW=x0, latents_BCTHW=done)

    def _admit(self, state: RolloutState, step: Step) -> None:
        """Gives the frames that the step shows for the first time their noise, or what is known of them."""
        next_frame = state.first_frame + state.x_BCTHW.shape[2]
        fresh = [self._first_latent(frame) for frame in range(next_frame, step.frames.stop)]
        if fresh:
            new = torch.stack(fresh, dim=1)[None].to(self.device)
            state.x_BCTHW = torch.cat((state.x_BCTHW, new), dim=2)

    def _first_latent(self, frame: int) -> Tensor:
        if self.known_CTHW is not None and frame < self.known_CTHW.shape[1]:
            return self.known_CTHW[:, frame].float().to(self.device)
        return self.noise.initial(frame, self.shape).to(self.device)

    def _predict(self, x: Tensor, step: Step, frames_T: Tensor, context: C | None, total: int | None) -> Tensor:
        x0 = self.denoise(
            x,
            self.table.sigma_T(step.level_from)[None].to(self.device),
            frames_T=frames_T,
            text=self.text,
            context=context,
            label_BT=self.table.told_T(step.level_from)[None].to(self.device),
        )
        if not torch.isfinite(x0).all():
            of = "" if total is None else f" of {total}"
            raise NumericalError(
                f"the prediction x0 became non-finite at step {step.index + 1}{of}, latent frames {step.frames.start} "
                f"to {step.frames.stop - 1}; usual cause: weights or dtype (try --dtype float32)"
            )
        return x0

    def _commit(self, state: RolloutState, step: Step) -> Tensor:
        """Takes finished frames out of the state and into the context."""
        count = len(step.commit)
        assert step.commit.start == state.first_frame, "frames finish in order"
        done = state.x_BCTHW[:, :, :count]
        if state.context is not None:
            frames_T = torch.tensor(list(step.commit))
            self.denoise.commit(done, frames_T=frames_T, text=self.text, context=state.context)
        state.x_BCTHW = state.x_BCTHW[:, :, count:]
        state.first_frame += count
        return done
