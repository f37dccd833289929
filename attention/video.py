"""`SparseAttention`: pattern, executor and schedule as one thing that a model calls; and `Ran`, what it did."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from vgen.attention.bias import BiasRule, frame_bias
from vgen.attention.counting import kept_pairs
from vgen.attention.cycles import PerHead, PerLayer
from vgen.attention.dense import Dense
from vgen.attention.executors import EXECUTORS, choose
from vgen.attention.executors.base import Task
from vgen.attention.order import TokenOrder
from vgen.attention.pattern import AdaptivePattern, AnyPattern, Full, Pattern
from vgen.attention.planning import order_of, plan
from vgen.attention.schedule import Schedule
from vgen.errors import ConfigError, InputError
from vgen.shapes import TokenGrid

__all__ = ["Ran", "SparseAttention"]

BLOCK = 128  # tokens; what the fastest kernels of CPUs and GPUs take
GRIDS_KEPT = 64  # of a layer, before what it kept is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One way in which attention was computed, over all the calls that took it.

    Args:
        pattern: with its knobs, or `dense`.
        executor, reason: what computed it, and why that.
        layers: indices of the calling layers.
        sigmas: noise levels of the calls, in their order; None where the caller did not say.
        calls: how many.
        token_density: share of the pairs of tokens that were kept; None for patterns that choose by the data.
        block_density: share of the pairs of tokens that were computed.
        pairs: how many pairs dense attention would have computed, summed over calls.
    """

    pattern: str
    executor: str
    reason: str
    layers: tuple[int, ...]
    sigmas: tuple[float | None, ...]
    calls: int
    token_density: float | None
    block_density: float
    pairs: int


class SparseAttention:
    """A `VideoAttention` that computes what a pattern keeps, exactly.

    Args:
        pattern: what is kept; cycles over layers and heads allowed.
        executor: a name from `EXECUTORS`, or `auto`.
        block: tokens per block; 128, or the whole sequence where that is shorter, where None.
        schedule: where attention stays dense.
        scale: of the logits, as `entropy_scale` gives it; 1/sqrt(K) where None.
        bias: added to the logits by pairs of frames, in dense calls of the schedule too; those are at the usual scale.
        calls: how often a plan will be used, as far as known: compiling must pay for itself.
        first_head: which of the model's heads the first of those given is; more than 0 where processes share them.
    """

    def __init__(
        self,
        pattern: AnyPattern | PerLayer | PerHead,
        *,
        executor: str = "auto",
        block: int | None = None,
        schedule: Schedule | None = None,
        scale: float | None = None,
        bias: BiasRule | None = None,
        calls: int = 1,
        first_head: int = 0,
    ) -> None:
        self.pattern, self.executor, self.block = pattern, executor, block
        self.schedule, self.scale, self.bias, self.calls = schedule or Schedule(), scale, bias, calls
        self.first_head = first_head
        self._dense = Dense()
        self._tallies: dict[tuple[str, str, str, int], _Tally] = {}

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
        """As `VideoAttention`.

        Raises:
            InputError: a grid that does not fit its tokens.
            ConfigError: a block larger than the sequence.
            ResourceError: the executor cannot do this; says why, and which can.
        """
        _check_tokens("queries", q_BLNK, query)
        _check_tokens("keys", k_BMNK, key)
        if self.schedule.dense(layer, sigma):
            if self.bias is not None:
                return self._one(Full(), q_BLNK, k_BMNK, v_BMNK, query, key, layer, sigma, scale=None)
            self._note("dense", "sdpa", "schedule", layer).add(sigma, query, key, 1.0)
            return self._dense(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, layer=layer)
        chosen = self.pattern.of(layer) if isinstance(self.pattern, PerLayer) else self.pattern
        if not isinstance(chosen, PerHead):
            return self._one(chosen, q_BLNK, k_BMNK, v_BMNK, query, key, layer, sigma, scale=self.scale)
        groups = chosen.groups(q_BLNK.shape[2], self.first_head)
        outs = []
        for pattern, heads in groups.items():
            q, k, v = (x[:, :, heads] for x in (q_BLNK, k_BMNK, v_BMNK))
            outs.append(self._one(pattern, q, k, v, query, key, layer, sigma, scale=self.scale))
        back = torch.argsort(torch.tensor([head for heads in groups.values() for head in heads]))
        return torch.cat(outs, dim=2)[:, :, back.to(q_BLNK.device)]

    def explain(self) -> list[Ran]:
        """What was computed so far, and how: a row for all layers that did the same at the same noise levels."""
        alike: dict[tuple[str, str, str, tuple[float | None, ...]], list[tuple[int, _Tally]]] = {}
        for (pattern, executor, reason, layer), tally in self._tallies.items():
            alike.setdefault((pattern, executor, reason, tuple(tally.sigmas)), []).append((layer, tally))
        return [_ran(*names, dict(tallies)) for names, tallies in alike.items()]

    def effective_density(self) -> float:
        """Share of the work of dense attention that was done, over all calls so far, dense ones included."""
        rows = self.explain()
        assert rows, "no call so far"
        return sum(row.block_density * row.pairs for row in rows) / sum(row.pairs for row in rows)

    def _one(
        self,
        pattern: AnyPattern,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None,
        *,
        scale: float | None,
    ) -> Tensor:
        """One pattern for all heads given."""
        block, device = self._block(key), q_BLNK.device
        order = order_of(pattern, query, key, block=block)
        q_BLNK = _ordered(q_BLNK, order, query)
        k_BMNK, v_BMNK = _ordered(k_BMNK, order, key), _ordered(v_BMNK, order, key)
        if isinstance(pattern, AdaptivePattern):
            blocks = pattern.select(q_BLNK, k_BMNK, query=query, key=key, block=block)
        else:
            blocks = plan(pattern, query, key, block=block, device=device)
        gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (q_BLNK, k_BMNK, v_BMNK))
        bias = None
        if self.bias is not None:
            bias = frame_bias(self.bias, query, key, order=order, sigma=sigma, device=device)
        task = Task(
            device=device,
            dtype=q_BLNK.dtype,
            heads=q_BLNK.shape[0] * q_BLNK.shape[2],
            head_width=q_BLNK.shape[3],
            gradient=gradient,
            bias=bias is not None,
        )
        choice = choose(self.executor, blocks, task, calls=self.calls)
        out_BLNK = EXECUTORS[choice.executor](q_BLNK, k_BMNK, v_BMNK, blocks, scale=scale, bias=bias)
        name = "dense" if pattern == Full() else str(pattern)
        self._note(name, choice.executor, choice.reason, layer).add(
            sigma, query, key, blocks.density(), pattern if isinstance(pattern, Pattern) else None
        )
        return out_BLNK if order.is_raster(query) else out_BLNK[:, _index(order, query, True, device)]

    def _block(self, key: TokenGrid) -> int:
        if self.block is None:
            return min(BLOCK, key.tokens)
        if not 1 <= self.block <= key.tokens:
            raise ConfigError(f"attention block of {self.block} tokens over {key.tokens}; possible: 1 to {key.tokens}")
        return self.block

    def _note(self, pattern: str, executor: str, reason: str, layer: int) -> "_Tally":
        return self._tallies.setdefault((pattern, executor, reason, layer), _Tally())


@dataclass(slots=True)
class _Tally:
    """Calls of one layer that went one way; what they kept is counted late, and before there is much to remember.

    A rollout without end brings new grids without end.
    """

    sigmas: dict[float | None, None] = field(default_factory=dict)
    calls: int = 0
    pairs: int = 0
    computed: float = 0.0
    counted: int | None = 0  # pairs kept in calls that are forgotten; None once a pattern chose by the data
    patterns: Counter[tuple[Pattern | None, TokenGrid, TokenGrid]] = field(default_factory=Counter)

    def add(
        self,
        sigma: float | None,
        query: TokenGrid,
        key: TokenGrid,
        density: float,
        pattern: Pattern | None = None,
    ) -> None:
        self.sigmas[sigma] = None
        self.calls += 1
        self.pairs += query.tokens * key.tokens
        self.computed += density * query.tokens * key.tokens
        self.patterns[pattern, query, key] += 1
        if len(self.patterns) >= GRIDS_KEPT:
            self.counted = self.kept()
            self.patterns.clear()

    def kept(self) -> int | None:
        """Pairs of tokens that were kept; None where that was not counted."""
        kept = self.counted
        for (used, query, key), calls in self.patterns.items():
            kept = None if kept is None or used is None else kept + calls * kept_pairs(used, query, key)
        return kept


def _ran(pattern: str, executor: str, reason: str, sigmas: tuple[float | None, ...], tallies: dict[int, _Tally]) -> Ran:
    """Tallies by layer as one row."""
    pairs = sum(tally.pairs for tally in tallies.values())
    kept = [pairs] if pattern == "dense" else [tally.kept() for tally in tallies.values()]
    counted = [some for some in kept if some is not None]
    return Ran(
        pattern=pattern,
        executor=executor,
        reason=reason,
        layers=tuple(sorted(tallies)),
        sigmas=sigmas,
        calls=sum(tally.calls for tally in tallies.values()),
        token_density=sum(counted) / pairs if len(counted) == len(kept) else None,
        block_density=sum(tally.computed for tally in tallies.values()) / pairs,
        pairs=pairs,
    )


def _check_tokens(what: str, x_BLNK: Tensor, grid: TokenGrid) -> None:
    if x_BLNK.shape[1] != grid.tokens:
        text = grid.text_before + grid.text_after
        raise InputError(
            f"{what}: a grid of {len(grid.frames)}x{grid.height}x{grid.width}"
            f"{f' and {text} text tokens' if text else ''} has {grid.tokens} tokens, got {x_BLNK.shape[1]}"
        )


def _ordered(x_BLNK: Tensor, order: TokenOrder, grid: TokenGrid) -> Tensor:
    return x_BLNK if order.is_raster(grid) else x_BLNK[:, _index(order, grid, False, x_BLNK.device)]


@lru_cache(maxsize=32)
def _index(order: TokenOrder, grid: TokenGrid, inverse: bool, device: torch.device) -> Tensor:
    return (order.inverse(grid) if inverse else order.permutation(grid)).to(device)
