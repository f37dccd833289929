"""Whether a run may skip blocks between its steps, and with which knobs: from the step_cache group to `StepCaching`.

A cache compares a pass with the one before it, so a fall of the noise must show the same frames in every pass, all of
them at one level but for clean ones. That is read off the moves of the schedule. The hooks are in
`vgen/models/step_cache.py`.
"""

from dataclasses import dataclass, fields
from typing import Any

from vgen.errors import ConfigError, ModelError
from vgen.models.loaded import LoadedModel
from vgen.models.step_cache import CacheMethod
from vgen.samplers import Lift
from vgen.sampling import Sampling
from vgen.schema import StepCacheConfig

__all__ = ["STEP_CACHE_KEYS", "StepCaching", "resolve_step_cache"]

STEP_CACHE_KEYS = frozenset(f"step_cache.{item.name}" for item in fields(StepCacheConfig))
# what each cache uses, with diffusers' defaults; None must be said
KNOBS: dict[str, dict[str, Any]] = {
    "first-block": {"threshold": 0.05},
    "mag": {"threshold": 0.06, "max_skip_steps": 3, "retention_ratio": 0.2, "mag_ratios": None},
    "taylorseer": {"cache_interval": 5, "disable_cache_before_step": 3, "max_order": 1},
}
# output and residual of the first block, residual of the rest; input and residual of all; a few of the output's width
HELD = {"first-block": 3, "mag": 2, "taylorseer": 1}
CALIBRATE = "vgen bench step-cache --calibrate FILE.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCaching:
    """The step caches of a run, every value decided.

    Args:
        name: of the cache; `none` runs every block in every step.
        knobs: those that it uses.
        methods: the same for each transformer of the model; empty for `none`.
    """

    name: str
    knobs: dict[str, Any]
    methods: tuple[CacheMethod, ...] = ()

    @property
    def held(self) -> int:
        """Tensors of tokens by width that each guidance branch keeps from step to step, for estimates of memory."""
        return HELD.get(self.name, 0)

    def resolved(self) -> dict[str, Any]:
        """Dotted config keys that ask for exactly this; none where there is no cache."""
        if self.name == "none":
            return {}
        return {"step_cache.name": self.name} | {f"step_cache.{knob}": value for knob, value in self.knobs.items()}


def resolve_step_cache(config: StepCacheConfig, sampling: Sampling, known: int, model: LoadedModel) -> StepCaching:
    """Decides what the config leaves open, and whether sampler and model allow it.

    Args:
        config: the step_cache group.
        sampling: as resolved.
        known: latent frames that are clean from the start.
        model: what is run.

    Raises:
        ConfigError: a knob that the cache does not use, one that must be said, or a sampler that allows none.
        ModelError: a model too shallow.
    """
    said = {item.name: getattr(config, item.name) for item in fields(config) if item.name != "name"}
    said = {knob: value for knob, value in said.items() if value is not None}
    if config.name == "none":
        if said:
            raise ConfigError(
                f"step_cache.{next(iter(said))} needs a cache; name one with --step-cache: {', '.join(KNOBS)}"
            )
        return StepCaching(name="none", knobs={})
    unused = [knob for knob in said if knob not in KNOBS[config.name]]
    if unused:
        raise ConfigError(
            f"step_cache.{unused[0]} means nothing to step cache '{config.name}'; it uses: "
            f"{', '.join(KNOBS[config.name])}"
        )
    _check_sampling(config, sampling, known)
    if model.dit.config.num_layers < 2:
        raise ModelError(
            f"model '{model.id}' has one block, of which a step cache can skip none; leave --step-cache out"
        )
    knobs = KNOBS[config.name] | said
    if config.name != "mag":
        return StepCaching(name=config.name, knobs=knobs, methods=(CacheMethod(name=config.name, **knobs),) * 2)
    knobs["mag_ratios"] = _ratios(knobs["mag_ratios"], sampling)
    parts = _by_expert(knobs["mag_ratios"], sampling, model)
    methods = tuple(CacheMethod(name="mag", **knobs | {"mag_ratios": part}) for part in parts)
    return StepCaching(name="mag", knobs=knobs, methods=methods)


def _check_sampling(config: StepCacheConfig, sampling: Sampling, known: int) -> None:
    why = _refusal(sampling, known)
    if why is None and config.name == "mag" and _falls(sampling, known) != {sampling.table.num_steps}:
        falls = ", ".join(str(steps) for steps in sorted(_falls(sampling, known)))
        why = f"its falls take {falls} steps, and mag_ratios are of falls of {sampling.table.num_steps}"
    if why is not None:
        raise ConfigError(
            f"step cache '{config.name}' cannot run with sampler '{sampling.name}' as it is set: {why}; possible: "
            "none, or a sampler that lowers whole clips or whole blocks, such as full or causal"
        )


def _refusal(sampling: Sampling, known: int) -> str | None:
    """Why passes cannot be compared; None where they can."""
    if sampling.windows is not None:
        return "every step passes several windows, and a pass would be compared with that of another window"
    for move in sampling.schedule.steps(sampling.frames, known=known):
        if isinstance(move, Lift) or not move.updates:
            continue
        falls = [(at, to) for at, to in zip(move.level_from, move.level_to, strict=True) if at != to]
        waits = {at for at, to in zip(move.level_from, move.level_to, strict=True) if at == to}
        if len({*falls}) > 1 or waits - {0}:
            return "one pass carries frames at several noise levels"
    return None


def _falls(sampling: Sampling, known: int) -> set[int]:
    """Lengths of the falls of a schedule that passes `_refusal`: passes in a row that show the same frames, falling."""
    lengths, last = [0], (range(0), -1)
    for move in sampling.schedule.steps(sampling.frames, known=known):
        if isinstance(move, Lift) or not move.updates:
            continue
        level = max(move.level_from)
        if move.frames != last[0] or level >= last[1]:
            lengths.append(0)
        lengths[-1] += 1
        last = (move.frames, level)
    return {length for length in lengths if length}


def _ratios(ratios: list[float] | None, sampling: Sampling) -> list[float]:
    steps = sampling.table.num_steps
    if ratios is None:
        raise ConfigError(f"step cache 'mag' needs step_cache.mag_ratios, measured for the model: {CALIBRATE}")
    if len(ratios) != steps:
        raise ConfigError(
            f"step_cache.mag_ratios has {len(ratios)} numbers, and this run takes {steps} steps; measure them for "
            f"{steps}: {CALIBRATE} --steps {steps}"
        )
    return list(ratios)


def _by_expert(ratios: list[float], sampling: Sampling, model: LoadedModel) -> list[tuple[float, ...]]:
    """The ratios of the steps that each transformer takes."""
    if model.boundary is None:
        return [tuple(ratios)]
    high = sum(told >= model.boundary for told in sampling.table.told[1:])
    return [tuple(ratios[:high]) or (1.0,), tuple(ratios[high:]) or (1.0,)]
