"""Axis 2: which finished frames a step may still see, in which form, and what becomes of them at a new prompt."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Memory", "OnPrompt", "SinkWindow"]

Memory: TypeAlias = Literal["kv", "refeed"]
OnPrompt: TypeAlias = Literal["keep", "flush", "recache"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkWindow:
    """The first `sink` frames, and the last `window` frames up to the end of the current step's.

    Attention sinks: Xiao et al. 2024, arXiv:2309.17453. Sink and window of causal video, and the cache made anew at a
    new prompt: LongLive, Yang et al. 2025, arXiv:2509.22622. Flushing it: Infinity-RoPE, arXiv:2511.20649.

    Args:
        window: latent frames, those of the step included; at least one block.
        sink: leading latent frames that never expire.
        memory: `kv` keeps keys and values of finished frames; `refeed` shows their latents again, at level 0.
        noise: sigma of fresh noise that is added to what is remembered (SkyReels-V2's addnoise_condition over 1000).
        told: the sigma that the model is told of remembered frames; `noise` where None (Diffusion Forcing's
            stabilisation tells more than there is).
        on_prompt: at a new prompt, `keep` what was seen under the old one, `flush` all but the sink and the last
            `kept` frames, or `recache`: see all of it again under the new one.
        kept: latent frames that a flush leaves.
        block: latent frames that are remembered together, and made anew together.
    """

    window: int
    sink: int = 0
    memory: Memory = "kv"
    noise: float = 0.0
    told: float | None = None
    on_prompt: OnPrompt = "keep"
    kept: int = 2
    block: int = 1

    def __post_init__(self) -> None:
        assert self.window >= 1 and self.sink >= 0 and self.kept >= 0, f"numbers of frames, got {self}"
        assert 0 <= self.noise < 1, f"remembered frames are no pure noise, got {self}"

    @property
    def capacity(self) -> int:
        """Frames that a memory must hold."""
        return self.sink + self.window

    @property
    def label(self) -> float:
        """The sigma that the model is told of remembered frames."""
        return self.noise if self.told is None else self.told

    @property
    def retained(self) -> int:
        """Latents of finished frames that must stay at hand behind the sink, which then stays too."""
        return self.window if self.memory == "refeed" or self.on_prompt == "recache" else 0

    def visible(self, start: int, stop: int, since: int = 0) -> tuple[int, ...]:
        """Finished frames that a step over frames start..stop-1 sees.

        Args:
            start, stop: of the step.
            since: first frame of the prompt that the step's first frame sees.
        """
        return (*range(min(self.sink, start)), *range(self._begin(stop, since), start))

    def expired(self, stop: int, since: int = 0) -> Container[int]:
        """The frames that such a step may no longer see."""
        return range(self.sink, self._begin(stop, since))

    def _begin(self, stop: int, since: int) -> int:
        """First frame behind the sink that is still seen."""
        flushed = since - self.kept if self.on_prompt == "flush" and since > 0 else 0
        return max(self.sink, stop - self.window, flushed)
