"""`Ulysses`: a clip's tokens over several processes, and its heads while attention is computed.

Jacobs et al. 2023, arXiv:2309.14509. Outside of self-attention each process holds a share of the tokens of *every*
frame, so that what differs by frame, such as the modulation, stays as it is, and any number of frames can be shared.
Around self-attention tokens are exchanged for heads: a process then sees all tokens of all frames for its share of the
heads, so that rotation, memory, causality and every pattern are those of one process.

Letters here: `S` processes, `P` tokens per frame, `R` tokens of a share of a frame, `G` heads of a process, `J` tensors
that are exchanged at once: queries, keys and values.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Exchange", "Ulysses"]


class Exchange(Protocol):
    """What it asks of `Peers`."""

    @property
    def index(self) -> int: ...

    @property
    def size(self) -> int: ...

    def exchanged(self, sent: Tensor) -> Tensor: ...

    def gathered(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Ulysses:
    """A `Shards` of `VideoDiT`.

    Args:
        peers: the processes that share one pass of the model.
    """

    peers: Exchange

    def mine(self, x_BLD: Tensor, frames: int) -> Tensor:
        """This process's tokens of every frame; all processes have all of them before."""
        x_BTPD = x_BLD.unflatten(1, (frames, -1))
        share = x_BTPD.shape[2] // self.peers.size
        assert share * self.peers.size == x_BTPD.shape[2], "tokens that do not divide are refused before"
        return x_BTPD.narrow(2, self.peers.index * share, share).flatten(1, 2)

    def whole(self, x_BLD: Tensor, frames: int) -> Tensor:
        """All tokens, from everybody's share."""
        x_SBTRD = self.peers.gathered(x_BLD).unflatten(2, (frames, -1))
        return x_SBTRD.permute(1, 2, 0, 3, 4).flatten(1, 3)

    def by_heads(self, *x_BLNK: Tensor, frames: int) -> tuple[Tensor, ...]:
        """All tokens for this process's heads, from its tokens for all heads; of several tensors at once."""
        size = self.peers.size
        batch, length, heads, width = x_BLNK[0].shape
        sent_SJBLGK = x_BLNK[0].new_empty((size, len(x_BLNK), batch, length, heads // size, width))
        for row, one_BLNK in enumerate(x_BLNK):
            sent_SJBLGK[:, row] = one_BLNK.unflatten(2, (size, -1)).permute(2, 0, 1, 3, 4)
        came_SJBTRGK = self.peers.exchanged(sent_SJBLGK).unflatten(3, (frames, -1))
        return tuple(came_SBTRGK.permute(1, 2, 0, 3, 4, 5).flatten(1, 3) for came_SBTRGK in came_SJBTRGK.unbind(1))

    def by_tokens(self, out_BLNK: Tensor, frames: int) -> Tensor:
        """This process's tokens for all heads, from all tokens for its heads."""
        out_BTSRGK = out_BLNK.unflatten(1, (frames, self.peers.size, -1))
        sent_SBTRGK = out_BTSRGK.permute(2, 0, 1, 3, 4, 5).contiguous()
        came_SBTRGK = self.peers.exchanged(sent_SBTRGK)
        return came_SBTRGK.permute(1, 2, 3, 0, 4, 5).flatten(3, 4).flatten(1, 2)
