"""Axis 5: which prompt each latent frame sees, over the clip.

Samplers know prompts by their number in the request alone; what the words became is the denoiser's business.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BlendedTimeline", "Cue", "Timeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What one latent frame sees of the prompts.

    Args:
        prompt: index in the request's list of prompts.
        other: index of a second one, blended in.
        share: of `other` in the states of the text encoder, 0..1.
        early: index that the first half of the layers sees instead.
    """

    prompt: int
    other: int | None = None
    share: float = 0.0
    early: int | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Prompt i from latent frame `starts[i]` on; frames before the first see the first.

    Args:
        starts: rising, the first 0.
    """

    starts: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.starts, self.starts[1:], strict=False))
        assert self.starts and self.starts[0] == 0 and rising, f"prompts start at 0 and one after another: {self}"

    def cues(self, frames: Sequence[int], done: float) -> tuple[Cue, ...]:
        return tuple(Cue(prompt=self._at(frame)) for frame in frames)

    def since(self, frame: int) -> int:
        return self.starts[self._at(frame)]

    def _at(self, frame: int) -> int:
        return max(bisect_right(self.starts, frame) - 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendedTimeline:
    """One prompt turns into the next over the quarter of each that lies at their border, linearly.

    FreeNoise's motion injection (Qiu et al. 2024, arXiv:2310.15169, section 3.3), which has two of equal length.
    In the first tenth of the steps and after three tenths the first half of the layers sees the coming prompt from
    every frame, so that the layout is shared and the motion changes; the published code does it in the encoder.

    Args:
        starts: as `Timeline`.
        frames: latent frames of the clip, where the last prompt ends.
        inject: whether the first half of the layers is shown the coming prompt.
    """

    starts: tuple[int, ...]
    frames: int
    inject: bool = True

    def cues(self, frames: Sequence[int], done: float) -> tuple[Cue, ...]:
        shared = self.inject and (done < 0.1 or done > 0.3)
        return tuple(self._cue(frame, shared) for frame in frames)

    def since(self, frame: int) -> int:
        return Timeline(self.starts).since(frame)

    def _cue(self, frame: int, shared: bool) -> Cue:
        stops = (*self.starts[1:], self.frames)
        last = len(self.starts) - 1
        at = max(bisect_right(self.starts, frame) - 1, 0)
        early = min(at + 1, last) if shared else None
        for border in (at, at + 1):  # the one behind the frame, and the one in front
            if not 1 <= border <= last:
                continue
            begin = self.starts[border] - (self.starts[border] - self.starts[border - 1]) / 4
            end = self.starts[border] + (stops[border] - self.starts[border]) / 4
            if begin < frame < end:
                share = (frame - begin) / (end - begin)
                return Cue(prompt=border - 1, other=border, share=share, early=border if shared else None)
        return Cue(prompt=at, early=early if early != at else None)
