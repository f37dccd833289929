"""VideoDiT: Wan's video transformer with a noise level per latent frame, free positions and a key-value cache.

Parameter names and config are those of diffusers' `WanTransformer3DModel`, so every Wan-class folder loads, and
`to_stock` gives the stock class back for writing. What differs is inside: the modulation is per frame, [B, T, 6, D],
never expanded to tokens; positions are explicit; self-attention is a swappable `VideoAttention`, optionally
block-causal, over cached and own keys; keys and values of the text are computed once per prompt, and each frame may
read another one.

Wan: Wan Team 2025, arXiv:2503.20314. DiT: Peebles and Xie 2023, arXiv:2212.09748.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import torch
from diffusers import ModelMixin, WanTransformer3DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import FeedForward
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import WanAttention, WanTimeTextImageEmbedding
from einops import rearrange
from torch import Tensor, nn

from vgen.attention import Dense, VideoAttention, block_causal
from vgen.models.cache import KVCache
from vgen.models.graphs import Graphs
from vgen.models.passes import (
    Pass,
    PreparedText,
    Shards,
    TextKV,
    TextPerFrame,
    TextRun,
    read_text,
    share_of,
    text_runs,
)
from vgen.models.regions import EAGER, Regions, modulate
from vgen.models.residence import at_hand
from vgen.models.rope import Rope, Rotation, apply_rotation, rotation
from vgen.shapes import TokenGrid

__all__ = ["VideoDiT", "VideoDiTBlock"]

DENSE = Dense()
ABSOLUTE = Rope()
TIMESTEPS = 1000.0  # a Wan model's timestep is 1000 sigma


class VideoDiTBlock(nn.Module):
    """One Wan block: self-attention, cross-attention to the text, feed-forward."""

    def __init__(
        self, dim: int, ffn_dim: int, num_heads: int, cross_attn_norm: bool, eps: float, added_kv_proj_dim: int | None
    ) -> None:
        super().__init__()
        head_width = dim // num_heads
        self.norm1 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.attn1 = WanAttention(dim=dim, heads=num_heads, dim_head=head_width, eps=eps)
        self.attn2 = WanAttention(
            dim=dim,
            heads=num_heads,
            dim_head=head_width,
            eps=eps,
            added_kv_proj_dim=added_kv_proj_dim,
            cross_attention_dim_head=head_width,
        )
        self.norm2 = FP32LayerNorm(dim, eps, elementwise_affine=True) if cross_attn_norm else nn.Identity()
        self.ffn = FeedForward(dim, inner_dim=ffn_dim, activation_fn="gelu-approximate")
        self.norm3 = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self, x_BLD: Tensor, modulation_BT6D: Tensor, texts: Sequence[TextRun], layer: int, shared: Pass
    ) -> Tensor:
        regions, shards, frames = shared.regions, shared.shards, len(shared.grid.frames)
        table_BT6D, q_BLNK, k_BMNK, unturned_BMNK, v_BMNK = regions.before(
            self, x_BLD, modulation_BT6D, shared.rotation
        )
        if shards is not None:
            remembered = (unturned_BMNK,) if shared.remembers_unturned else ()
            q_BLNK, k_BMNK, v_BMNK, *others = shards.by_heads(q_BLNK, k_BMNK, v_BMNK, *remembered, frames=frames)
            unturned_BMNK = others[0] if others else k_BMNK
        if shared.context is not None:
            k_BMNK, v_BMNK = self._with_past(shared.context, layer, unturned_BMNK, k_BMNK, v_BMNK, shared)
        out_BLNK = self._attend(q_BLNK, k_BMNK, v_BMNK, layer, shared)
        if shards is not None:
            out_BLNK = shards.by_tokens(out_BLNK, frames)
        x_BLD, q_BLNK = regions.between(self, x_BLD, out_BLNK, table_BT6D)
        return regions.after(self, x_BLD, self._read(q_BLNK, texts, layer, x_BLD.dtype), table_BT6D)

    @staticmethod
    def _attend(q_BLNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor, layer: int, shared: Pass) -> Tensor:
        if shared.causal_block is None:
            return shared.attention(
                q_BLNK, k_BMNK, v_BMNK, query=shared.grid, key=shared.key, layer=layer, sigma=shared.sigma
            )
        return block_causal(
            shared.attention,
            q_BLNK,
            k_BMNK,
            v_BMNK,
            query=shared.grid,
            key=shared.key,
            layer=layer,
            block=shared.causal_block,
            sigma=shared.sigma,
        )

    @staticmethod
    def _with_past(
        context: KVCache, layer: int, unturned_BMNK: Tensor, k_BMNK: Tensor, v_BMNK: Tensor, shared: Pass
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the context and the pass's own; writes those to the context where they are to stay."""
        if shared.slots is not None:
            context.write(layer, shared.slots, k_BMNK if context.turned else unturned_BMNK, v_BMNK)
        if shared.key == shared.grid:
            return k_BMNK, v_BMNK
        if shared.past_rotation is None:
            return context.join(layer, k_BMNK, v_BMNK, len(shared.grid.frames))
        past = context.read(layer)
        assert past is not None, "its frames have a rotation"
        past_k_BMNK = apply_rotation(past[0], shared.past_rotation)
        return torch.cat((past_k_BMNK, k_BMNK), dim=1), torch.cat((past[1], v_BMNK), dim=1)

    @staticmethod
    def _read(q_BLNK: Tensor, texts: Sequence[TextRun], layer: int, dtype: torch.dtype) -> Tensor:
        """What cross-attention reads, each run of frames in its own text."""
        per_frame = q_BLNK.shape[1] // sum(run.frames for run in texts)
        parts = q_BLNK.split([run.frames * per_frame for run in texts], dim=1)
        outs = [read_text(part, run.text.layers[layer], dtype) for part, run in zip(parts, texts, strict=True)]
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)

    def text_kv(self, text_BMD: Tensor, image_BMD: Tensor | None) -> TextKV:
        """Cross-attention keys and values of embedded conditions."""
        attn = self.attn2
        k_BMNK = attn.norm_k(attn.to_k(text_BMD)).unflatten(2, (attn.heads, -1))
        v_BMNK = attn.to_v(text_BMD).unflatten(2, (attn.heads, -1))
        if image_BMD is None or attn.add_k_proj is None:
            return TextKV(k_BMNK, v_BMNK)
        image_k_BMNK = attn.norm_added_k(attn.add_k_proj(image_BMD)).unflatten(2, (attn.heads, -1))
        return TextKV(k_BMNK, v_BMNK, image_k_BMNK, attn.add_v_proj(image_BMD).unflatten(2, (attn.heads, -1)))


class VideoDiT(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin):
    """Predicts the velocity eps - x0 of a noisy video latent.

    The config is `WanTransformer3DModel`'s, argument by argument.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["VideoDiTBlock"]
    _repeated_blocks: ClassVar[list[str]] = ["VideoDiTBlock"]
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = ["patch_embedding", "condition_embedder", "norm", "lora_"]
    _keep_in_fp32_modules: ClassVar[list[str]] = ["time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"]
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = ["norm_added_q"]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
    ) -> None:
        super().__init__()
        assert patch_size[0] == 1, f"a noise level per latent frame needs patches of one frame, got {patch_size}"
        assert qk_norm == "rms_norm_across_heads", f"Wan normalises q and k across heads, got {qk_norm}"
        dim = num_attention_heads * attention_head_dim
        self.patch_embedding = nn.Conv3d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.condition_embedder = WanTimeTextImageEmbedding(
            dim=dim,
            time_freq_dim=freq_dim,
            time_proj_dim=dim * 6,
            text_embed_dim=text_dim,
            image_embed_dim=image_dim,
            pos_embed_seq_len=pos_embed_seq_len,
        )
        self.blocks = nn.ModuleList(
            VideoDiTBlock(dim, ffn_dim, num_attention_heads, cross_attn_norm, eps, added_kv_proj_dim)
            for _ in range(num_layers)
        )
        self.norm_out = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(dim, out_channels * math.prod(patch_size))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.gradient_checkpointing = False

    def prepare_text(self, text_BMD: Tensor, image_BMD: Tensor | None = None) -> PreparedText:
        """Cross-attention keys and values for one prompt, to be computed once and passed to every `forward`.

        Args:
            text_BMD: states of the text encoder, padded to the model's text length (Wan attends to the padding).
            image_BMD: states of the image encoder, for models that take them; of a first and a last image as a batch.
        """
        with at_hand(self):
            return self._prepared(text_BMD, image_BMD)

    def forward(
        self,
        x_BCTHW: Tensor,
        sigma_BT: Tensor,
        text: Tensor | PreparedText | TextPerFrame,
        *,
        frames: Sequence[int] | None = None,
        causal_block: int | None = None,
        context: KVCache | None = None,
        commit: bool = False,
        attention: VideoAttention = DENSE,
        rope: Rope = ABSOLUTE,
        sigma: float | None = None,
        regions: Regions = EAGER,
        graphs: Graphs | None = None,
        shards: Shards | None = None,
    ) -> Tensor:
        """The velocity eps - x0 at every element of x.

        Args:
            x_BCTHW: noisy latents (with the channels of an image condition where the model takes them).
            sigma_BT: noise level of each latent frame in 0..1; T may be 1 where all frames share one.
            text: states of the text encoder, text_BMD, or what `prepare_text` made of them, for all frames or for each.
            frames: absolute latent index of each frame; 0..T-1 where None.
            causal_block: frames per block of block-causal attention, blocks counted from frame 0 of the clip; full
                attention where None.
            context: clean frames that the given ones see too.
            commit: write the keys and values of the given frames to `context`.
            attention: of the frames to themselves and to the context.
            rope: where in time the frames of the context and the given ones stand.
            sigma: the highest of `sigma_BT` as a plain number, for attention that differs by noise level.
            regions: how what lies between attentions runs: as it stands, or compiled.
            graphs: where passes are recorded, under `Dense` attention; the velocity is then written over by the next.
            shards: how tokens are spread over processes, each of which calls this alike; here alone where None.

        Returns:
            velocity_BCTHW in the dtype of the weights, with the model's `out_channels`.
        """
        _, patch_h, patch_w = self.config.patch_size
        indices = tuple(range(x_BCTHW.shape[2]) if frames is None else frames)
        height, width = x_BCTHW.shape[3] // patch_h, x_BCTHW.shape[4] // patch_w
        early, late = self._texts(text, len(indices))
        grid = TokenGrid(frames=indices, height=height, width=width)
        shared = self._pass(
            grid, x_BCTHW.device, causal_block, context, commit, attention, rope, sigma, regions, shards
        )

        def body(x_BCTHW: Tensor, sigma_BT: Tensor, *turns: Tensor) -> Tensor:
            past = Rotation(*turns[3:]) if turns[3:] else None
            again = replace(shared, rotation=Rotation(*turns[:3]), past_rotation=past)
            return self._velocity(x_BCTHW, sigma_BT, early, late, again)

        inputs = (x_BCTHW, sigma_BT, *shared.rotation, *(shared.past_rotation or ()))
        run = body if graphs is None else partial(graphs, *self._layout(early, late, shared), body)
        velocity_BCTHW = run(*inputs)
        if shared.context is not None and shared.slots is not None:
            shared.context.publish(indices, shared.slots)
        return velocity_BCTHW

    def _velocity(
        self, x_BCTHW: Tensor, sigma_BT: Tensor, early: list[TextRun], late: list[TextRun], shared: Pass
    ) -> Tensor:
        """`forward`, as far as it is the device's work: nothing here is brought from the host, or waited for."""
        _, patch_h, patch_w = self.config.patch_size
        temb_BTD, modulation_BT6D = self._time(sigma_BT, late[0].text.layers[0].k_BMNK.dtype)
        x_BLD = self.patch_embedding(x_BCTHW).flatten(2).transpose(1, 2).contiguous()
        if shared.shards is not None:
            x_BLD = shared.shards.mine(x_BLD, len(shared.grid.frames))
        for layer in range(len(self.blocks)):
            texts = early if layer < len(self.blocks) // 2 else late
            block = self._block(layer)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                assert shared.context is None, "a block that is computed twice would be committed twice"
                x_BLD = self._gradient_checkpointing_func(block, x_BLD, modulation_BT6D, texts, layer, shared)
            else:
                x_BLD = block(x_BLD, modulation_BT6D, texts, layer, shared)
        shift_BTD, scale_BTD = (self.scale_shift_table.unsqueeze(1) + temb_BTD.unsqueeze(2)).unbind(2)
        x_BLD = self.proj_out(modulate(self.norm_out(x_BLD.float()), shift_BTD, scale_BTD).type_as(x_BLD))
        if shared.shards is not None:
            x_BLD = shared.shards.whole(x_BLD, len(shared.grid.frames))
        return rearrange(
            x_BLD,
            "b (t h w) (ph pw c) -> b c t (h ph) (w pw)",
            t=len(shared.grid.frames),
            h=shared.grid.height,
            w=shared.grid.width,
            ph=patch_h,
            pw=patch_w,
        )

    def to_stock(self) -> WanTransformer3DModel:
        """The same weights in diffusers' own class; folders are always written through it."""
        with torch.device("meta"):
            stock = WanTransformer3DModel.from_config(self.config)
        rope = type(stock.rope)(self.config.attention_head_dim, self.config.patch_size, self.config.rope_max_seq_len)
        stock.load_state_dict(self.state_dict(), assign=True)
        stock.rope = rope  # its tables are not weights, so `assign` leaves them on the meta device
        return stock.eval()

    def _layout(
        self, early: list[TextRun], late: list[TextRun], shared: Pass
    ) -> tuple[tuple[Any, ...] | None, tuple[object, ...]]:
        """What a recording of a pass fixes beside shapes, and what that names by identity; see `Graphs`."""
        assert isinstance(shared.attention, Dense), "attention that depends on which frames are seen cannot be recorded"
        past = ((), ()) if shared.context is None else shared.context.layout()
        if past is None:
            return None, ()
        texts, block = [*early, *late], shared.causal_block
        frames = shared.grid.frames
        blocks = None if block is None else tuple(frame // block - frames[0] // block for frame in frames)
        slots = None if shared.slots is None else tuple(shared.slots)
        read = tuple((id(run.text), run.frames) for run in texts)
        layout = (id(self), past[0], slots, blocks, len(shared.key.frames), read)
        return layout, (*past[1], *(run.text for run in texts))

    def _block(self, layer: int) -> VideoDiTBlock:
        return cast(VideoDiTBlock, self.blocks[layer])

    def _prepared(self, text_BMD: Tensor, image_BMD: Tensor | None = None) -> PreparedText:
        embedded_BMD = self.condition_embedder.text_embedder(text_BMD)
        if image_BMD is not None:
            image_BMD = self.condition_embedder.image_embedder(image_BMD)
        layers = []
        for layer in range(len(self.blocks)):
            with at_hand(self._block(layer)):
                layers.append(self._block(layer).text_kv(embedded_BMD, image_BMD))
        return PreparedText(tuple(layers))

    def _texts(self, text: Tensor | PreparedText | TextPerFrame, frames: int) -> tuple[list[TextRun], list[TextRun]]:
        """What the frames read in the first half of the layers, and in the second."""
        if not isinstance(text, TextPerFrame):
            prepared = text if isinstance(text, PreparedText) else self._prepared(text)
            return [TextRun(prepared, frames)], [TextRun(prepared, frames)]
        early = text.frames if text.early is None else text.early
        assert len(text.frames) == len(early) == frames, f"a text for each of {frames} frames, got {len(text.frames)}"
        return text_runs(early), text_runs(text.frames)

    def _time(self, sigma_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Time embedding [B, T, D] and the blocks' modulation [B, T, 6, D]."""
        embedder = self.condition_embedder
        # 1000 sigma in double, so that a scheduler's own timestep comes back to the last bit
        timestep = (sigma_BT.double() * TIMESTEPS).flatten().float()
        waves = embedder.timesteps_proj(timestep).unflatten(0, tuple(sigma_BT.shape))
        waves = waves.to(next(embedder.time_embedder.parameters()).dtype)
        temb_BTD = embedder.time_embedder(waves).to(dtype)
        return temb_BTD, embedder.time_proj(embedder.act_fn(temb_BTD)).unflatten(2, (6, -1))

    def _pass(
        self,
        grid: TokenGrid,
        device: torch.device,
        causal_block: int | None,
        context: KVCache | None,
        commit: bool,
        attention: VideoAttention,
        rope: Rope,
        sigma: float | None,
        regions: Regions,
        shards: Shards | None,
    ) -> Pass:
        past = () if context is None else context.frames
        turned = context is not None and context.turned
        assert not (turned and rope.positions is not None), "turned keys stay where they are"
        places, head_width = rope.places(past + grid.frames), self.config.attention_head_dim

        def rotation_of(frames: tuple[int, ...]) -> Rotation:
            positions_T = torch.tensor([places[frame] for frame in frames], device=device)
            return rotation(positions_T, grid.height, grid.width, head_width, rope.riflex)

        slots = None
        if commit:
            assert context is not None, "commit=True needs a context to write to"
            slots = context.reserve(grid.frames)
        return Pass(
            grid=grid,
            key=replace(grid, frames=past + grid.frames),
            rotation=share_of(rotation_of(grid.frames), shards, len(grid.frames)),
            attention=attention,
            causal_block=causal_block,
            context=context,
            past_rotation=rotation_of(past) if past and not turned else None,
            slots=slots,
            sigma=sigma,
            regions=regions,
            shards=shards,
        )
