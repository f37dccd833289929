"""`Queue`: FIFO-Diffusion's diagonal denoising (Kim et al. 2024, arXiv:2405.11473).

As many frames as there are levels stand in a queue, each one level noisier than the one before. A round lowers all of
them by a level; the first becomes clean and leaves, a new one enters as noise. A model that was trained on `window`
frames sees the queue in parts (latent partitioning), noisiest first, so that every part sees the others as they were.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from vgen.samplers.steps import Lift, Move, Step

__all__ = ["Queue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One frame per level. With one part and neither lookahead nor primer it is `Pyramid(lag=1)`.

    Args:
        num_steps: S, levels and length of the queue; the published ones are multiples of `window`, others leave the
            noisiest part smaller.
        window: latent frames that the model sees at once.
        lookahead: parts overlap by half, and only the noisier half of each is kept, so that every frame is denoised
            with cleaner ones in sight; doubles the work.
        primer: fill the queue at the beginning with an ordinary clip of `window` frames, noised; its first frame stands
            for what would have come before. Without, or where as many frames are known, it fills frame by frame.
    """

    num_steps: int
    window: int
    lookahead: bool = True
    primer: bool = True

    def __post_init__(self) -> None:
        assert self.window >= 1 and self.num_steps >= 1, f"a queue needs levels and a window, got {self}"

    @property
    def uniform(self) -> bool:
        return self.num_steps == 1

    @property
    def looks_back(self) -> int:
        """Finished frames that later steps still show."""
        return self.window // 2 if self.lookahead else 0

    def in_flight(self, frames: int | None) -> int:
        """The most frames that a step shows."""
        return self.window if frames is None or self.primer else min(self.window, frames + self.looks_back)

    def steps(self, frames: int | None, *, known: int = 0) -> Iterator[Move]:
        """As `FrameSchedule.steps`."""
        primed = self._primed(frames, known)
        if primed:
            yield from self._prime(primed, known)
            index, head = self.num_steps + 1, primed - self.num_steps
            first = head - self.looks_back
        else:
            yield from self._given(known)
            index, head, first = -(-known // self.window), known, 0
        for k in itertools.count():
            if frames is not None and head >= frames:
                return
            done = self._head(k + 1, head, frames, primed, known)
            parts = list(self._parts(k, frames, primed, known, first))
            for number, (shown, kept) in enumerate(parts):
                last = number == len(parts) - 1
                yield self._step(index, k, shown, kept, range(head, done if last else head), primed, known)
                index += 1
            head = done if parts else head

    def total(self, frames: int, *, known: int = 0) -> int:
        """How many moves `steps` yields."""
        return sum(1 for _ in self.steps(frames, known=known))

    def _primed(self, frames: int | None, known: int) -> int:
        """Frames of the clip that fills the queue; none without primer, or where as many are known."""
        primed = min(self.window, self.num_steps, self.window if frames is None else frames)
        return primed if self.primer and known < primed else 0

    def _given(self, known: int) -> Iterator[Step]:
        """Commits known frames, a window at a time."""
        for index, start in enumerate(range(0, known, self.window)):
            shown = range(start, min(start + self.window, known))
            clean = (0,) * len(shown)
            yield Step(index=index, frames=shown, level_from=clean, level_to=clean, commit=shown)

    def _place(self, k: int, frame: int, primed: int, known: int) -> int:
        """Where in the queue a frame stands before round k: S until its first round, 0 once it has left."""
        first = frame - (primed - 1 if primed else known)
        return self.num_steps - min(max(k - first, 0), self.num_steps)

    def _level(self, k: int, frame: int, primed: int, known: int) -> int:
        """Level of a frame before round k: that of its place, save for known frames, which stay clean."""
        return 0 if 0 <= frame < known else self._place(k, frame, primed, known)

    def _head(self, k: int, head: int, frames: int | None, primed: int, known: int) -> int:
        """The first frame that has not left before round k."""
        while (frames is None or head < frames) and self._place(k, head, primed, known) == 0:
            head += 1
        return head

    def _prime(self, primed: int, known: int) -> Iterator[Move]:
        """An ordinary clip, then noise on it by place in the queue; copies of its first frame fill the rest."""
        clip = range(primed)
        for k in range(self.num_steps):
            before, after = self.num_steps - k, self.num_steps - k - 1
            yield Step(
                index=k,
                frames=clip,
                level_from=tuple(0 if f < known else before for f in clip),
                level_to=tuple(0 if f < known else after for f in clip),
                commit=range(0),
            )
        queue = range(-(self.num_steps - primed) - self.looks_back, primed)
        yield Lift(
            index=self.num_steps,
            frames=queue,
            sources=tuple(max(0, frame) for frame in queue),
            levels=tuple(self._level(0, frame, primed, known) for frame in queue),
        )

    def _parts(self, k: int, frames: int | None, primed: int, known: int, first: int) -> Iterator[tuple[range, range]]:
        """Of round k, noisiest first: frames that a part shows, and those of them that it changes."""
        wide = self.window - self.looks_back
        offset = primed - 1 if primed else known
        for part in reversed(range(-(-self.num_steps // wide))):
            # the frames at levels part * wide + 1 .. (part + 1) * wide before round k
            begin = k + offset - self.num_steps + part * wide + 1
            kept = range(max(begin, first), min(begin + wide, k + offset + 1))
            if frames is not None:
                kept = range(kept.start, min(kept.stop, frames))
            if not primed:
                kept = range(max(kept.start, known), kept.stop)
            if len(kept) > 0:
                yield range(max(first, kept.start - self.looks_back), kept.stop), kept

    def _step(self, index: int, k: int, shown: range, kept: range, commit: range, primed: int, known: int) -> Step:
        before = tuple(self._level(k, frame, primed, known) for frame in shown)
        after = tuple(
            self._level(k + 1, frame, primed, known) if frame in kept else level
            for frame, level in zip(shown, before, strict=True)
        )
        return Step(index=index, frames=shown, level_from=before, level_to=after, commit=commit)
