"""How much a job computes, by part, in closed form: two FLOPs for each multiply-add, as torch counts them.

Only matrix products, convolutions and attention count; norms, rotations and modulation are a few per cent in time and
nothing here. Encoders and VAE are counted as they are run dry.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from vgen.attention import Full, Pattern, PerHead, PerLayer, SparseAttention, WindowFusion
from vgen.attention.planning import plan as block_plan
from vgen.errors import ConfigError
from vgen.job import Job
from vgen.models.loaded import LoadedModel
from vgen.plan.drafts import Draft, decoding, encoding, reading_image, reading_text
from vgen.plan.memory import image_tokens_of, tokens_per_frame
from vgen.plan.passes import Pass, passes_of
from vgen.shapes import TokenGrid

__all__ = ["Work", "pass_flops", "prepare_flops", "work_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """FLOPs of one clip, by part.

    Args:
        text_encoder, image_encoder, vae_encode, vae_decode: of these.
        linear: of the transformers, attention aside.
        cross_attention: of their tokens to texts and images.
        self_attention: as the pattern computes it; None where it chooses by the data, so that nobody knows beforehand.
        dense_attention: the same without a pattern.
        forwards: passes of the transformers, of which `commits` only fill a cache.
    """

    text_encoder: int
    image_encoder: int
    vae_encode: int
    vae_decode: int
    linear: int
    cross_attention: int
    self_attention: int | None
    dense_attention: int
    forwards: int
    commits: int

    @property
    def transformer(self) -> int:
        """All of the transformers; with dense attention where the pattern's is not known."""
        attention = self.dense_attention if self.self_attention is None else self.self_attention
        return self.linear + self.cross_attention + attention

    @property
    def total(self) -> int:
        encoders = self.text_encoder + self.image_encoder
        return encoders + self.vae_encode + self.vae_decode + self.transformer

    @property
    def attention_share(self) -> float:
        """Of dense self-attention in a transformer without a pattern."""
        return self.dense_attention / (self.linear + self.cross_attention + self.dense_attention)

    @property
    def density(self) -> float | None:
        """Share of dense self-attention that is computed."""
        return None if self.self_attention is None else self.self_attention / self.dense_attention

    def at_best(self, density: float) -> float:
        """How much faster a transformer can become where attention costs `density` of dense: 1 / (1 - a (1 - d))."""
        return 1 / (1 - self.attention_share * (1 - density))


@dataclass(frozen=True, slots=True)
class PassFlops:
    """Of one pass of a transformer."""

    linear: int
    cross_attention: int
    dense_attention: int


def pass_flops(config: Any, *, tokens: int, frames: int, keys: int, text: int) -> PassFlops:
    """One pass of a Wan transformer, without what it makes of its texts, which is made once: `prepare_flops`.

    Args:
        config: of the transformer.
        tokens, frames: that it shows.
        keys: pairs are with, over all queries: `tokens` times the keys that each sees where all see the same.
        text: tokens of text and image that each token reads.
    """
    width, layers = config.num_attention_heads * config.attention_head_dim, config.num_layers
    patch = config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
    ends = tokens * width * patch * (config.in_channels + config.out_channels)
    time = frames * (config.freq_dim * width + width * width + 6 * width * width)
    # queries, keys, values and what comes out of self-attention; queries and what comes out of cross-attention; both
    # layers of the feed-forward network
    block = tokens * (6 * width * width + 2 * width * config.ffn_dim)
    return PassFlops(
        linear=2 * (ends + time + layers * block),
        cross_attention=4 * layers * tokens * text * width,
        dense_attention=4 * layers * keys * width,
    )


def prepare_flops(config: Any, *, text: int, images: int, pictures: int = 1) -> int:
    """Keys and values that a Wan transformer makes of a prompt, and of an image's states beside it.

    Args:
        text: tokens.
        images: tokens of the pictures together, of `pictures`.
    """
    width, layers = config.num_attention_heads * config.attention_head_dim, config.num_layers
    embed = text * (config.text_dim * width + width * width)
    if images:
        # the image embedder: two layers as wide as the states, then as the transformer
        embed += images * (config.image_dim * config.image_dim + config.image_dim * width)
    return int(2 * (embed + layers * 2 * (text + images) * width * width))


def work_of(job: Job, model: LoadedModel) -> Work:
    """All that a job computes for one clip; without a search, which comes on top in whole clips."""
    passes, texts = passes_of(job, model)
    config, per_frame = model.dit.config, tokens_per_frame(job, model)
    pictures = sum(image is not None for image in (job.image_YX3, job.last_image_YX3))
    images = 0 if model.images is None else pictures * image_tokens_of(model)
    text = model.prompts.length
    prepared = sum(texts.values()) * prepare_flops(config, text=text, images=images)
    linear, cross, dense, sparse = prepared, 0, 0, 0
    known = True
    attention = _Pairs(job, model)
    for one, times in passes.items():
        pairs, kept = attention.of(one)
        cost = pass_flops(
            config, tokens=len(one.frames) * per_frame, frames=len(one.frames), keys=pairs, text=text + images
        )
        linear += times * cost.linear
        cross += times * cost.cross_attention
        dense += times * cost.dense_attention
        known = known and kept is not None
        sparse += times * round(cost.dense_attention * (kept or 0))
    return Work(
        **_beside(job, model, pictures),
        linear=linear,
        cross_attention=cross,
        self_attention=sparse if known else None,
        dense_attention=dense,
        forwards=sum(passes.values()),
        commits=sum(times for one, times in passes.items() if one.commit),
    )


def _beside(job: Job, model: LoadedModel, pictures: int) -> dict[str, int]:
    """Encoders and VAE."""
    encoder, vae = model.prompts.encoder, Draft.of(model.vae, model.vae.dtype)
    prompts = {*job.prompts, *((job.negative_prompt,) if job.guided else ())}
    work = dict.fromkeys(("image_encoder", "vae_encode"), 0)
    one = reading_text(Draft.of(encoder, encoder.dtype), model.prompts.length, "cpu").flops
    work["text_encoder"] = len(prompts) * one
    if model.images is not None and pictures:
        images = model.images.encoder
        work["image_encoder"] = reading_image(Draft.of(images, images.dtype), pictures, "cpu").flops
    given = job.num_frames if model.card.image == "channels" else 0
    if job.known:
        given = 1 + model.vae.config.scale_factor_temporal * (job.known - 1)
    if given:
        work["vae_encode"] = encoding(vae, given, (job.height, job.width), "cpu").flops
    _, rows, columns = job.latent_shape
    work["vae_decode"] = decoding(vae, job.frames, (rows, columns), False, "cpu").flops
    return work


class _Pairs:
    """Pairs of tokens that self-attention computes in a pass, and which share of them a pattern keeps."""

    def __init__(self, job: Job, model: LoadedModel) -> None:
        self.sampling, self.layers = job.sampling, model.dit.config.num_layers
        _, rows, columns = job.latent_shape
        _, patch_h, patch_w = model.dit.config.patch_size
        self.grid = TokenGrid(frames=(0,), height=rows // patch_h, width=columns // patch_w)
        built = job.attention.build(1, decay=job.sampling.decay)
        self.sparse = built if isinstance(built, SparseAttention) else None

    def of(self, one: Pass) -> tuple[int, float | None]:
        """Pairs of a layer, and the share of them that is computed, over all layers; None where nobody knows."""
        pairs, kept = 0, 0.0
        for frames, past in self._calls(one):
            query, key = replace(self.grid, frames=frames), replace(self.grid, frames=past + frames)
            size = query.tokens * key.tokens
            pairs += size
            density = self._density(query, key, one.sigma)
            if density is None:
                return pairs, None
            kept += size * density
        return pairs, kept / pairs

    def _calls(self, one: Pass) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Frames that see each other, and what they see beside: of a mask's blocks, of fused windows."""
        parts = [(one.frames, one.past)]
        block = self.sampling.causal_block
        if block is not None:
            starts = sorted({next(i for i, f in enumerate(one.frames) if f // block == b) for b in
                             {f // block for f in one.frames}})  # fmt: skip
            stops = [*starts[1:], len(one.frames)]
            parts = [(one.frames[a:b], one.past + one.frames[:a]) for a, b in zip(starts, stops, strict=True)]
        if self.sampling.fusion is None:
            return parts
        return [piece for frames, past in parts for piece in self._fused(frames, past)]

    def _fused(self, frames: tuple[int, ...], past: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        assert self.sampling.fusion is not None
        window, stride = self.sampling.fusion
        if window >= len(frames):
            return [(frames, past)]
        fusion = WindowFusion(inner=SparseAttention(Full()), window=window, stride=stride)
        return [(frames[start : start + window], past) for start in fusion.starts(len(frames))]

    def _density(self, query: TokenGrid, key: TokenGrid, sigma: float) -> float | None:
        """Share of the pairs that is computed, mean over layers."""
        if self.sparse is None:
            return 1.0
        total = 0.0
        for layer in range(self.layers):
            density = 1.0 if self.sparse.schedule.dense(layer, sigma) else self._of_layer(layer, query, key)
            if density is None:
                return None
            total += density
        return total / self.layers

    def _of_layer(self, layer: int, query: TokenGrid, key: TokenGrid) -> float | None:
        assert self.sparse is not None
        pattern = self.sparse.pattern
        chosen = pattern.of(layer) if isinstance(pattern, PerLayer) else pattern
        if isinstance(chosen, PerHead):
            return None
        block = min(128, key.tokens) if self.sparse.block is None else self.sparse.block
        try:
            return _kept(chosen, query, key, block)
        except ConfigError:  # it looks at the data, and there are none here
            return None


@lru_cache(maxsize=4096)
def _kept(pattern: Pattern, query: TokenGrid, key: TokenGrid, block: int) -> float:
    return block_plan(pattern, query, key, block=block, device=torch.device("cpu")).density()
