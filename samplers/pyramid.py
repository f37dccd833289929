"""`Pyramid`: the one formula of the causal, rolling and forcing family.

With `num_steps` noise levels S and lag a, block i stands at level S - clip(k - a i, 0, S) after k steps. Ordinary
diffusion, Diffusion Forcing (Chen et al. 2024, arXiv:2407.01392), AR-Diffusion (Sun et al. 2025, arXiv:2503.07418),
SkyReels-V2 (arXiv:2504.13074), CausVid (arXiv:2412.07772), Self-Forcing (arXiv:2506.08009), Rolling Forcing
(arXiv:2509.25161) and MAGI-1 (arXiv:2505.13211) are this matrix with their own S, a and block.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from vgen.samplers.steps import Step

__all__ = ["Pyramid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """Levels fall along a pyramid: block i starts `lag` steps after block i - 1.

    Args:
        num_steps: S, noise levels; at least 1.
        lag: steps between neighbouring blocks: 0 denoises all together, `num_steps` one after the other.
        block: latent frames per block; at least 1. With lag 0 and no clips all blocks are in step, whatever their size.
        clip: latent frames per clip, a multiple of `block`: a clip starts when the one before it is clean; one clip
            where None.
        ahead: latent frames of a clip that are shown from its beginning on, those that wait as pure noise.
    """

    num_steps: int
    lag: int
    block: int = 1
    clip: int | None = None
    ahead: int = 0

    def __post_init__(self) -> None:
        assert self.num_steps >= 1 and self.block >= 1, f"a schedule needs steps and frames, got {self}"
        assert 0 <= self.lag <= self.num_steps, f"0 <= lag <= num_steps, got {self}"
        assert self.clip is None or (self.clip >= 1 and self.clip % self.block == 0), f"clips hold whole blocks: {self}"
        assert self.ahead >= 0, f"a number of frames is at least 0, got {self}"

    @property
    def uniform(self) -> bool:
        """Whether all frames that a step changes are at one level."""
        return self.lag in (0, self.num_steps) or self.clip == self.block

    @property
    def looks_back(self) -> int:
        """Finished frames that later steps still show; none, that is left to the context."""
        return 0

    def level(self, k: int, block: int) -> int:
        """Level of a block after k steps."""
        return self.num_steps - min(max(k - self._start(block), 0), self.num_steps)

    def in_flight(self, frames: int | None) -> int:
        """The most frames of `frames` that a step shows."""
        per_clip = frames if self.clip is None else min(self.clip, frames or self.clip)
        at_once = None if self.lag == 0 else -(-self.num_steps // self.lag) * self.block
        most = max(at_once, self.ahead) if at_once is not None else per_clip
        assert most is not None, "lag 0 without clips has no bound"
        return most if per_clip is None else min(most, per_clip)

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Step]:
        """The steps for `frames` latent frames; None streams without end.

        Args:
            frames: a multiple of `block`; None needs a lag above 0, or clips.
            known: leading frames that are clean from the start (an image, a clip to go on from). Blocks that are
                known whole are committed first, without denoising.
        """
        endless = frames is None
        assert not endless or self.lag > 0 or self.clip, "a stream without end needs a lag or clips"
        assert frames is None or frames % self.block == 0, f"{frames} frames are no multiple of blocks of {self.block}"
        ready = known // self.block
        for block in range(ready):
            shown = self._frames_of(block, block + 1)
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

    @property
    def _blocks_per_clip(self) -> int | None:
        return None if self.clip is None else self.clip // self.block

    def _fall(self, blocks: int) -> int:
        """Steps from pure noise to clean for blocks of one clip."""
        return self.num_steps + (blocks - 1) * self.lag if blocks > 0 else 0

    def _start(self, block: int) -> int:
        per_clip = self._blocks_per_clip
        if per_clip is None:
            return self.lag * block
        return block // per_clip * self._fall(per_clip) + block % per_clip * self.lag

    def _denoising_steps(self, blocks: int) -> int:
        per_clip = self._blocks_per_clip
        if per_clip is None:
            return self._fall(blocks)
        return blocks // per_clip * self._fall(per_clip) + self._fall(blocks % per_clip)

    def _frames_of(self, first_block: int, stop_block: int) -> range:
        return range(first_block * self.block, stop_block * self.block)

    def _shown(self, k: int, blocks: int | None) -> tuple[int, int]:
        """First block and stop block of step k: those under way, and those that wait in sight."""
        per_clip = self._blocks_per_clip
        clip = 0 if per_clip is None else k // self._fall(per_clip)
        origin = 0 if per_clip is None else clip * per_clip
        count = per_clip if blocks is None else min(blocks - origin, per_clip or blocks)
        within = k - (0 if per_clip is None else clip * self._fall(per_clip))
        if self.lag == 0:
            assert count is not None
            return origin, origin + count
        first = max(0, -(-(within - self.num_steps + 1) // self.lag))  # ceil: the first block not yet clean
        stop = max(within // self.lag + 1, self.ahead // self.block)
        return origin + first, origin + (stop if count is None else min(stop, count))

    def _step(self, k: int, blocks: int | None, ready: int, known: int) -> Step:
        """Step k over `blocks` unknown blocks, which follow `ready` known ones."""
        first, stop = self._shown(k, blocks)
        shown = self._frames_of(first + ready, stop + ready)

        def levels(at: int) -> tuple[int, ...]:
            return tuple(0 if f < known else self.level(at, f // self.block - ready) for f in shown)

        done = [b for b in range(first, stop) if self.level(k + 1, b) == 0]
        commit = self._frames_of(done[0] + ready, done[-1] + ready + 1) if done else range(shown.start, shown.start)
        return Step(index=ready + k, frames=shown, level_from=levels(k), level_to=levels(k + 1), commit=commit)
