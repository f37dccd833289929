"""`gather`: on a CPU, flash attention over tiles of queries and copies of the keys that they read. Differentiable.

Nothing is masked but what is partial, or kept by only a part of a tile; neighbouring keys are not copied.

Letters here: `X` maps (items and heads that do not share one), `Y` items and heads that share each, and those of
`tiling.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor

from vgen.attention.blocks import BlockMap
from vgen.attention.executors.base import FrameBias, Task, check
from vgen.attention.executors.tiling import Tiles, tiles_of

__all__ = ["Gather"]

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_COPIED_BYTES = 1 << 14  # at once, per row of a tile and thread: narrow tiles read their copies often, from the cache
_LOGITS_BYTES = 1 << 25  # at once, in the backward pass
_BITS_OF_MINUS_INF = -(1 << 23)  # 0xFF800000, as int32


@dataclass(frozen=True, slots=True)
class Gather:
    """The fastest in fp32 on a CPU; exact for any map."""

    def supports(self, blocks: BlockMap, task: Task) -> str | None:
        if task.device.type != "cpu":
            return "it runs on a CPU alone"
        if task.dtype not in _DTYPES:
            return f"no kernel for {str(task.dtype).removeprefix('torch.')}"
        return None

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        blocks: BlockMap,
        *,
        scale: float | None = None,
        bias: FrameBias | None = None,
    ) -> Tensor:
        return self.with_lse(q_BLNK, k_BMNK, v_BMNK, blocks, scale=scale, bias=bias)[0]

    def with_lse(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        blocks: BlockMap,
        *,
        scale: float | None = None,
        bias: FrameBias | None = None,
    ) -> tuple[Tensor, Tensor]:
        check(q_BLNK, k_BMNK, v_BMNK, blocks)
        assert bias is None or not bias.table_TS.requires_grad, "no gradient of a bias"
        batch, _, heads, width = q_BLNK.shape
        scale = width**-0.5 if scale is None else scale
        q_XYLK, k_XYMK, v_XYMK = (_by_map(x, blocks) for x in (q_BLNK, k_BMNK, v_BMNK))
        tiles = tiles_of(blocks, q_XYLK.shape[1])
        attend: Callable[..., tuple[Tensor, Tensor]] = _Attention.apply
        out_XYLK, lse_XYL = attend(q_XYLK, k_XYMK, v_XYMK, blocks, tiles, scale, bias)
        out_BNLK, lse_BNL = (_by_item(x, blocks, batch, heads) for x in (out_XYLK, lse_XYL))
        return out_BNLK.transpose(1, 2), lse_BNL


def _by_map(x_BLNK: Tensor, blocks: BlockMap) -> Tensor:
    """x_XYLK, contiguous."""
    items, heads = (side > 1 for side in blocks.state_BNUV.shape[:2])
    if heads and not items:
        return x_BLNK.permute(2, 0, 1, 3).contiguous()
    x_BNLK = x_BLNK.transpose(1, 2).contiguous()
    if items and heads:
        return x_BNLK.flatten(0, 1)[:, None]
    return x_BNLK if items else x_BNLK.flatten(0, 1)[None]


def _by_item(x_XYL: Tensor, blocks: BlockMap, batch: int, heads: int) -> Tensor:
    """The inverse, [B, N, ...]."""
    items, own_heads = (side > 1 for side in blocks.state_BNUV.shape[:2])
    if own_heads and not items:
        return x_XYL.transpose(0, 1)
    return x_XYL.flatten(0, 1).unflatten(0, (batch, heads))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some tiles of one shape and some of the heads that share them: what one call of the kernel computes.

    Args:
        units: what each tile and head reads of k_XYMK, in pieces of `unit` keys; None where it is a run.
        mask_G1RC: added to the logits.
    """

    tiles: Tiles
    chosen: range
    shared: slice
    units: Tensor | None
    unit: int
    mask_G1RC: Tensor | None

    def queries_of(self, x_XYL: Tensor) -> Tensor:
        """The rows of the tiles, [G, Y, R, ...]."""
        parts = [x_XYL[x, self.shared, first : first + self.tiles.rows] for x, first in self._rows()]
        return parts[0][None] if len(parts) == 1 else torch.stack(parts)

    def add_queries(self, x_XYL: Tensor, values_GYR: Tensor) -> None:
        for (x, first), values_YR in zip(self._rows(), values_GYR, strict=True):
            x_XYL[x, self.shared, first : first + self.tiles.rows] += values_YR

    def put(self, out_XYLK: Tensor, lse_XYL: Tensor, out_GYRK: Tensor, lse_GYR: Tensor) -> None:
        """Writes results of the tiles, merged with what other tiles of the same rows have written."""
        for (x, first), out_YRK, lse_YR in zip(self._rows(), out_GYRK, lse_GYR, strict=True):
            rows = slice(first, first + self.tiles.rows)
            held_YRK, held_YR = out_XYLK[x, self.shared, rows], lse_XYL[x, self.shared, rows]
            if self.tiles.merged:
                share_YR = (lse_YR - held_YR).sigmoid_().nan_to_num_()  # both are -inf where nothing is kept
                held_YRK.lerp_(out_YRK.to(held_YRK.dtype), share_YR[..., None])
                torch.logaddexp(held_YR, lse_YR, out=held_YR)
            else:
                held_YRK.copy_(out_YRK)
                held_YR.copy_(lse_YR)

    def keys_of(self, x_XYMK: Tensor) -> Tensor:
        """The keys or values that the tiles read, [G, Y, C, K]."""
        if self.units is None:
            return self._run(x_XYMK)
        heads, width = self.shared.stop - self.shared.start, x_XYMK.shape[-1]
        copied = x_XYMK.view(-1, self.unit * width).index_select(0, self.units)
        return copied.view(len(self.chosen), heads, -1, width)

    def add_keys(self, x_XYMK: Tensor, values_GYCK: Tensor) -> None:
        if self.units is None:
            self._run(x_XYMK).add_(values_GYCK)
        else:
            per_unit = self.unit * x_XYMK.shape[-1]
            x_XYMK.view(-1, per_unit).index_add_(0, self.units, values_GYCK.reshape(-1, per_unit))

    def _rows(self) -> list[tuple[int, int]]:
        return [(self.tiles.owner_G[g], self.tiles.start_G[g]) for g in self.chosen]

    def _run(self, x_XYMK: Tensor) -> Tensor:
        first, owner = self.tiles.run, self.tiles.owner_G[0]
        assert first is not None
        return x_XYMK[owner : owner + 1, self.shared, first : first + self.tiles.keys]


def _pieces(
    blocks: BlockMap, tiles: tuple[Tiles, ...], k_XYMK: Tensor, bias: FrameBias | None, *, heads_at_once: int
) -> Iterator[_Piece]:
    sharing, keys, width = k_XYMK.shape[1:]
    unit, masks = gcd(*blocks.key_edges), _Masks(blocks, bias)
    for same in tiles:
        copied = 2 * same.keys * width * k_XYMK.element_size()  # by a tile and head
        fitting = max(1, _COPIED_BYTES * same.rows * torch.get_num_threads() // copied)
        step = sharing if same.run is not None else min(sharing, fitting)
        step = min(step, heads_at_once)
        together = max(1, fitting // sharing) if step == sharing else 1
        for first in range(0, len(same.owner_G), together):
            chosen = range(first, min(first + together, len(same.owner_G)))
            mask_G1RC = masks.of(same, chosen)
            at_GC = None if same.run is not None else torch.stack([same.positions(g, blocks, unit) for g in chosen])
            for y in range(0, sharing, step):
                shared = slice(y, min(y + step, sharing))
                units = None
                if at_GC is not None:
                    owner_G = torch.tensor([same.owner_G[g] for g in chosen])
                    head_GY = owner_G[:, None] * sharing + torch.arange(shared.start, shared.stop)
                    units = (head_GY[..., None] * (keys // unit) + at_GC[:, None]).flatten()
                yield _Piece(same, chosen, shared, units, unit, mask_G1RC)


class _Masks:
    """What is added to the logits of tiles: the bias, and -inf where a pair is dropped.

    All tiles share the memory of one mask: fresh memory for each would cost several times what filling it does.
    """

    def __init__(self, blocks: BlockMap, bias: FrameBias | None) -> None:
        self.blocks, self.bias = blocks, bias
        self._memory = torch.empty(0)

    def of(self, tiles: Tiles, chosen: range) -> Tensor | None:
        """mask_G1RC, valid until the next is asked for; None where nothing is added."""
        if not tiles.masked and self.bias is None:
            return None
        size = len(chosen) * tiles.rows * tiles.keys
        if self._memory.numel() < size:
            self._memory = torch.empty(size)
        mask_G1RC = self._memory[:size].view(len(chosen), 1, tiles.rows, tiles.keys)
        for tile, mask_RC in zip(chosen, mask_G1RC[:, 0], strict=True):
            if tiles.masked:
                self._drop(tiles, tile, mask_RC)
            else:
                mask_RC.zero_()
            if self.bias is not None:
                query_R = torch.arange(tiles.start_G[tile], tiles.start_G[tile] + tiles.rows)
                mask_RC += self.bias.between(query_R[:, None], tiles.positions(tile, self.blocks)[None, :])
        return mask_G1RC

    def _drop(self, tiles: Tiles, tile: int, mask_RC: Tensor) -> None:
        """0 where a pair is kept, -inf elsewhere."""
        even_US = tiles.evens.get(tile)
        if even_US is not None:
            count, columns = even_US.shape
            added_US = torch.zeros(count, columns).masked_fill_(~even_US, -torch.inf)
            mask_RC.view(count, -1, columns, tiles.keys // columns).copy_(added_US[:, None, :, None])
        else:  # by bits: 1 - 1 = 0 is 0.0, and 0 - 1 has all of them, those of -inf too
            bits_RC = mask_RC.view(torch.int32)
            bits_RC.copy_(tiles.kept_RC(tile, self.blocks)).sub_(1).bitwise_and_(_BITS_OF_MINUS_INF)


class _Attention(torch.autograd.Function):
    """Forward by torch's flash attention; backward by its published recomputation (Dao et al. 2022, 2205.14135)."""

    @staticmethod
    def forward(
        ctx: Any,
        q_XYLK: Tensor,
        k_XYMK: Tensor,
        v_XYMK: Tensor,
        blocks: BlockMap,
        tiles: tuple[Tiles, ...],
        scale: float,
        bias: FrameBias | None,
    ) -> tuple[Tensor, Tensor]:
        merging = any(same.merged for same in tiles)
        out_XYLK = torch.zeros_like(q_XYLK, dtype=torch.float32 if merging else None)
        lse_XYL = torch.full(q_XYLK.shape[:3], -torch.inf)
        for piece in _pieces(blocks, tiles, k_XYMK, bias, heads_at_once=q_XYLK.shape[1]):
            out_GYRK, lse_GYR = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                piece.queries_of(q_XYLK),
                piece.keys_of(k_XYMK),
                piece.keys_of(v_XYMK),
                attn_mask=piece.mask_G1RC,
                scale=scale,
            )
            if piece.mask_G1RC is not None:  # the kernel calls the sum over nothing 1
                lse_GYR = lse_GYR.masked_fill(piece.mask_G1RC.amax(-1) == -torch.inf, -torch.inf)
            piece.put(out_XYLK, lse_XYL, out_GYRK, lse_GYR)
        out_XYLK = out_XYLK.to(q_XYLK.dtype)
        ctx.save_for_backward(q_XYLK, k_XYMK, v_XYMK, out_XYLK, lse_XYL)
        ctx.asked = blocks, tiles, scale, bias
        return out_XYLK, lse_XYL

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_XYLK, k_XYMK, v_XYMK, out_XYLK, lse_XYL = ctx.saved_tensors
        blocks, tiles, scale, bias = ctx.asked
        dout_XYLK, dlse_XYL = grads
        delta_XYL = (dout_XYLK.float() * out_XYLK.float()).sum(-1) - dlse_XYL
        safe_XYL = lse_XYL.masked_fill(lse_XYL == -torch.inf, torch.inf)  # exp(logit - inf) = 0
        dq_XYLK, dk_XYMK, dv_XYMK = (torch.zeros_like(x, dtype=torch.float32) for x in (q_XYLK, k_XYMK, v_XYMK))
        largest = max((same.rows * same.keys for same in tiles), default=1)
        heads_at_once = max(1, _LOGITS_BYTES // (4 * largest))
        for piece in _pieces(blocks, tiles, k_XYMK, bias, heads_at_once=heads_at_once):
            q, dout = (piece.queries_of(x).float() for x in (q_XYLK, dout_XYLK))
            k, v = (piece.keys_of(x).float() for x in (k_XYMK, v_XYMK))
            delta, lse = (piece.queries_of(x)[..., None] for x in (delta_XYL, safe_XYL))
            share_GYRC = (q * scale) @ k.mT
            if piece.mask_G1RC is not None:
                share_GYRC += piece.mask_G1RC
            share_GYRC.sub_(lse).exp_()
            piece.add_keys(dv_XYMK, share_GYRC.mT @ dout)
            dlogits_GYRC = share_GYRC.mul_((dout @ v.mT).sub_(delta)).mul_(scale)
            piece.add_queries(dq_XYLK, dlogits_GYRC @ k)
            piece.add_keys(dk_XYMK, dlogits_GYRC.mT @ q)
        return dq_XYLK.to(q_XYLK.dtype), dk_XYMK.to(k_XYMK.dtype), dv_XYMK.to(v_XYMK.dtype), None, None, None, None
