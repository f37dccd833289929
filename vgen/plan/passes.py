"""Every forward pass that a job will ask of its transformers: its own rollout, over denoisers that only count.

So recached and refed frames, windows, both guidance branches and experts are counted as they are, and a sampler that
is new tomorrow too. Latents are of one value.
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vgen.job import Job
from vgen.models.loaded import LoadedModel
from vgen.rolling import in_windows, over_experts, rollout_over
from vgen.samplers import Cue, Guided

__all__ = ["Pass", "passes_of"]

POINT = (1, 1, 1)  # channels, rows and columns of a latent frame that nobody looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass of a transformer.

    Args:
        part: which.
        frames: absolute latent indices that it shows.
        past: those that it sees in the cache.
        commit: whether it writes to that.
        sigma: the highest noise level of its frames.
    """

    part: str
    frames: tuple[int, ...]
    past: tuple[int, ...]
    commit: bool
    sigma: float


@dataclass(slots=True)
class _Seen:
    """The frames of a cache, without their keys and values."""

    frames: tuple[int, ...] = ()

    def fork(self) -> "_Seen":
        return _Seen(self.frames)

    def drop(self, frames: Container[int]) -> None:
        self.frames = tuple(frame for frame in self.frames if frame not in frames)


@dataclass(frozen=True, slots=True)
class _Tally:
    """A `Denoiser` that predicts nothing and notes what it was asked."""

    part: str
    passes: Counter[Pass]
    texts: set[tuple[Any, ...]] = field(default_factory=set)

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: _Seen | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        self._note(frames, cues, context, commit=False, sigma=float(sigma_BT.max()))
        return torch.zeros_like(x_BCTHW)

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: _Seen, label: float = 0.0
    ) -> None:
        self._note(frames, cues, context, commit=True, sigma=0.0)
        context.frames += tuple(frames)

    def _note(
        self, frames: Sequence[int], cues: Iterable[Cue], context: _Seen | None, *, commit: bool, sigma: float
    ) -> None:
        past = () if context is None else context.frames
        self.passes[Pass(part=self.part, frames=tuple(frames), past=past, commit=commit, sigma=sigma)] += 1
        for cue in cues:
            self.texts.add((cue.prompt, cue.other, cue.share))
            if cue.early is not None:
                self.texts.add((cue.early, None, 0.0))


class _NoNoise:
    """A `NoisePolicy` of zeros."""

    def initial(self, frame: int, shape: tuple[int, int, int], before: Tensor | None) -> Tensor:
        return torch.zeros(shape)

    def fresh(self, frame: int, step: int, shape: tuple[int, int, int]) -> Tensor:
        return torch.zeros(shape)

    def again(self, x0_CTHW: Tensor, frames: range, step: int) -> Tensor:
        return torch.zeros_like(x0_CTHW)


def passes_of(job: Job, model: LoadedModel) -> tuple[Counter[Pass], dict[str, int]]:
    """How often each pass is made for one clip without a search; and how many texts each transformer reads."""
    passes: Counter[Pass] = Counter()
    tallies: dict[str, list[_Tally]] = {}

    def expert(part: str, scale: float) -> Any:
        tallies[part] = [_Tally(part, passes) for _ in range(2 if scale > 1 else 1)]
        if scale <= 1:
            return tallies[part][0]
        return Guided(cond=tallies[part][0], uncond=tallies[part][1], scale=scale, interval=job.guidance_interval)

    def memory() -> _Seen | None:
        return _Seen() if job.sampling.cache_frames else None

    denoise, context = over_experts(job, model.boundary, expert, memory)
    noise = _NoNoise()
    rollout = rollout_over(
        job,
        in_windows(job, denoise, noise, POINT),
        noise,
        shape=POINT,
        known_CTHW=torch.zeros(1, job.known, 1, 1) if job.known else None,
        device=torch.device("cpu"),
    )
    for _ in rollout.run(rollout.start(context)):
        pass
    # the second branch reads its one text whatever the first one's are
    read = {part: len(of[0].texts) + len(of[1:]) for part, of in tallies.items()}
    return passes, read
