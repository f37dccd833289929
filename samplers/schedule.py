"""`Pyramid`: the one formula of the causal, rolling and forcing family.

With `num_steps` noise levels S and lag a, block i stands at level S - clip(k - a i, 0, S) after k steps
(research of nine methods: Chen et al. 2024, arXiv:2407.01392; Sun et al. 2025, arXiv:2503.07418; and others are this
matrix with their own S, a and block).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Pyramid", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One forward pass of the model and what it changes.

    Args:
        index: 0, 1, 2, ... within the run.
        frames: absolute latent frames shown to the model.
        level_from: integer level of each of them before the step; 0 is clean.
        level_to: after it; equal where a frame is left alone.
        commit: frames that are finished with this step.
    """

    index: int
    frames: range
    level_from: tuple[int, ...]
    level_to: tuple[int, ...]
    commit: range

    @property
    def updates(self) -> bool:
        """Whether any frame changes; a step that only commits needs no model call for denoising."""
        return self.level_from != self.level_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """Levels fall along a pyramid: block i starts `lag` steps after block i - 1.

    Args:
        num_steps: S, noise levels; at least 1.
        lag: steps between neighbouring blocks: 0 denoises all together, `num_steps` one after the other.
        block: latent frames per block; at least 1. With lag 0 all blocks are in step, whatever their size.
    """

    num_steps: int
    lag: int
    block: int = 1

    def __post_init__(self) -> None:
        assert self.num_steps >= 1 and self.block >= 1, f"a schedule needs steps and frames, got {self}"
        assert 0 <= self.lag <= self.num_steps, f"0 <= lag <= num_steps, got {self}"

    def level(self, k: int, block: int) -> int:
        """Level of a block after k steps."""
        return self.num_steps - min(max(k - self.lag * block, 0), self.num_steps)

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Step]:
        """The steps for `frames` latent frames; None streams without end.

        Args:
            frames: a multiple of `block`; None needs a lag above 0.
            known: leading frames that are clean from the start (an image, a clip to go on from). Blocks that are
                known whole are committed first, without denoising.
        """
        assert frames is not None or self.lag > 0, (
            "a stream without end needs a lag: lag 0 finishes all frames together"
        )
        assert frames is None or frames % self.block == 0, f"{frames} frames are no multiple of blocks of {self.block}"
        ready = known // self.block
        for block in range(ready):
            shown = self._frames_of(block, block)
            clean = (0,) * len(shown)
            yield Step(index=block, frames=shown, level_from=clean, level_to=clean, commit=shown)
        blocks = None if frames is None else frames // self.block - ready
        for k in itertools.count():
            if blocks is not None and k >= self._denoising_steps(blocks):
                return
            yield self._step(k, blocks, ready, known)

    def total(self, frames: int, *, known: int = 0) -> int:
        """How many steps `steps(frames, known=known)` yields."""
        ready = known // self.block
        return ready + self._denoising_steps(frames // self.block - ready)

    def _denoising_steps(self, blocks: int) -> int:
        return self.num_steps + (blocks - 1) * self.lag if blocks > 0 else 0

    def _frames_of(self, first_block: int, last_block: int) -> range:
        return range(first_block * self.block, (last_block + 1) * self.block)

    def _step(self, k: int, blocks: int | None, ready: int, known: int) -> Step:
        """Step k over `blocks` unknown blocks, which follow `ready` known ones."""
        if self.lag == 0:
            assert blocks is not None
            first, last = 0, blocks - 1
        else:
            first = max(0, -(-(k - self.num_steps + 1) // self.lag))  # ceil: the first block not yet clean
            last = k // self.lag
            last = last if blocks is None else min(last, blocks - 1)
        shown = self._frames_of(first + ready, last + ready)

        def levels(at: int) -> tuple[int, ...]:
            return tuple(0 if f < known else self.level(at, f // self.block - ready) for f in shown)

        done = [b for b in range(first, last + 1) if self.level(k + 1, b) == 0]
        commit = self._frames_of(done[0] + ready, done[-1] + ready) if done else range(shown.start, shown.start)
        return Step(index=ready + k, frames=shown, level_from=levels(k), level_to=levels(k + 1), commit=commit)
