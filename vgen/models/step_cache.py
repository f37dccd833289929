"""Step caches of diffusers on a `VideoDiT`: steps in which most blocks are not run, because little would change.

A run has one `StepCache` for each transformer. Guidance branches and commits are told apart by diffusers' cache
context; a branch begins anew with every chunk, prompt and fall of the noise. Hooks stay on the transformer between
calls, so that a run without a cache takes them off first. Whether a sampler allows a cache is decided in
`vgen/step_cache.py`.

First Block Cache: ParaAttention (chengzeyi 2024). MagCache: Ma et al. 2025, arXiv:2506.09045. TaylorSeer: Liu et al.
2025, arXiv:2503.06923.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers.hooks import (
    FirstBlockCacheConfig,
    HookRegistry,
    MagCacheConfig,
    ModelHook,
    TaylorSeerCacheConfig,
)
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry

from vgen.errors import ConfigError
from vgen.models.dit import VideoDiT, VideoDiTBlock
from vgen.samplers.prompts import Cue

__all__ = ["CacheMethod", "CachedBranch", "StepCache", "StepRow", "bare"]

COUNTER = "vgen_block_counter"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMethod:
    """One of diffusers' step caches with its knobs, which have diffusers' names; those of another method are None.

    Args:
        name: `first-block`, `mag` or `taylorseer`.
        threshold: change below which blocks are skipped.
        max_skip_steps, retention_ratio: most steps that are skipped in a row, and the share of steps never skipped.
        mag_ratios: measured for the model, one per step that this transformer takes.
        cache_interval, disable_cache_before_step, max_order: every so many steps one is computed, after so many; order
            of the extrapolation in between.
        calibrate: measure `mag_ratios` and skip nothing.
    """

    name: str
    threshold: float | None = None
    max_skip_steps: int | None = None
    retention_ratio: float | None = None
    mag_ratios: tuple[float, ...] | None = None
    cache_interval: int | None = None
    disable_cache_before_step: int | None = None
    max_order: int | None = None
    calibrate: bool = False


def _first_block(method: CacheMethod, dtype: torch.dtype) -> Any:
    return FirstBlockCacheConfig(threshold=method.threshold)


def _mag(method: CacheMethod, dtype: torch.dtype) -> Any:
    if method.calibrate:  # one step more than any run, or the hook would print its findings and forget them
        return MagCacheConfig(calibrate=True, num_inference_steps=1 << 30)
    assert method.mag_ratios is not None
    return MagCacheConfig(
        threshold=method.threshold,
        max_skip_steps=method.max_skip_steps,
        retention_ratio=method.retention_ratio,
        num_inference_steps=len(method.mag_ratios),
        mag_ratios=list(method.mag_ratios),
    )


def _taylorseer(method: CacheMethod, dtype: torch.dtype) -> Any:
    """The lite mode: Wan's attention runs inside its block, so what is extrapolated is the transformer's output."""
    return TaylorSeerCacheConfig(
        cache_interval=method.cache_interval,
        disable_cache_before_step=method.disable_cache_before_step,
        max_order=method.max_order,
        taylor_factors_dtype=dtype,
        use_lite_mode=True,
    )


CONFIGS: dict[str, Callable[[CacheMethod, torch.dtype], Any]] = {
    "first-block": _first_block,
    "mag": _mag,
    "taylorseer": _taylorseer,
}


@dataclass(slots=True)
class StepRow:
    """What a cache did in one step of a fall, over all chunks and branches.

    Args:
        sigma: the highest noise level of the first such pass.
        passes: forward passes of the transformer.
        blocks, skipped: of those, how many blocks they have, and how many were not run.
    """

    sigma: float
    passes: int = 0
    blocks: int = 0
    skipped: int = 0


class _Counter(ModelHook):
    """Counts the calls that reach a block; stands within the cache's own hook."""

    def __init__(self, tally: "_Tally") -> None:
        super().__init__()
        self.tally = tally

    def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.tally.run += 1
        return args, kwargs


@dataclass(slots=True)
class _Tally:
    """Blocks run on a transformer since its hooks were set."""

    method: CacheMethod
    run: int = 0


class StepCache:
    """The cache of one transformer in one run, and what it did.

    Args:
        dit: whose blocks are skipped.
        method: how that is decided.
    """

    def __init__(self, dit: VideoDiT, method: CacheMethod) -> None:
        self.dit, self.method = dit, method
        self.rows: list[StepRow] = []
        self._seen: dict[str, _Pass] = {}
        self._begun = False

    def branch(self, name: str) -> "CachedBranch":
        """The cache as one guidance branch uses it."""
        return CachedBranch(self, name)

    @contextmanager
    def step(self, branch: str, frames: tuple[int, ...], cues: tuple[Cue, ...], sigma: float) -> Iterator[None]:
        """Around one forward pass of a branch."""
        tally, name, last = self._attach(), self._context(branch), self._seen.get(branch)
        goes_on = last is not None and (last.frames, last.cues) == (frames, cues) and sigma < last.sigma
        index = last.index + 1 if last is not None and goes_on else 0
        if not goes_on:
            _forget(self.dit, name)
        self._seen[branch] = _Pass(frames, cues, sigma, index)
        before = tally.run
        with self.dit.cache_context(name):
            yield
        self._note(index, sigma, tally.run - before)

    @contextmanager
    def commit(self) -> Iterator[None]:
        """Around a pass that writes keys and values, for which every block runs."""
        tally, name, blocks = self._attach(), self._context("commit"), len(self.dit.blocks)
        before = tally.run
        with self.dit.cache_context(name):
            yield
        _forget(self.dit, name)
        assert tally.run - before == blocks, f"a commit ran {tally.run - before} of {blocks} blocks"

    def ratios(self, branch: str) -> list[float]:
        """What calibration has measured of a branch since it last began anew."""
        for manager in _managers(self.dit):
            if self._context(branch) in manager._state_cache:
                return list(manager._state_cache[self._context(branch)].calibration_ratios)
        return []

    def report(self) -> dict[str, Any]:
        """What it has done so far, ready for JSON: blocks of its passes and those not run, in all and by step."""
        total = {name: sum(getattr(row, name) for row in self.rows) for name in ("passes", "blocks", "skipped")}
        return {"cache": self.method.name} | total | {"steps": [asdict(row) for row in self.rows]}

    def release(self) -> None:
        """Frees what is remembered; the run has ended."""
        for branch in self._seen:
            _forget(self.dit, self._context(branch))
        self._seen.clear()

    def _context(self, branch: str) -> str:
        """Runs that take turns on one transformer have contexts of their own."""
        return f"{id(self)}/{branch}"

    def _attach(self) -> _Tally:
        """Sets the hooks, unless a run with the same cache has."""
        tally = _tally_of(self.dit)
        if tally is None or tally.method != self.method:
            if self._begun:
                raise ConfigError(
                    f"the step cache '{self.method.name}' of a run was taken off by another run of the same pipeline; "
                    "finish one before the other, or give both the same step cache"
                )
            bare(self.dit)
            tally = _enable(self.dit, self.method)
        self._begun = True
        return tally

    def _note(self, index: int, sigma: float, run: int) -> None:
        while len(self.rows) <= index:
            self.rows.append(StepRow(sigma))
        row, blocks = self.rows[index], len(self.dit.blocks)
        row.passes += 1
        row.blocks += blocks
        row.skipped += blocks - run


@dataclass(frozen=True, slots=True)
class _Pass:
    """The last pass of a branch: what it showed, how noisy, and which of its fall."""

    frames: tuple[int, ...]
    cues: tuple[Cue, ...]
    sigma: float
    index: int


@dataclass(frozen=True, slots=True)
class CachedBranch:
    """A guidance branch's share of a cache; see `StepCache`."""

    cache: StepCache
    name: str

    def step(self, frames: tuple[int, ...], cues: tuple[Cue, ...], sigma: float) -> AbstractContextManager[None]:
        return self.cache.step(self.name, frames, cues, sigma)

    def commit(self) -> AbstractContextManager[None]:
        return self.cache.commit()


def bare(dit: VideoDiT) -> None:
    """Takes the hooks of an earlier run's cache off a transformer.

    Raises:
        ConfigError: a cache of diffusers is on it that no run has set.
    """
    if not dit.is_cache_enabled:
        return
    if _tally_of(dit) is None:
        raise ConfigError(
            f"the transformer has diffusers' {type(dit._cache_config).__name__} enabled; call disable_cache() on it "
            "and ask for --step-cache"
        )
    dit.disable_cache()
    HookRegistry.check_if_exists_or_initialize(dit).remove_hook(COUNTER, recurse=True)


def _enable(dit: VideoDiT, method: CacheMethod) -> _Tally:
    # hidden states are the block's first argument, under a name that carries their shape
    metadata = TransformerBlockMetadata(return_hidden_states_index=0, _cached_parameter_indices={"hidden_states": 0})
    TransformerBlockRegistry.register(VideoDiTBlock, metadata)
    tally = _Tally(method)
    for block in dit.blocks:
        HookRegistry.check_if_exists_or_initialize(block).register_hook(_Counter(tally), COUNTER)
    config = CONFIGS[method.name](method, dit.patch_embedding.weight.dtype)
    config.vgen_tally = tally  # marks it as ours
    dit.enable_cache(config)
    return tally


def _tally_of(dit: VideoDiT) -> _Tally | None:
    return getattr(dit._cache_config, "vgen_tally", None)


def _forget(dit: VideoDiT, name: str) -> None:
    """Drops what all hooks remember under one context; diffusers can only reset all contexts at once."""
    for manager in _managers(dit):
        manager._state_cache.pop(name, None)


def _managers(dit: VideoDiT) -> Iterator[Any]:
    for module in dit.modules():
        registry = getattr(module, "_diffusers_hook", None)
        for hook in [] if registry is None else registry.hooks.values():
            if hasattr(hook, "state_manager"):
                yield hook.state_manager
