"""A `Draft`: a module's class, config and dtype, which is all that a plan needs of it; what it takes is remembered.

Each function here runs a part of a model dry, at sizes that it is given.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor, nn

from vgen.attention import VideoAttention, WindowFusion
from vgen.models.cache import KVCache
from vgen.models.files import cast_weights
from vgen.models.rope import Rope
from vgen.models.vae import StreamingDecoder, encode_frames
from vgen.parallel.ulysses import Ulysses
from vgen.plan.ledger import Cost, dry
from vgen.samplers import CachePositions
from vgen.shapes import TokenGrid

__all__ = ["Draft", "Shown", "decoding", "denoising", "encoding", "reading_image", "reading_text"]

META = torch.device("meta")
BLOCKS = 2  # of a transformer that are run dry: the others take what these take


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a module is made from.

    Args:
        cls: its class, of diffusers or transformers.
        config: as JSON.
        dtype: of its parameters, but for those that the libraries keep in fp32.
    """

    cls: type[nn.Module]
    config: str
    dtype: torch.dtype

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype) -> Self:
        config = module.config if isinstance(module.config, dict) else module.config.to_dict()
        return cls(cls=type(module), config=json.dumps(dict(config), sort_keys=True, default=str), dtype=dtype)

    def build(self, **changes: int) -> Any:
        """The module on the meta device."""
        config: Any = json.loads(self.config) | changes
        make: Any = self.cls
        with META:
            made = make.from_config(config) if hasattr(make, "from_config") else make(make.config_class(**config))
        return cast_weights(made, self.dtype).eval()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One forward pass of the transformer.

    Args:
        frames: latent frames that it shows.
        height, width: of a latent frame.
        held: latent frames in the cache, of `capacity`.
        wrapped: whether the cache has come round, so that what it holds does not begin at its first slot.
        turned: whether it holds keys with their rotation.
        causal_block: as `VideoDiT.forward` takes it.
        fusion: window and stride of fused windows.
        copies: how many tensors of the size of the queries attention takes beside its result.
        processes: that share its tokens and heads.
    """

    frames: int
    height: int
    width: int
    held: int = 0
    capacity: int = 0
    wrapped: bool = False
    turned: bool = True
    causal_block: int | None = None
    fusion: tuple[int, int] | None = None
    copies: int = 0
    processes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Absent:
    """`Peers` that send nothing, of the sizes that they would."""

    size: int
    index: int = 0

    def exchanged(self, sent: Tensor) -> Tensor:
        return torch.empty_like(sent)

    def gathered(self, x: Tensor) -> Tensor:
        return x.new_empty((self.size, *x.shape))


@dataclass(frozen=True, slots=True)
class _Priced:
    """A `VideoAttention` that makes what attention makes, and so many copies of its queries on the way."""

    copies: int

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
        held = [torch.empty_like(q_BLNK) for _ in range(self.copies)]
        out_BLNK = torch.empty_like(q_BLNK)
        del held
        return out_BLNK


@lru_cache(maxsize=256)
def denoising(draft: Draft, shown: Shown, channels: int, text: tuple[int, int], device_type: str) -> Cost:
    """One pass of the transformer, without the keys and values of its texts and of what it has cached.

    Args:
        channels: that it takes.
        text: tokens and width of the states that it reads.
    """
    dit = draft.build(num_layers=min(BLOCKS, json.loads(draft.config)["num_layers"]))
    frames, held = shown.frames, tuple(range(shown.held))
    prepared = dit.prepare_text(torch.empty(1, *text, device=META, dtype=draft.dtype))
    context = _cache(dit, shown) if shown.capacity else None
    attention: VideoAttention = _Priced(shown.copies)
    if shown.fusion is not None:
        attention = WindowFusion(inner=attention, window=shown.fusion[0], stride=shown.fusion[1])
    x_BCTHW = torch.empty(1, channels, frames, shown.height, shown.width, device=META, dtype=draft.dtype)

    def forward() -> Tensor:
        velocity: Tensor = dit(
            x_BCTHW,
            torch.empty(1, frames, device=META),
            prepared,
            frames=range(len(held), len(held) + frames),
            causal_block=shown.causal_block,
            context=context,
            attention=attention,
            rope=Rope() if shown.turned else Rope(positions=CachePositions()),
            sigma=0.5,
            shards=Ulysses(_Absent(size=shown.processes)) if shown.processes > 1 else None,
        )
        return velocity

    return dry(forward, device_type)


def _cache(dit: Any, shown: Shown) -> KVCache:
    """A cache that holds what a pass reads."""
    layers, config = len(dit.blocks), dit.config
    tokens = (shown.height // config.patch_size[1]) * (shown.width // config.patch_size[2])
    cache = KVCache(layers=layers, capacity=shown.capacity, turned=shown.turned)
    before = shown.capacity - shown.held if shown.wrapped else 0
    frames = range(-before, shown.held)
    if not frames:
        return cache
    slots = cache.reserve(frames)
    k_BMNK = torch.empty(
        1,
        len(frames) * tokens,
        config.num_attention_heads // shown.processes,
        config.attention_head_dim,
        device=META,
        dtype=dit.patch_embedding.weight.dtype,
    )
    for layer in range(layers):
        cache.write(layer, slots, k_BMNK, k_BMNK)
    cache.publish(frames, slots)
    cache.drop(range(-before, 0))
    return cache


@lru_cache(maxsize=64)
def reading_text(draft: Draft, tokens: int, device_type: str) -> Cost:
    """The states of one prompt."""
    encoder = draft.build()
    ids, mask = (torch.ones(1, tokens, dtype=torch.long, device=META) for _ in range(2))
    return dry(lambda: encoder(ids, mask).last_hidden_state, device_type)


@lru_cache(maxsize=64)
def reading_image(draft: Draft, images: int, device_type: str) -> Cost:
    """The states of one picture, or of two at once."""
    encoder = draft.build()
    side = encoder.config.image_size
    pixels = torch.empty(images, 3, side, side, device=META, dtype=draft.dtype)
    return dry(lambda: encoder(pixels, output_hidden_states=True).hidden_states[-2], device_type)


def encoding(draft: Draft, frames: int, size: tuple[int, int], device_type: str) -> Cost:
    """Latents of so many frames of a size in pixels. A VAE goes through them a few at a time: after the third time
    each takes what the one before it took.
    """
    per_latent = json.loads(draft.config)["scale_factor_temporal"]
    times = (frames - 1) // per_latent
    if times <= 3:
        return _encoding(draft, frames, size, device_type)
    before, last = (_encoding(draft, 1 + n * per_latent, size, device_type) for n in (2, 3))

    def at(name: str) -> int:
        first: int = getattr(last, name)
        return first + (times - 3) * (first - int(getattr(before, name)))

    return Cost(peak=at("peak"), kept=at("kept"), flops=at("flops"))


@lru_cache(maxsize=64)
def _encoding(draft: Draft, frames: int, size: tuple[int, int], device_type: str) -> Cost:
    vae = draft.build()
    return dry(lambda: encode_frames(vae, torch.empty(1, 3, frames, *size, device=META)), device_type)


def decoding(draft: Draft, latents: int, size: tuple[int, int], tiled: bool, device_type: str) -> Cost:
    """Latent frames that are pushed one by one, of a size in latents; what the decoder remembers is kept.

    Args:
        latents: how many, from 1: the third takes what all others take.
    """
    first, second, third = (_decoding(draft, n, size, tiled, device_type) for n in (1, 2, 3))
    if latents < 3:
        return second if latents == 2 else first
    each = third.flops - second.flops
    return Cost(peak=third.peak, kept=third.kept, flops=third.flops + (latents - 3) * each)


@lru_cache(maxsize=64)
def _decoding(draft: Draft, latents: int, size: tuple[int, int], tiled: bool, device_type: str) -> Cost:
    vae = draft.build()
    spatial = vae.config.scale_factor_spatial
    least = (vae.tile_sample_min_height // spatial, vae.tile_sample_min_width // spatial)
    if tiled and (size[0] > least[0] or size[1] > least[1]):
        return _tiles(_decoding(draft, latents, least, False, device_type), vae, size)
    latent_BCTHW = torch.empty(1, vae.config.z_dim, 1, *size, device=META)

    def push() -> StreamingDecoder:
        decoder = StreamingDecoder(vae)
        for _ in range(latents):
            decoder.push(latent_BCTHW)
        return decoder

    return dry(push, device_type)


def _tiles(one: Cost, vae: Any, size: tuple[int, int]) -> Cost:
    """A frame in tiles: each keeps features of its own, and their pixels wait until all are there."""
    spatial = vae.config.scale_factor_spatial
    strides = (vae.tile_sample_stride_height // spatial, vae.tile_sample_stride_width // spatial)
    count = -(-size[0] // strides[0]) * -(-size[1] // strides[1])
    pixels = vae.tile_sample_min_height * vae.tile_sample_min_width * vae.config.scale_factor_temporal
    waiting = 2 * count * 3 * 4 * pixels
    return Cost(peak=count * one.kept + one.peak - one.kept + waiting, kept=count * one.kept, flops=count * one.flops)
