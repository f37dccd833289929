"""From a config's attention group to what the model calls, and from what it did to rows of the record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vgen.attention import Dense, Full, Ran, Schedule, SparseAttention, TemporalDecay, VideoAttention, WindowFusion
from vgen.attention.catalogue import PATTERNS, make_pattern
from vgen.errors import ConfigError, nearest
from vgen.presets import attention_presets
from vgen.schema import AttentionConfig

__all__ = ["ATTENTION_KEYS", "AttentionSettings", "record_rows", "resolve_attention"]

_SETTINGS = ("executor", "block", "dense_first_steps", "dense_last_steps", "dense_layers")
ATTENTION_KEYS = frozenset(f"attention.{name}" for name in ("name", *_SETTINGS))
_REFERENCE = "num_inference_steps"  # of a preset: the steps that its dense steps are out of


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSettings:
    """What a run's self-attention is made of, every value decided.

    Args:
        pattern: name in the catalogue, or `dense`.
        knobs: of the pattern, as said or preset.
        executor, block: as `SparseAttention` takes them.
        dense_first_steps, dense_last_steps, dense_layers: where attention stays dense.
        schedule: the same by noise level.
    """

    pattern: str
    knobs: dict[str, Any]
    executor: str
    block: int | None
    dense_first_steps: int
    dense_last_steps: int
    dense_layers: int
    schedule: Schedule

    def build(
        self, calls: int, *, decay: float = 0.0, fusion: tuple[int, int] | None = None, first_head: int = 0
    ) -> VideoAttention:
        """What the model calls.

        Args:
            calls: how often a plan will be used.
            decay: what a sampler asks for on top, rate of a `TemporalDecay`; none where 0.
            fusion: the same, latent frames of a window and from one to the next, of a `WindowFusion`; none where None.
            first_head: as `SparseAttention` takes it.

        Raises:
            ConfigError: a decay below 0, or windows that make no sense.
        """
        inner = self._inner(calls, TemporalDecay(decay) if decay else None, first_head)
        return inner if fusion is None else WindowFusion(inner=inner, window=fusion[0], stride=fusion[1])

    def _inner(self, calls: int, bias: TemporalDecay | None, first_head: int) -> VideoAttention:
        if self.pattern == "dense":
            return Dense() if bias is None else SparseAttention(Full(), bias=bias, calls=calls)
        return SparseAttention(
            make_pattern(self.pattern, self.knobs),
            executor=self.executor,
            block=self.block,
            schedule=self.schedule,
            bias=bias,
            calls=calls,
            first_head=first_head,
        )

    def resolved(self) -> dict[str, Any]:
        """Dotted config keys that ask for exactly this, whatever presets become."""
        if self.pattern == "dense":
            return {"attention.name": "dense"}
        values = {f"attention.{name}": getattr(self, name) for name in _SETTINGS}
        values |= {f"attention.{name}": value for name, value in self.knobs.items()}
        return {"attention.name": self.pattern} | {key: value for key, value in values.items() if value is not None}


def resolve_attention(
    config: AttentionConfig, sigmas: Sequence[float], num_layers: int
) -> tuple[AttentionSettings, list[str]]:
    """Decides what the config leaves open, by its preset, and checks it.

    Args:
        config: the attention group.
        sigmas: noise level of each step of the run, falling.
        num_layers: of the model.

    Returns:
        The settings, and notes for the user.

    Raises:
        ConfigError: an unknown pattern or knob, or a value that is not possible.
    """
    presets, said = attention_presets(), {name: getattr(config, name) for name in _SETTINGS}
    if config.name == "dense":
        meant = [*config.knobs, *(n for n, value in said.items() if value not in (None, "auto"))]
        if meant:
            raise ConfigError(
                f"attention.{meant[0]} means nothing to dense attention; name a pattern, such as --attention radial"
            )
        return _settings("dense", {}, said, sigmas), []
    if config.name not in presets and config.name not in PATTERNS:
        raise ConfigError(f"unknown attention '{config.name}'; {nearest(config.name, {'dense', *presets, *PATTERNS})}")
    preset = {k.removeprefix("attention."): v for k, v in presets.get(config.name, {}).items()}
    notes, steps = [], len(sigmas)
    of = preset.pop(_REFERENCE, None)
    if of is not None and of != steps:
        for name in ("dense_first_steps", "dense_last_steps"):
            if preset.get(name) and said[name] is None:
                scaled = round(preset[name] * steps / of)
                notes.append(
                    f"attention '{config.name}': {name} is {preset[name]} of {of} steps, here {scaled} of {steps}"
                )
                preset[name] = scaled
    pattern = preset.pop("name", config.name)
    settings = {name: preset.pop(name, None) if said[name] is None else said[name] for name in _SETTINGS}
    for name in _SETTINGS:
        preset.pop(name, None)
    knobs = preset | config.knobs
    make_pattern(pattern, knobs)
    if (settings["dense_layers"] or 0) > num_layers:
        raise ConfigError(
            f"attention.dense_layers={settings['dense_layers']}: the model has {num_layers} layers; "
            f"possible: 0 to {num_layers}"
        )
    return _settings(pattern, knobs, settings, sigmas), notes


def _settings(
    pattern: str, knobs: dict[str, Any], settings: dict[str, Any], sigmas: Sequence[float]
) -> AttentionSettings:
    first, last, layers = (settings[name] or 0 for name in _SETTINGS[2:])
    return AttentionSettings(
        pattern=pattern,
        knobs=knobs,
        executor=settings["executor"],
        block=settings["block"],
        dense_first_steps=first,
        dense_last_steps=last,
        dense_layers=layers,
        schedule=Schedule.of_steps(sigmas, first=first, last=last, layers=layers),
    )


def record_rows(attention: VideoAttention, sigmas: Sequence[float]) -> list[dict[str, Any]]:
    """What ran, as the record holds it: layers, steps, pattern, executor and densities.

    Args:
        attention: after the run.
        sigmas: noise level of each step, falling.
    """
    if isinstance(attention, WindowFusion):
        fusion = {"window": attention.window, "stride": attention.stride}
        return [row | {"fusion": fusion} for row in record_rows(attention.inner, sigmas)]
    if not isinstance(attention, SparseAttention):
        return [{"layers": "all", "steps": "all", "pattern": "dense", "executor": "sdpa", "density": 1.0}]
    bias = {} if attention.bias is None else {"bias": str(attention.bias)}
    return [_row(ran, sigmas) | bias for ran in attention.explain()]


def _row(ran: Ran, sigmas: Sequence[float]) -> dict[str, Any]:
    steps = {step for step, sigma in enumerate(sigmas) if sigma in ran.sigmas}
    return {
        "layers": _ranges(ran.layers),
        "steps": _ranges(steps) + (" and commits" if 0.0 in ran.sigmas else ""),
        "pattern": ran.pattern,
        "executor": ran.executor,
        "why": ran.reason,
        "calls": ran.calls,
        "density": round(ran.block_density, 6),
        "token_density": None if ran.token_density is None else round(ran.token_density, 6),
    }


def _ranges(numbers: Sequence[int] | set[int]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
