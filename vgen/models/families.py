"""Puts a `VideoAttention` into the self-attention of stock diffusers video transformers, and takes it out again.

    with install(pipe.transformer, SparseAttention(Radial())):
        frames = pipe(prompt).frames

Nothing of diffusers is rewritten. While a self-attention layer runs, its one call of torch's
`scaled_dot_product_attention` is answered by ours, with the lattice of tokens that the model's arguments imply. Text in
the same sequence stays visible to all, padded text to none; cross-attention and text refiners stay as they are. A
pipeline with two transformers (Wan 2.2 14B) has both installed, with one attention or two.

LoRA adapters may be loaded and the transformer be compiled before or after; self-attention stays outside of compiled
graphs, so not with `fullgraph`. Refused with a reason: gradient checkpointing, attention backends of diffusers other
than torch's own, masks other than of padded text, and processors set in between. Caches of diffusers that skip
attention in some steps skip ours too. A new family is a row of `FAMILIES`.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial, wraps
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from vgen.attention import VideoAttention
from vgen.errors import ConfigError, ModelError
from vgen.shapes import TokenGrid

__all__ = ["FAMILIES", "Family", "Installed", "install"]

TIMESTEPS = 1000.0  # all of these models count noise levels from 0 to 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the transformers of one class compute self-attention.

    Args:
        layers: the self-attention modules, in the order in which they run.
        video: frames, rows and columns of tokens, from the config and the arguments of a forward pass.
        text: where text stands in the sequence of a self-attention.
        call_per_item: the items of a batch are attended one by one, each without its padded text.
        rising: the timestep counts from noise to clean.
    """

    layers: Callable[[Any], list[nn.Module]]
    video: Callable[[Any, Mapping[str, Any]], tuple[int, int, int]]
    text: Literal["apart", "before", "after"]
    call_per_item: bool = False
    rising: bool = False


def install(transformer: nn.Module, attention: VideoAttention) -> "Installed":
    """Has the self-attention of a transformer computed by `attention` until `remove()`, or for the length of a `with`.

    The layer passed on counts self-attention layers in the order in which they run. The noise level passed on is the
    highest of the call, timestep / 1000 (1 minus that for Mochi); for CogVideoX, which is no flow model, it is the
    place on its own scale. So a schedule by steps is
    `Schedule.of_steps([t / 1000 for t in scheduler.timesteps.tolist()], first=12)`.

    Raises:
        ModelError: a transformer of another class.
        ConfigError: an attention is installed already.
    """
    name = type(transformer).__name__
    if name not in FAMILIES:
        raise ModelError(f"attention cannot be installed into {name}; possible: {', '.join(sorted(FAMILIES))}")
    family = FAMILIES[name]
    if any(isinstance(module.processor, _StandIn) for module in family.layers(transformer)):
        raise ConfigError(f"{name} has an attention installed; remove it first")
    return Installed(transformer, family, attention)


@dataclass(slots=True)
class _Pass:
    """One forward pass: the lattice of its video, how many text tokens and calls to expect, the highest noise level.

    `mask` is the last one seen and `lengths` what it says, since all layers of a pass share one.
    """

    video: TokenGrid
    text: int
    calls: int
    sigma: float
    mask: Tensor | None = None
    lengths: tuple[int, ...] = ()


class Installed(AbstractContextManager["Installed"]):
    """An attention that is installed; made by `install`."""

    def __init__(self, transformer: nn.Module, family: Family, attention: VideoAttention) -> None:
        self.attention = attention
        self._family, self._name = family, type(transformer).__name__
        self._pass: _Pass | None = None
        self._stock: list[tuple[Any, Any, _StandIn]] = []
        run, begin, end = (torch.compiler.disable(method) for method in (self._run, self._begin, self._end))
        for layer, module in enumerate(family.layers(transformer)):
            self._stock.append((module, module.processor, _stand_in(module.processor, partial(run, layer))))
        for module, _, ours in self._stock:
            module.processor = ours
        self._hooks = (
            transformer.register_forward_pre_hook(begin, with_kwargs=True),
            transformer.register_forward_hook(end, always_call=True),
        )

    def remove(self) -> None:
        """Takes the attention out; the transformer is as it was. Once is enough, twice does no harm."""
        for hook in self._hooks:
            hook.remove()
        for module, stock, ours in self._stock:
            if module.processor is ours:
                module.processor = stock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _begin(self, transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if any(module.processor is not ours for module, _, ours in self._stock):
            raise ConfigError(
                f"attention processors of {self._name} were set after an attention was installed; "
                "remove it, set them, and install it again"
            )
        if getattr(transformer, "gradient_checkpointing", False) and torch.is_grad_enabled():
            raise ConfigError(
                f"{self._name} checkpoints gradients, which repeats layers outside of its forward pass; "
                "an installed attention needs disable_gradient_checkpointing()"
            )
        said = inspect.signature(type(transformer).forward).bind(transformer, *args, **kwargs).arguments
        frames, height, width = self._family.video(transformer.config, said)
        noise = torch.as_tensor(said["timestep"]).float() / TIMESTEPS
        self._pass = _Pass(
            video=TokenGrid(frames=tuple(range(frames)), height=height, width=width),
            text=0 if self._family.text == "apart" else said["encoder_hidden_states"].shape[1],
            calls=said["hidden_states"].shape[0] if self._family.call_per_item else 1,
            sigma=float((1 - noise if self._family.rising else noise).max()),
        )

    def _end(self, transformer: object, args: object, output: object) -> None:
        self._pass = None

    def _run(self, layer: int, stock: Callable[..., Any], *args: object, **kwargs: object) -> object:
        """The stock processor, its attention answered by ours."""
        if self._pass is None:
            raise ConfigError(
                f"an installed attention was reached past {self._name}; call the transformer itself, not its forward() "
                "or its layers"
            )
        mode = _AnswerAttention(partial(self._answer, layer, self._pass))
        with mode:
            output = stock(*args, **kwargs)
        if mode.calls != self._pass.calls:
            raise ConfigError(
                f"{self._name} computes attention by diffusers' backend '{_backend(stock)}' "
                f"({mode.calls} calls of torch's attention in a layer, expected {self._pass.calls}); "
                "an installed attention needs set_attention_backend('native')"
            )
        return output

    def _answer(
        self,
        layer: int,
        this: _Pass,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """What torch's `scaled_dot_product_attention` is asked, with axes B N L K."""
        if dropout_p or is_causal or scale is not None or query.shape != key.shape:
            raise ModelError(
                f"{self._name}: a self-attention of queries {tuple(query.shape)} over keys {tuple(key.shape)} with "
                f"{dropout_p=}, {is_causal=}, {scale=}; possible: as many keys as queries and heads, and none of these"
            )
        batch, tokens, video = query.shape[0], query.shape[2], this.video.video_tokens
        text = tokens - video
        if not (0 <= text <= this.text if self._family.call_per_item else text == this.text):
            raise ModelError(
                f"{self._name}: {tokens} tokens in a self-attention; its arguments imply {video} of video, "
                f"{len(this.video.frames)}x{this.video.height}x{this.video.width}, and {this.text} of text"
            )
        if attn_mask is not None and attn_mask is not this.mask:
            this.mask, this.lengths = attn_mask, self._text_lengths(attn_mask, batch, video, text)
        lengths = (text,) * batch if attn_mask is None else this.lengths
        q_BLNK, k_BLNK, v_BLNK = (x.transpose(1, 2) for x in (query, key, value))
        if len({*lengths}) == 1:
            out_BLNK = self._attend(layer, this, q_BLNK, k_BLNK, v_BLNK, lengths[0])
            return out_BLNK.transpose(1, 2)
        out_BLNK = torch.zeros_like(q_BLNK)
        for length in sorted({*lengths}):
            items = [item for item in range(batch) if lengths[item] == length]
            out_BLNK[items] = self._attend(layer, this, q_BLNK[items], k_BLNK[items], v_BLNK[items], length)
        return out_BLNK.transpose(1, 2)

    def _attend(self, layer: int, this: _Pass, q_BLNK: Tensor, k_BLNK: Tensor, v_BLNK: Tensor, text: int) -> Tensor:
        """Attention among the video and the first `text` tokens of text; zeros for padded text, which nothing reads."""
        before, after = (text, 0) if self._family.text == "before" else (0, text)
        grid = replace(this.video, text_before=before, text_after=after)
        padded = q_BLNK.shape[1] - grid.tokens
        q_BLNK, k_BLNK, v_BLNK = (x_BLNK[:, : grid.tokens] for x_BLNK in (q_BLNK, k_BLNK, v_BLNK))
        out_BLNK = self.attention(q_BLNK, k_BLNK, v_BLNK, query=grid, key=grid, layer=layer, sigma=this.sigma)
        return nn.functional.pad(out_BLNK, (0, 0, 0, 0, 0, padded)) if padded else out_BLNK

    def _text_lengths(self, mask: Tensor, batch: int, video: int, text: int) -> tuple[int, ...]:
        """How many text tokens each item sees, of a mask of keys that hides padded text at the end."""
        if self._family.text == "after" and mask.dtype == torch.bool and mask.shape[1:] == (1, 1, video + text):
            keys_BM = mask[:, 0, 0].expand(batch, -1)
            seen_B = keys_BM.sum(1)
            padding = keys_BM == (torch.arange(video + text, device=mask.device) < seen_B[:, None])
            if bool(padding.all() & (seen_B >= video).all()):
                return tuple(int(seen) - video for seen in seen_B.tolist())
        raise ModelError(
            f"{self._name}: an attention mask of {tuple(mask.shape)}, {mask.dtype}, that is not of padded text; "
            "possible: none, or one that hides the end of text behind the video"
        )


class _StandIn:
    """Base of what stands in for a stock processor."""


def _stand_in(stock: Any, run: Callable[..., object]) -> _StandIn:
    """A processor that calls `run(stock, ...)`; with the signature of the stock one, which diffusers goes by."""

    class StandIn(_StandIn):
        @wraps(type(stock).__call__)
        def __call__(self, *args: object, **kwargs: object) -> object:
            return run(stock, *args, **kwargs)

    return StandIn()


class _AnswerAttention(TorchFunctionMode):
    """Hands calls of torch's attention to `answer`, and counts them."""

    def __init__(self, answer: Callable[..., Tensor]) -> None:
        super().__init__()
        self._answer, self.calls = answer, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self.calls += 1
        return self._answer(*args, **(kwargs or {}))


def _backend(processor: object) -> str:
    """The attention backend of diffusers that a processor uses."""
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry

    own = getattr(processor, "_attention_backend", None)
    return str((own or _AttentionBackendRegistry.get_active_backend()[0]).value)


def _patches(said: Mapping[str, Any], frames: int, rows: int, columns: int) -> tuple[int, int, int]:
    """Of latents [B, C, T, H, W], cut into patches of this size."""
    T, H, W = said["hidden_states"].shape[2:]
    return T // frames, H // rows, W // columns


def _cogvideox(config: Any, said: Mapping[str, Any]) -> tuple[int, int, int]:
    _, T, _, H, W = said["hidden_states"].shape
    return T // (config.patch_size_t or 1), H // config.patch_size, W // config.patch_size


def _ltx(config: Any, said: Mapping[str, Any]) -> tuple[int, int, int]:
    sizes = said.get("num_frames"), said.get("height"), said.get("width")
    if None in sizes:
        raise ModelError(
            "LTXVideoTransformer3DModel: called without num_frames, height and width (as with video_coords), so that "
            "the lattice of its tokens is not known; an installed attention needs all three"
        )
    return sizes  # type: ignore[return-value]  # just checked


FAMILIES: dict[str, Family] = {
    "CogVideoXTransformer3DModel": Family(
        layers=lambda model: [block.attn1 for block in model.transformer_blocks],
        video=_cogvideox,
        text="before",
    ),
    "HunyuanVideoTransformer3DModel": Family(
        layers=lambda model: [block.attn for block in (*model.transformer_blocks, *model.single_transformer_blocks)],
        video=lambda config, said: _patches(said, config.patch_size_t, config.patch_size, config.patch_size),
        text="after",
    ),
    "LTXVideoTransformer3DModel": Family(
        layers=lambda model: [block.attn1 for block in model.transformer_blocks],
        video=_ltx,
        text="apart",
    ),
    "MochiTransformer3DModel": Family(
        layers=lambda model: [block.attn1 for block in model.transformer_blocks],
        video=lambda config, said: _patches(said, 1, config.patch_size, config.patch_size),
        text="after",
        call_per_item=True,
        rising=True,
    ),
    "WanTransformer3DModel": Family(
        layers=lambda model: [block.attn1 for block in model.blocks],
        video=lambda config, said: _patches(said, *config.patch_size),
        text="apart",
    ),
}
