"""What one pass of `VideoDiT` works on beside its latents: texts and who reads them, and what all its blocks share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vgen.attention import VideoAttention
from vgen.attention.kernels import traced_attention
from vgen.models.cache import KVCache
from vgen.models.regions import Regions
from vgen.models.rope import Rotation
from vgen.shapes import TokenGrid

__all__ = [
    "Pass",
    "PreparedText",
    "Shards",
    "TextKV",
    "TextPerFrame",
    "TextRun",
    "read_text",
    "share_of",
    "text_runs",
]


@dataclass(frozen=True, slots=True)
class TextKV:
    """Keys and values of the conditions of one layer; the image's beside the text's where the model takes one."""

    k_BMNK: Tensor
    v_BMNK: Tensor
    image_k_BMNK: Tensor | None = None
    image_v_BMNK: Tensor | None = None


@dataclass(frozen=True, slots=True)
class PreparedText:
    """Cross-attention keys and values of all layers for one prompt; made by `VideoDiT.prepare_text`."""

    layers: tuple[TextKV, ...]


@dataclass(frozen=True, slots=True)
class TextPerFrame:
    """A prompt for each shown frame. The same prompt must be the same object: neighbours that share it read it at once.

    Args:
        frames: one per shown frame.
        early: what the first half of the layers reads instead (FreeNoise's motion injection: Qiu et al. 2024,
            arXiv:2310.15169); `frames` where None.
    """

    frames: tuple[PreparedText, ...]
    early: tuple[PreparedText, ...] | None = None


class Shards(Protocol):
    """How the tokens of a pass are spread over processes; `vgen.parallel.ulysses` fills it.

    A process has a share of the tokens of each frame, and in self-attention a share of the heads instead. Tokens are
    those of `frames` whole frames, in raster order.
    """

    def mine(self, x_BLD: Tensor, frames: int) -> Tensor:
        """This process's share of tokens that all have."""
        ...

    def whole(self, x_BLD: Tensor, frames: int) -> Tensor:
        """All tokens, from everybody's share."""
        ...

    def by_heads(self, *x_BLNK: Tensor, frames: int) -> tuple[Tensor, ...]:
        """All tokens for some heads, from some tokens for all heads; of several tensors at once."""
        ...

    def by_tokens(self, out_BLNK: Tensor, frames: int) -> Tensor:
        """The way back."""
        ...


@dataclass(slots=True)
class TextRun:
    """Neighbouring frames that read the same text."""

    text: PreparedText
    frames: int


def text_runs(texts: Sequence[PreparedText]) -> list[TextRun]:
    """The texts of frames, those of neighbours together where they are the same."""
    runs: list[TextRun] = []
    for text in texts:
        if runs and runs[-1].text is text:
            runs[-1].frames += 1
        else:
            runs.append(TextRun(text, 1))
    return runs


@dataclass(slots=True, kw_only=True)
class Pass:
    """What all blocks of one forward pass share.

    `key` is the grid with the frames of the context in front, in the order in which it is read; `past_rotation` is
    theirs, None where there are none or they are turned already.
    """

    grid: TokenGrid
    key: TokenGrid
    rotation: Rotation
    attention: VideoAttention
    causal_block: int | None
    context: KVCache | None
    past_rotation: Rotation | None
    slots: list[int] | None
    sigma: float | None
    regions: Regions
    shards: Shards | None

    @property
    def remembers_unturned(self) -> bool:
        """Whether keys are written to the context as they are before their rotation."""
        return self.context is not None and self.slots is not None and not self.context.turned


def share_of(whole: Rotation, shards: Shards | None, frames: int) -> Rotation:
    """The rotation of the tokens that this process turns."""
    if shards is None:
        return whole
    return Rotation(*(shards.mine(part_LNP.unsqueeze(0), frames).squeeze(0) for part_LNP in whole))


def _cross(q_BLNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor) -> Tensor:
    out = traced_attention(q_BLNK.transpose(1, 2), k_BMNK.transpose(1, 2), v_BMNK.transpose(1, 2))
    return out.transpose(1, 2).flatten(2)


def read_text(q_BLNK: Tensor, text: TextKV, dtype: torch.dtype) -> Tensor:
    """What queries find in a text, out_BLD, and in an image beside it."""
    out_BLD = _cross(q_BLNK, text.k_BMNK, text.v_BMNK).to(dtype)
    if text.image_k_BMNK is None or text.image_v_BMNK is None:
        return out_BLD
    return out_BLD + _cross(q_BLNK, text.image_k_BMNK, text.image_v_BMNK).to(dtype)
