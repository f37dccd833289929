"""Clip parallelism: each rank denoises a part of the frames, and sees of the others' what `dual_scope` of clips keeps.

Video-Infinity (Tan et al. 2024, arXiv:2406.16260), from its description. What is computed is one process with the
attention `dual_scope(clips=ranks)`; what a rank keeps of keys and values is its own frames' and those of the few others
that it sees, however long the video is. Frames keep their absolute indices, so noise and rotary positions are one
process's. For schedules in which all frames are shown in every step, without a memory.

    ClipCut         which frames each rank holds, and which it sees
    ClipAttention   between a layer and what computes its attention: keys and values go where they are seen
    ClipDenoiser    around a model that holds a part of the frames: cuts what goes in, gathers what comes out
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from vgen.attention import ClipWindow, Pattern, Place, VideoAttention, dual_scope
from vgen.errors import ConfigError
from vgen.samplers import Cue, Denoiser
from vgen.shapes import TokenGrid

__all__ = ["ClipAttention", "ClipCut", "ClipDenoiser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipCut:
    """How the frames 0 to `frames` - 1 are cut into as many clips as there are ranks; lengths differ by one at most.

    Args:
        frames: latent frames of the video.
        clips: how many clips.
        reach, count: as of `dual_scope`.

    Raises:
        ConfigError: a clip without frames.
    """

    frames: int
    clips: int
    reach: int
    count: int

    def __post_init__(self) -> None:
        if self.clips > self.frames:
            raise ConfigError(
                f"parallel.clips={self.clips}: the video has {self.frames} latent frames, and each rank takes one at "
                f"least; possible: 1 to {self.frames}"
            )

    @property
    def pattern(self) -> Pattern:
        """What one process would attend to."""
        return dual_scope(reach=self.reach, count=self.count, clips=self.clips)

    @property
    def own(self) -> tuple[range, ...]:
        """The frames that each rank holds."""
        return tuple(range(part[0], part[-1] + 1) for part in self._kept(ClipWindow(clips=self.clips, reach=0)))

    @property
    def others(self) -> tuple[tuple[int, ...], ...]:
        """The frames that each rank sees beside its own."""
        pairs = zip(self._kept(self.pattern), self.own, strict=True)
        return tuple(tuple(t for t in seen if t not in own) for seen, own in pairs)

    def _kept(self, pattern: Pattern) -> tuple[tuple[int, ...], ...]:
        """What the first frame of each clip sees, and with it all of the clip."""
        return _kept(pattern, self.frames, self.clips)


@lru_cache(maxsize=32)  # asked for by every layer
def _kept(pattern: Pattern, frames: int, clips: int) -> tuple[tuple[int, ...], ...]:
    grid, nowhere = TokenGrid(frames=tuple(range(frames)), height=1, width=1), torch.zeros((), dtype=torch.long)
    first_R, key_T = -(torch.arange(clips) * -frames // clips), torch.arange(frames)
    query, key = Place(first_R[:, None], nowhere, nowhere, grid), Place(key_T, nowhere, nowhere, grid)
    return tuple(tuple(row.nonzero().flatten().tolist()) for row in pattern.keeps(query, key))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipAttention:
    """A `VideoAttention` of a rank's own frames to those that it sees.

    Args:
        inner: what attends, to the frames of others first and then to the rank's own.
        cut: who holds and sees what.
        group: the ranks, in the order of their clips.
    """

    inner: VideoAttention
    cut: ClipCut
    group: dist.ProcessGroup

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
        """As `VideoAttention`; every rank of the group calls it for the same layer."""
        own, others = self.cut.own[dist.get_rank(self.group)], self.cut.others[dist.get_rank(self.group)]
        assert query == key and query.frames == tuple(own), f"a rank holds the frames {own}, got {query} and {key}"
        assert not query.text_before + query.text_after, f"a rank holds frames alone, got {query}"
        if self.cut.clips > 1:
            k_BMNK, v_BMNK = self._joined(k_BMNK, v_BMNK, len(own))
        seen = replace(key, frames=others + key.frames)
        return self.inner(q_BLNK, k_BMNK, v_BMNK, query=query, key=seen, layer=layer, sigma=sigma)

    def _joined(self, k_BMNK: Tensor, v_BMNK: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Keys and values of others and, behind them, the rank's own; one exchange for both. Letter here: 2 of them."""
        own, others, rank = self.cut.own, self.cut.others, dist.get_rank(self.group)
        sent = [[t - own[rank].start for t in seen if t in own[rank]] for seen in others]
        taken = [sum(t in held for t in others[rank]) for held in own]
        both_T2BD = torch.stack((k_BMNK, v_BMNK)).unflatten(2, (frames, -1)).flatten(3).permute(2, 0, 1, 3)
        index = torch.tensor([t for part in sent for t in part], dtype=torch.long, device=k_BMNK.device)
        theirs_T2BD = both_T2BD.new_empty((sum(taken), *both_T2BD.shape[1:]))
        dist.all_to_all_single(
            theirs_T2BD, both_T2BD.index_select(0, index), taken, [len(part) for part in sent], group=self.group
        )
        joined_2BMD = torch.cat((theirs_T2BD, both_T2BD)).permute(1, 2, 0, 3)
        k, v = joined_2BMD.reshape(2, k_BMNK.shape[0], -1, *k_BMNK.shape[2:])
        return k, v


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDenoiser:
    """A denoiser of all frames, of which every rank runs its own; all get the same answer.

    Args:
        denoise: what runs a rank's frames, guided or not.
        cut: who holds what.
        group: the ranks, in the order of their clips.
    """

    denoise: Denoiser[Any]
    cut: ClipCut
    group: dist.ProcessGroup

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
        own = parts[dist.get_rank(self.group)]
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
        mine_TBCHW = x0_BCTHW.new_zeros((longest, *x0_BCTHW.movedim(2, 0).shape[1:]))
        mine_TBCHW[: len(own)] = x0_BCTHW.movedim(2, 0)
        all_TBCHW = mine_TBCHW.new_empty((longest * len(parts), *mine_TBCHW.shape[1:]))
        dist.all_gather_into_tensor(all_TBCHW, mine_TBCHW, group=self.group)
        held = [rank * longest + at for rank, part in enumerate(parts) for at in range(len(part))]
        return all_TBCHW[held].movedim(0, 2).contiguous()

    def commit(
        self, x0_BCTHW: Tensor, *, frames: tuple[int, ...], cues: tuple[Cue, ...], context: None, label: float = 0.0
    ) -> None:
        """As `samplers.Denoiser`."""
        raise AssertionError("clips have no memory to commit to")
