"""Clip parallelism: each process denoises a part of the frames, and gets of the others' what its own attend to.

Video-Infinity (Tan et al. 2024, arXiv:2406.16260), from its description; or FreeNoise's windows, of which a part of the
frames needs the neighbours alone. What is computed is what one process computes with the attention
`dual_scope(clips=processes)`, or with `WindowFusion`. The keys and values that a process has are those of its own
frames and of the few others that it sees, however long the video is. Frames keep their absolute indices, so noise and
rotary positions are one process's. For schedules in which all frames are shown in every step, without a memory.

    ClipCut         which frames each process holds, and which it sees by its scope: DualScope or Windows
    ClipAttention   between a layer and what computes its attention: keys and values go where they are seen
    ClipDenoiser    around a model that holds a part of the frames: cuts what goes in, gathers what comes out

Letter here: `J` two, keys and values.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from vgen.attention import ClipWindow, Pattern, Place, VideoAttention, dual_scope
from vgen.errors import ConfigError
from vgen.parallel.peers import Peers
from vgen.samplers import Cue, Denoiser
from vgen.shapes import TokenGrid, window_starts

__all__ = ["ClipAttention", "ClipCut", "ClipDenoiser", "DualScope", "Windows"]


class Scope(Protocol):
    """What a frame attends to, of a video that is cut into clips."""

    def sees(self, frames: int, clips: int) -> Tensor:
        """sees_TT: whether the frame of a row sees that of a column."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DualScope:
    """Frames near a clip, and frames from everywhere; arguments as of `dual_scope`."""

    reach: int
    count: int

    def sees(self, frames: int, clips: int) -> Tensor:
        """As `Scope`."""
        return _kept(self.pattern(clips), frames)

    def pattern(self, clips: int) -> Pattern:
        """What one process would attend to."""
        return dual_scope(reach=self.reach, count=self.count, clips=clips)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Frames that are in a window with a frame; arguments as of `WindowFusion`."""

    window: int
    stride: int

    def sees(self, frames: int, clips: int) -> Tensor:
        """As `Scope`."""
        in_UT = torch.zeros(0, frames)
        for start in window_starts(frames, self.window, self.stride):
            in_T = (torch.arange(frames) >= start) & (torch.arange(frames) < start + self.window)
            in_UT = torch.cat((in_UT, in_T[None].float()))
        return in_UT.T @ in_UT > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCut:
    """How the frames 0 to `frames` - 1 are cut into as many clips as processes; lengths differ by one at most.

    Args:
        frames: latent frames of the video.
        clips: how many clips.
        scope: what they see.

    Raises:
        ConfigError: a clip without frames.
    """

    frames: int
    clips: int
    scope: Scope

    def __post_init__(self) -> None:
        if self.clips > self.frames:
            raise ConfigError(
                f"parallel.clips={self.clips}: the video has {self.frames} latent frames, and each process takes at "
                f"least one; possible: 1 to {self.frames}"
            )

    @property
    def own(self) -> tuple[range, ...]:
        """The frames that each process holds."""
        return _own(self.frames, self.clips)

    @property
    def others(self) -> tuple[tuple[int, ...], ...]:
        """The frames that each process sees beside its own."""
        return _others(self)


@lru_cache(maxsize=32)  # asked for by every layer
def _own(frames: int, clips: int) -> tuple[range, ...]:
    whole = _kept(ClipWindow(clips=clips, reach=0), frames)
    parts = [tuple(row.nonzero().flatten().tolist()) for row in whole]
    return tuple(range(part[0], part[-1] + 1) for part in dict.fromkeys(parts))


@lru_cache(maxsize=32)
def _others(cut: ClipCut) -> tuple[tuple[int, ...], ...]:
    sees_TT = cut.scope.sees(cut.frames, cut.clips)
    seen = [sees_TT[own.start : own.stop].any(0).nonzero().flatten().tolist() for own in cut.own]
    return tuple(tuple(t for t in part if t not in own) for part, own in zip(seen, cut.own, strict=True))


@lru_cache(maxsize=32)
def _dealt(cut: ClipCut, mine: int, device: torch.device) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
    """Which of a process's own frames it sends, to the first process and so on; how many to each, and from each."""
    own = cut.own[mine]
    sent = [[t - own.start for t in seen if t in own] for seen in cut.others]
    came = tuple(sum(t in part for t in cut.others[mine]) for part in cut.own)
    index = torch.tensor([t for part in sent for t in part], dtype=torch.long, device=device)
    return index, tuple(map(len, sent)), came


def _kept(pattern: Pattern, frames: int) -> Tensor:
    """kept_TT of a pattern of whole frames."""
    grid, nowhere = TokenGrid(frames=tuple(range(frames)), height=1, width=1), torch.zeros((), dtype=torch.long)
    index_T = torch.arange(frames)
    return pattern.keeps(Place(index_T[:, None], nowhere, nowhere, grid), Place(index_T, nowhere, nowhere, grid))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipAttention:
    """A `VideoAttention` of a process's own frames to those that it sees.

    Args:
        inner: what attends, to the frames of others first and then to the process's own.
        cut: who holds and sees what.
        peers: the processes, in the order of their clips.
    """

    inner: VideoAttention
    cut: ClipCut
    peers: Peers

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        """As `VideoAttention`; all processes call it for the same layer."""
        own = self.cut.own[self.peers.index]
        assert query == key and query.frames == tuple(own), f"a process holds the frames {own}, got {query} and {key}"
        assert not query.text_before + query.text_after, f"a process holds frames alone, got {query}"
        if self.peers.size > 1:
            k_BMNK, v_BMNK = self._joined(k_BMNK, v_BMNK)
        seen = replace(key, frames=self.cut.others[self.peers.index] + key.frames)
        return self.inner(q_BLNK, k_BMNK, v_BMNK, query=query, key=seen, layer=layer, sigma=sigma)

    def _joined(self, k_BMNK: Tensor, v_BMNK: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the others and, behind them, the process's own; one exchange for both."""
        index, sent, came = _dealt(self.cut, self.peers.index, k_BMNK.device)
        both_JBTD = torch.stack((k_BMNK, v_BMNK)).unflatten(2, (len(self.cut.own[self.peers.index]), -1)).flatten(3)
        own_TJBD = both_JBTD.permute(2, 0, 1, 3)
        theirs_TJBD = self.peers.dealt(own_TJBD.index_select(0, index), sent, came)
        k_BTD, v_BTD = torch.cat((theirs_TJBD, own_TJBD)).permute(1, 2, 0, 3)
        joined = k_BMNK.shape[0], -1, *k_BMNK.shape[2:]
        return k_BTD.reshape(joined), v_BTD.reshape(joined)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDenoiser:
    """A denoiser of all frames, of which every process runs its own; all get the same answer.

    Args:
        denoise: what runs a process's frames, guided or not.
        cut: who holds what.
        peers: the processes, in the order of their clips.
    """

    denoise: Denoiser[Any]
    cut: ClipCut
    peers: Peers

    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        """As `samplers.Denoiser`."""
        assert frames == tuple(range(self.cut.frames)), f"all of {self.cut.frames} frames, got {frames}"
        parts = self.cut.own
        own = parts[self.peers.index]
        part = slice(own.start, own.stop)
        x0_BCTHW = self.denoise(
            x_BCTHW[:, :, part],
            sigma_BT[:, part],
            frames=frames[part],
            cues=cues[part],
            context=context,
            label_BT=None if label_BT is None else label_BT[:, part],
        )
        longest = max(map(len, parts))
        padded_BCTHW = torch.nn.functional.pad(x0_BCTHW, (0, 0, 0, 0, 0, longest - len(own)))
        gathered = zip(self.peers.gathered(padded_BCTHW), parts, strict=True)
        return torch.cat([piece[:, :, : len(held)] for piece, held in gathered], dim=2)

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: None, label: float = 0.0
    ) -> None:
        """As `samplers.Denoiser`."""
        raise AssertionError("clips have no memory to commit to")
