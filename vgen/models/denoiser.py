"""`WanDenoiser`: a `VideoDiT` as the samplers want it, predicting the clean latent; `TextBook`: what it reads."""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vgen.attention import Dense, VideoAttention
from vgen.models.cache import KVCache
from vgen.models.dit import VideoDiT
from vgen.models.graphs import Graphs
from vgen.models.passes import PreparedText, Shards, TextPerFrame
from vgen.models.regions import EAGER, Regions
from vgen.models.rope import Rope
from vgen.models.step_cache import CachedBranch, bare
from vgen.samplers.prompts import Cue

__all__ = ["TextBook", "WanDenoiser"]


@dataclass(frozen=True, slots=True)
class _Mix:
    """One text: a prompt, or two of them blended."""

    prompt: int
    other: int
    share: float


class TextBook:
    """The prompts of one guidance branch, prepared for the model when a frame first reads them.

    Args:
        dit: whose cross-attention reads them.
        states: of the text encoder, text_BMD of each prompt of the request, as `Cue` counts them; the same tensor where
            it is the same prompt again.
        image_BMD: states of the image encoder, which every frame reads beside its text; None for models without one.
        capacity: texts kept prepared beyond the call that needs them; the latest are. One takes as much memory as
            2 * layers * text length * width values.
    """

    def __init__(
        self, dit: VideoDiT, states: Sequence[Tensor], *, image_BMD: Tensor | None = None, capacity: int = 8
    ) -> None:
        assert states and capacity >= 1, f"a book holds prompts, got {len(states)} and room for {capacity}"
        self.capacity = capacity
        self._dit, self._states = dit, tuple(states)
        self._image_BMD = image_BMD
        first = {id(text): i for i, text in reversed(list(enumerate(self._states)))}
        self._first = [first[id(text)] for text in self._states]
        self._prepared: OrderedDict[_Mix, PreparedText] = OrderedDict()

    def __call__(self, cues: Sequence[Cue]) -> PreparedText | TextPerFrame:
        """What `VideoDiT.forward` reads for frames with these cues; one text where all have the same."""
        late = [self._mix(cue) for cue in cues]
        early = [self._mix(cue if cue.early is None else Cue(prompt=cue.early)) for cue in cues]
        needed = {mix: self._text(mix) for mix in dict.fromkeys(late + early)}
        while len(self._prepared) > self.capacity:
            self._prepared.popitem(last=False)
        if len(needed) == 1:
            return needed[late[0]]
        by_frame = tuple(needed[mix] for mix in late)
        return TextPerFrame(by_frame, None if early == late else tuple(needed[mix] for mix in early))

    def _mix(self, cue: Cue) -> _Mix:
        """What is equal is the same mix, and with it the same text."""
        prompt = self._first[cue.prompt]
        other = prompt if cue.other is None else self._first[cue.other]
        if other == prompt or cue.share == 0:
            return _Mix(prompt, prompt, 0.0)
        if cue.share == 1:
            return _Mix(other, other, 0.0)
        return _Mix(prompt, other, cue.share)

    @torch.no_grad()
    def _text(self, mix: _Mix) -> PreparedText:
        if mix not in self._prepared:
            a_BMD, b_BMD = self._states[mix.prompt].float(), self._states[mix.other].float()
            text_BMD = torch.lerp(a_BMD, b_BMD, mix.share)
            text_BMD = text_BMD.to(self._dit.device, self._dit.dtype)
            image_BMD = None if self._image_BMD is None else self._image_BMD.to(text_BMD)
            self._prepared[mix] = self._dit.prepare_text(text_BMD, image_BMD)
        self._prepared.move_to_end(mix)
        return self._prepared[mix]


@dataclass(frozen=True, slots=True, kw_only=True)
class WanDenoiser:
    """Turns the velocity v = eps - x0 into x0 = x - sigma v; latents stay fp32 outside the model.

    Args:
        dit: the model.
        texts: the prompts that cues count.
        attention: of its self-attention layers.
        rope: where in time the frames stand that a pass sees.
        causal_block: frames per block where the shown frames see no later block; they all see each other where None.
        image_CTHW: an image's channels beside the noisy ones, of every frame of the clip; None for models without.
        cache: a step cache, as this branch uses it; every block runs in every step where None.
        regions, graphs: as `VideoDiT.forward`.
        shards: how tokens are spread over processes; not at all where None.
    """

    dit: VideoDiT
    texts: TextBook
    attention: VideoAttention = field(default_factory=Dense)
    rope: Rope = field(default_factory=Rope)
    causal_block: int | None = None
    image_CTHW: Tensor | None = None
    cache: CachedBranch | None = None
    regions: Regions = EAGER
    graphs: Graphs | None = None
    shards: Shards | None = None

    @torch.no_grad()
    def __call__(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: KVCache | None,
        label_BT: Tensor | None = None,
    ) -> Tensor:
        """As `samplers.Denoiser`."""
        sigma = float(sigma_BT.max())
        text = self.texts(cues)
        with self._bare() if self.cache is None else self.cache.step(frames, cues, sigma):
            velocity_BCTHW = self.dit(
                self._with_image(x_BCTHW.to(self._dtype), frames),
                sigma_BT if label_BT is None else label_BT,
                text,
                frames=frames,
                causal_block=self.causal_block,
                context=context,
                attention=self.attention,
                rope=self.rope,
                sigma=sigma,
                regions=self.regions,
                graphs=self.graphs,
                shards=self.shards,
            )
        return x_BCTHW - sigma_BT.to(x_BCTHW)[:, None, :, None, None] * velocity_BCTHW.to(x_BCTHW)

    def _bare(self) -> AbstractContextManager[None]:
        bare(self.dit)
        return nullcontext()

    @property
    def _dtype(self) -> torch.dtype:
        """Of the latents that the model takes; its own `dtype` looks through all its modules to find that out."""
        return self.dit.patch_embedding.weight.dtype

    def _with_image(self, x_BCTHW: Tensor, frames: tuple[int, ...]) -> Tensor:
        if self.image_CTHW is None:
            return x_BCTHW
        assert min(frames) >= 0 and max(frames) < self.image_CTHW.shape[1], f"the image's channels end before {frames}"
        image_BCTHW = self.image_CTHW[:, list(frames)].to(x_BCTHW).expand(x_BCTHW.shape[0], -1, -1, -1, -1)
        return torch.cat((x_BCTHW, image_BCTHW), dim=1)

    @torch.no_grad()
    def commit(
        self,
        x0_BCTHW: Tensor,
        *,
        frames: tuple[int, ...],
        cues: tuple[Cue, ...],
        context: KVCache,
        label: float = 0.0,
    ) -> None:
        """As `samplers.Denoiser`; to attention that differs by noise level the frames are clean, whatever the label."""
        label_BT = torch.full((x0_BCTHW.shape[0], 1), label, dtype=torch.float64, device=x0_BCTHW.device)
        text = self.texts(cues)
        with self._bare() if self.cache is None else self.cache.commit():
            self.dit(
                self._with_image(x0_BCTHW.to(self._dtype), frames),
                label_BT,
                text,
                frames=frames,
                causal_block=self.causal_block,
                context=context,
                commit=True,
                attention=self.attention,
                rope=self.rope,
                sigma=0.0,
                regions=self.regions,
                graphs=self.graphs,
                shards=self.shards,
            )
