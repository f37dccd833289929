"""`Rollout` walks down a schedule and yields what each step did; the caller's `for` owns progress, preview and stop.

The state is plain data (latents by frame, step counter, solver history) and a context that finished frames rebuild, so
a run can be saved, forked and resumed.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from vgen.errors import NumericalError
from vgen.samplers.prompts import Cue, Timeline
from vgen.samplers.protocols import (
    Context,
    ContextPolicy,
    Denoiser,
    FrameSchedule,
    NoisePolicy,
    PromptSchedule,
    Solver,
)
from vgen.samplers.sigmas import SigmaTable
from vgen.samplers.steps import Lift, Move, Step

__all__ = ["Progress", "Rollout", "RolloutState"]

C = TypeVar("C", bound=Context)


@dataclass(slots=True, kw_only=True)
class RolloutState:
    """Where a rollout stands, after whole steps only.

    Args:
        step: index of the next move.
        front: the first frame that is not finished.
        latents: [B, C, H, W] by absolute frame, fp32: all that are under way, and finished ones that are still needed.
            The tensors are never written to.
        history: the solver's.
        context: memory of committed frames; None for schedules that need none.
        since: first frame of the prompt that the context was last made under.
    """

    step: int = 0
    front: int = 0
    latents: dict[int, Tensor] = field(default_factory=dict)
    history: dict[str, Tensor] = field(default_factory=dict)
    context: Any = None
    since: int = 0

    def fork(self) -> "RolloutState":
        """An independent copy; the parent is not disturbed by what becomes of it."""
        return RolloutState(
            step=self.step,
            front=self.front,
            latents=dict(self.latents),
            history=dict(self.history),
            context=None if self.context is None else self.context.fork(),
            since=self.since,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """All but the context, which `Rollout.resume` rebuilds, as tensors."""
        numbers = {
            "step": torch.tensor(self.step),
            "front": torch.tensor(self.front),
            "since": torch.tensor(self.since),
        }
        latents = {f"latent.{frame}": latent for frame, latent in self.latents.items()}
        return numbers | latents | {f"history.{key}": value for key, value in self.history.items()}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor], *, context: Any = None) -> "RolloutState":
        """The inverse of `state_dict`, with a context that is brought back otherwise."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

        return cls(
            step=int(state["step"]),
            front=int(state["front"]),
            latents={int(frame): latent for frame, latent in under("latent.").items()},
            history=under("history."),
            context=context,
            since=int(state["since"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One finished move.

    Args:
        move: what was done.
        total: moves of the whole run; None without end.
        x0_BCTHW: the model's current guess at the clean frames of the step, for previews; None where it was not asked.
        latents_BCTHW: frames that were finished, clean; None where there are none.
    """

    move: Move
    total: int | None
    x0_BCTHW: Tensor | None
    latents_BCTHW: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Generic[C]):
    """The five axes over one denoiser.

    Args:
        denoise: the model, guided or not.
        schedule, solver, noise, policy, prompts: the axes; without a policy a step sees its own frames alone.
        table: sigmas of the schedule's levels.
        frames: latent frames in all; None streams without end.
        shape: channels, rows and columns of a latent frame.
        known_CTHW: leading frames that are given clean (an image's latent, a clip to go on from).
        device: where latents live.
    """

    denoise: Denoiser[C]
    schedule: FrameSchedule
    table: SigmaTable
    solver: Solver
    noise: NoisePolicy
    frames: int | None
    shape: tuple[int, int, int]
    policy: ContextPolicy | None = None
    prompts: PromptSchedule = field(default_factory=Timeline)
    known_CTHW: Tensor | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def known(self) -> int:
        """How many leading frames are given."""
        return 0 if self.known_CTHW is None else self.known_CTHW.shape[1]

    @property
    def total(self) -> int | None:
        """Moves of the whole run; None without end."""
        return None if self.frames is None else self.schedule.total(self.frames, known=self.known)

    def start(self, context: C | None = None) -> RolloutState:
        """The state before the first step; `context` is empty, or None where nothing is committed to one."""
        return RolloutState(context=context)

    def run(self, state: RolloutState) -> Iterator[Progress]:
        """Goes on from `state`, which is brought up to date before each yield.

        Raises:
            NumericalError: a prediction became non-finite; names the step and frames.
        """
        total = self.total
        for move in self.schedule.steps(self.frames, known=self.known):
            if move.index >= state.step:
                yield self._advance(state, move, total)

    @torch.no_grad()
    def resume(self, state: RolloutState, finished: Callable[[range], Tensor]) -> None:
        """Fills the empty context of a state that was saved, by committing again what was committed before.

        The same passes over the same frames in the same order, so it becomes what it was to the last bit.

        Args:
            state: as `RolloutState.from_state_dict` gives it, with an empty context.
            finished: the clean latents [1, C, T, H, W] of frames that the saved run had finished.
        """
        if state.context is None:
            return
        past = RolloutState(context=state.context)
        for move in self.schedule.steps(self.frames, known=self.known):
            if move.index >= state.step:
                return
            if isinstance(move, Lift):
                continue
            self._remember(past, move)
            if move.commit:
                done = finished(move.commit)
                past.latents |= {frame: done[:, :, i] for i, frame in enumerate(move.commit)}
                self._commit(past, move.commit)
                self._release(past)

    @torch.no_grad()
    def _advance(self, state: RolloutState, move: Move, total: int | None) -> Progress:
        x0 = None
        done = None
        if isinstance(move, Lift):
            self._lift(state, move)
        else:
            self._admit(state, move.frames)
            self._remember(state, move)
            if move.updates:
                x0 = self._denoise(state, move, total)
            done = self._commit(state, move.commit) if move.commit else None
        self._release(state)
        state.step = move.index + 1
        return Progress(move=move, total=total, x0_BCTHW=x0, latents_BCTHW=done)

    def _admit(self, state: RolloutState, frames: range) -> None:
        """Gives the frames that a step shows for the first time their noise, or what is known of them."""
        for frame in frames:
            if frame not in state.latents:
                state.latents[frame] = self._first_latent(state, frame)

    def _first_latent(self, state: RolloutState, frame: int) -> Tensor:
        if self.known_CTHW is not None and 0 <= frame < self.known:
            return self.known_CTHW[None, :, frame].float().to(self.device)
        before = state.latents.get(frame - 1)
        noise = self.noise.initial(frame, self.shape, None if before is None else before[0].cpu())
        return noise[None].to(self.device)

    def _lift(self, state: RolloutState, move: Lift) -> None:
        """x = (1 - sigma) x0 + sigma eps; frames that were there before get noise again, new ones their first."""
        if any(source not in state.latents for source in move.sources):
            self._admit(state, range(self.known))
        clean_BCTHW = _stack([state.latents[source] for source in move.sources])
        again_CTHW = self.noise.again(clean_BCTHW[0].cpu(), move.frames, move.index)
        lifted: dict[int, Tensor] = {}
        for i, (frame, level) in enumerate(zip(move.frames, move.levels, strict=True)):
            sigma = self.table.sigmas[level]
            new = frame not in state.latents
            noise = self.noise.initial(frame, self.shape, None) if new else again_CTHW[:, i]
            clean = clean_BCTHW[:, :, i]
            lifted[frame] = clean if level == 0 else (1 - sigma) * clean + sigma * noise[None].to(clean)
        state.latents |= lifted
        state.front = min(state.front, move.frames.start)

    def _remember(self, state: RolloutState, step: Step) -> None:
        """Brings the context to what the step may see."""
        if self.policy is None or state.context is None:
            return
        since = self.prompts.since(step.frames.start)
        if since != state.since and self.policy.on_prompt == "recache":
            self._recache(state, step, since)
        state.since = since
        state.context.drop(self.policy.expired(step.frames.stop, since))

    def _recache(self, state: RolloutState, step: Step, since: int) -> None:
        """Shows the model all that it remembers once more, block by block, under the prompt that begins."""
        policy = self.policy
        assert policy is not None
        seen = [f for f in policy.visible(step.frames.start, step.frames.stop, since) if f in state.latents]
        state.context.drop(range(step.frames.start))
        cue = self.prompts.cues([step.frames.start], 1.0)[0]
        for _, block in itertools.groupby(seen, lambda frame: frame // policy.block):
            frames = list(block)
            self._write(state, frames, (cue,) * len(frames))

    def _denoise(self, state: RolloutState, step: Step, total: int | None) -> Tensor:
        """One pass of the model and one step of the solver; returns the clean guess at the step's frames."""
        x_BCTHW = _stack([state.latents[frame] for frame in step.frames])
        x0_BCTHW = self._predict(state, step, x_BCTHW)
        if not torch.isfinite(x0_BCTHW).all():
            of = "" if total is None else f" of {total}"
            raise NumericalError(
                f"the prediction x0 became non-finite at step {step.index + 1}{of}, latent frames {step.frames.start} "
                f"to {step.frames.stop - 1}; usual cause: weights or dtype (try --dtype float32)"
            )
        x_BCTHW, state.history = self.solver(x_BCTHW, x0_BCTHW, step, self.table, self.noise, state.history)
        moved = zip(step.frames, step.level_from, step.level_to, strict=True)
        state.latents |= {f: x_BCTHW[:, :, i].clone() for i, (f, at, to) in enumerate(moved) if at != to}
        return x0_BCTHW

    def _predict(self, state: RolloutState, step: Step, x_BCTHW: Tensor) -> Tensor:
        steps = self.schedule.num_steps
        done = (steps - max(step.level_from)) / steps  # exact where a prompt schedule compares with a decimal
        cues = self.prompts.cues(step.frames, done)
        sigma_T, told_T = self.table.sigma_T(step.level_from), self.table.told_T(step.told or step.level_from)
        refed = self._refed(state, step)
        if refed:
            assert self.policy is not None
            past_BCTHW = _stack([self._noised(state, frame, step.index) for frame in refed])
            x_BCTHW = torch.cat((past_BCTHW, x_BCTHW), dim=2)
            sigma_T = torch.cat((torch.full((len(refed),), self.policy.noise, dtype=sigma_T.dtype), sigma_T))
            told_T = torch.cat((torch.full((len(refed),), self.policy.label, dtype=told_T.dtype), told_T))
            own = self.policy.on_prompt != "recache"
            cues = (self.prompts.cues(refed, done) if own else (cues[0],) * len(refed)) + cues
        x0_BCTHW = self.denoise(
            x_BCTHW,
            sigma_T[None].to(self.device),
            frames=(*refed, *step.frames),
            cues=cues,
            context=state.context,
            label_BT=told_T[None].to(self.device),
        )
        return x0_BCTHW[:, :, len(refed) :]

    def _refed(self, state: RolloutState, step: Step) -> tuple[int, ...]:
        """Finished frames that are shown again as latents."""
        if self.policy is None or self.policy.memory != "refeed":
            return ()
        since = self.prompts.since(step.frames.start)
        visible = self.policy.visible(step.frames.start, step.frames.stop, since)
        return tuple(frame for frame in visible if frame < state.front and frame in state.latents)

    def _noised(self, state: RolloutState, frame: int, step: int) -> Tensor:
        """What is remembered of a finished frame: itself, with the policy's noise."""
        clean = state.latents[frame]
        if self.policy is None or self.policy.noise == 0:
            return clean
        noise = self.noise.fresh(frame, step, self.shape)[None].to(clean)
        return (1 - self.policy.noise) * clean + self.policy.noise * noise

    def _commit(self, state: RolloutState, frames: range) -> Tensor | None:
        """Writes finished frames to the context, and hands out those that belong to the clip."""
        if state.context is not None:
            self._write(state, frames, self.prompts.cues(frames, 1.0))
        state.front = frames.stop
        clip = [state.latents[frame] for frame in frames if frame >= 0]
        return _stack(clip) if clip else None

    def _write(self, state: RolloutState, frames: Sequence[int], cues: Sequence[Cue]) -> None:
        clean_BCTHW = _stack([self._noised(state, frame, -1) for frame in frames])
        label = 0.0 if self.policy is None else self.policy.label
        self.denoise.commit(clean_BCTHW, frames=tuple(frames), cues=tuple(cues), context=state.context, label=label)

    def _release(self, state: RolloutState) -> None:
        """Forgets the latents of finished frames that no later step shows."""
        retained = 0 if self.policy is None else self.policy.retained
        sink = self.policy.sink if self.policy is not None and retained else 0
        oldest = state.front - max(self.schedule.looks_back, retained)
        for frame in [f for f in state.latents if f < oldest and not 0 <= f < sink]:
            del state.latents[frame]


def _stack(latents_BCHW: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(latents_BCHW), dim=2)
