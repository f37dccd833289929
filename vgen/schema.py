"""`GenerateConfig`: one schema for the command line, YAML, Python and the record, and what each of its keys may be.

None means "not said": the model card, the preset or the folder decides. How values come in and are checked is the
business of `vgen/config.py`. A new key is a field here, with a row of CHECKS where not every value is possible.
"""

import itertools
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from vgen.errors import ConfigError, nearest
from vgen.placement import OFFLOADS, STORAGES

__all__ = [
    "CHECKS",
    "DTYPES",
    "EXECUTORS",
    "FITS",
    "GROUPS",
    "KERNELS",
    "KNOBS",
    "MAX_SEED",
    "QUANTIZATIONS",
    "SOLVERS",
    "STEP_CACHES",
    "AttentionConfig",
    "Frames",
    "GenerateConfig",
    "ModelConfig",
    "OneOf",
    "OutputConfig",
    "ParallelConfig",
    "PerformanceConfig",
    "Range",
    "RequestConfig",
    "RunConfig",
    "SamplerConfig",
    "SearchConfig",
    "StepCacheConfig",
    "dotted",
    "flat",
    "keys_of",
    "knob_of",
    "sigmas_problem",
]


@dataclass(kw_only=True)
class ModelConfig:
    """Which weights, and LoRA on them, rows of {path, scale, transformer}."""

    id: str = "playground"
    lora: list[Any] | None = None
    quantization: str | None = None
    gguf: list[str] | None = None


@dataclass(kw_only=True)
class RequestConfig:
    """What is asked for."""

    prompt: str = ""
    negative_prompt: str = ""
    story: list[Any] | None = None
    image: str | None = None
    last_image: str | None = None
    extend: str | None = None
    fit: str = "crop"
    seconds: float | None = None
    num_frames: int | None = None
    width: int | None = None
    height: int | None = None
    fps: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    guidance_scale_2: float | None = None
    guidance_interval: list[float] | None = None
    flow_shift: float | None = None
    seed: int | None = None
    num_videos: int = 1


@dataclass(kw_only=True)
class SamplerConfig:
    """In which order frames lose their noise; a preset fills what is not said, and vgen/sampling.py reads it."""

    name: str = "full"
    force: bool = False
    schedule: str | None = None
    lag: int | str | None = None
    block: int | str | None = None
    clip: int | str | None = None
    ahead: bool | None = None
    lookahead: bool | None = None
    primer: bool | None = None
    caps: list[float] | None = None
    passes: int | None = None
    fast: bool | None = None
    memory: str | None = None
    window: int | str | None = None
    sink: int | str | None = None
    positions: str | None = None
    mask: str | None = None
    context_noise: float | None = None
    context_label: float | None = None
    on_prompt: str | None = None
    transition: str | None = None
    noise: str | None = None
    alpha: float | None = None
    cutoff: float | None = None
    solver: str | None = None
    sigmas: list[float] | None = None
    fusion: bool | None = None
    windows: str | None = None
    stride: int | str | None = None
    iterations: int | None = None
    rate: float | None = None
    decay: float | None = None
    riflex: int | None = None


@dataclass(kw_only=True)
class AttentionConfig:
    """What a token may attend to; a preset or the pattern fills what is not said.

    `knobs` are the pattern's own, written beside the others: `attention.decay=0.2`.
    """

    name: str = "dense"
    executor: str = "auto"
    sdpa: str = "auto"
    block: int | None = None
    dense_first_steps: int | None = None
    dense_last_steps: int | None = None
    dense_layers: int | None = None
    knobs: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class StepCacheConfig:
    """Which blocks are skipped between steps; the knobs are those of diffusers' caches, read by vgen/step_cache.py."""

    name: str = "none"
    threshold: float | None = None
    max_skip_steps: int | None = None
    retention_ratio: float | None = None
    mag_ratios: list[float] | None = None
    cache_interval: int | None = None
    disable_cache_before_step: int | None = None
    max_order: int | None = None


@dataclass(kw_only=True)
class SearchConfig:
    """Whether the judge looks on while clips are made; `rules` are what it chooses by, configs/search/ where None.

    `best_of` keeps one of several clips, `prune` drops half of them at a time while they are still noisy; `redo` is how
    many clips' worth of steps may go into making a clip anew from before what is wrong in it.
    """

    best_of: int = 1
    prune: list[float] | None = None
    redo: int = 0
    rules: list[str] | None = None


@dataclass(kw_only=True)
class RunConfig:
    """Where and in which precision."""

    device: str = "auto"
    dtype: str = "auto"


@dataclass(kw_only=True)
class PerformanceConfig:
    """Where weights are kept: what is said here holds, the rest is the mode's. None is "not said".

    `compile` and what follows change how fast the transformer runs, wherever its weights are.
    """

    mode: str = "auto"
    offload: str | None = None
    storage: str | None = None
    vae_tiling: bool | None = None
    keep_text_encoder: bool | None = None
    compile: bool | None = None
    cuda_graphs: bool | None = None


@dataclass(kw_only=True)
class ParallelConfig:
    """How several processes share a run; vgen/parallel/degrees.py chooses what is None.

    `dp` shares out clips, `cfg` the two branches of guidance, `clips` the frames of one clip, `ulysses` its tokens and
    heads; `fsdp` spreads the weights. A process that gives no sign for `timeout_s` ends the run.
    """

    dp: int | None = None
    cfg: int | None = None
    clips: int | None = None
    ulysses: int | None = None
    fsdp: bool | None = None
    timeout_s: float = 600.0


@dataclass(kw_only=True)
class OutputConfig:
    """What is written."""

    path: str | None = None
    sheet: bool = False
    preview: bool = False


@dataclass(kw_only=True)
class GenerateConfig:
    """Everything that a generation depends on."""

    model: ModelConfig = field(default_factory=ModelConfig)
    request: RequestConfig = field(default_factory=RequestConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    step_cache: StepCacheConfig = field(default_factory=StepCacheConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    run: RunConfig = field(default_factory=RunConfig)
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    output: OutputConfig = field(default_factory=OutputConfig)


@dataclass(frozen=True, slots=True)
class Range:
    """What a number may be, ends included."""

    low: float
    high: float
    unit: str = ""

    def problem(self, value: float) -> str | None:
        if self.low <= value <= self.high:
            return None
        return f"possible: {self.low} to {self.high}{self.unit}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """What a name may be."""

    names: tuple[str, ...]

    def problem(self, value: str) -> str | None:
        return None if value in self.names else nearest(value, self.names)


@dataclass(frozen=True, slots=True)
class Frames:
    """What a number of frames or steps may be, or a word for one that the model card knows."""

    low: int
    high: int
    words: tuple[str, ...] = ("block", "third", "trained", "trained-block")
    unit: str = " latent frames"

    def problem(self, value: int | str) -> str | None:
        if value in self.words or (isinstance(value, int) and self.low <= value <= self.high):
            return None
        return f"possible: {self.low} to {self.high}{self.unit}, or {', '.join(self.words)}"


def sigmas_problem(sigmas: list[float]) -> str | None:
    """What is wrong with the noise levels of steps, if anything."""
    falling = all(a > b for a, b in itertools.pairwise([*sigmas, 0.0]))
    if sigmas and falling and sigmas[0] <= 1:
        return None
    return "possible: numbers that fall, the first at most 1, the last above 0"


KNOBS = "knobs"
GROUPS = tuple(group.name for group in fields(GenerateConfig))
MAX_SEED = 2**63 - 1
SOLVERS = ("euler", "multistep", "renoise")
DTYPES = ("auto", "float32", "bfloat16", "float16")
FITS = ("crop", "pad", "stretch")  # those of vgen.images, which loads too much for `vgen --help`
EXECUTORS = ("auto", "dense", "flex", "gather", "reference", "varlen", "xformers")  # vgen.attention would load torch
KERNELS = ("auto", "cudnn", "efficient", "flash", "math")  # those of vgen.attention.kernels
QUANTIZATIONS = ("fp8dq", "fp8wo", "int8dq", "int8wo")  # those of vgen.models.quantization
STEP_CACHES = ("none", "first-block", "mag", "taylorseer")

CHECKS: dict[str, Range | OneOf | Frames] = {
    "request.fit": OneOf(FITS),
    "request.seconds": Range(0.01, 3600, " s"),
    "request.num_frames": Range(1, 100_000, " frames"),
    "request.width": Range(16, 8192, " px"),
    "request.height": Range(16, 8192, " px"),
    "request.fps": Range(1, 240),
    "request.num_inference_steps": Range(1, 1000),
    "request.guidance_scale": Range(0, 100),
    "request.guidance_scale_2": Range(0, 100),
    "request.flow_shift": Range(0.01, 100),
    "request.seed": Range(0, MAX_SEED),
    "request.num_videos": Range(1, 1000),
    "sampler.schedule": OneOf(("pyramid", "trapezoid", "queue", "capped", "repeated")),
    "sampler.lag": Frames(0, 1000, ("num_steps", "window"), " steps"),
    "sampler.block": Frames(1, 1024),
    "sampler.clip": Frames(1, 100_000),
    "sampler.window": Frames(1, 100_000),
    "sampler.sink": Frames(0, 100_000),
    "sampler.stride": Frames(1, 100_000),
    "sampler.passes": Range(1, 100),
    "sampler.memory": OneOf(("none", "kv", "refeed")),
    "sampler.positions": OneOf(("absolute", "cache", "sink")),
    "sampler.mask": OneOf(("full", "causal")),
    "sampler.context_noise": Range(0, 0.99),
    "sampler.context_label": Range(0, 1),
    "sampler.on_prompt": OneOf(("keep", "flush", "recache")),
    "sampler.transition": OneOf(("cut", "blend")),
    "sampler.noise": OneOf(("independent", "rescheduled", "progressive", "fixed", "coherent_tail", "freeinit")),
    "sampler.alpha": Range(0, 1000),
    "sampler.cutoff": Range(0.001, 2),
    "sampler.solver": OneOf(SOLVERS),
    "sampler.windows": OneOf(("mean", "newest", "coupled")),
    "sampler.iterations": Range(0, 100),
    "sampler.rate": Range(0, 1),
    "sampler.decay": Range(0, 100, " logits per latent frame"),
    "sampler.riflex": Range(2, 100_000, " latent frames"),
    "attention.executor": OneOf(EXECUTORS),
    "attention.sdpa": OneOf(KERNELS),
    "attention.block": Range(1, 1 << 20, " tokens"),
    "attention.dense_first_steps": Range(0, 1000),
    "attention.dense_last_steps": Range(0, 1000),
    "attention.dense_layers": Range(0, 1000),
    "model.quantization": OneOf(QUANTIZATIONS),
    "step_cache.name": OneOf(STEP_CACHES),
    "step_cache.threshold": Range(0, 100),
    "step_cache.max_skip_steps": Range(0, 1000),
    "step_cache.retention_ratio": Range(0, 1),
    "step_cache.cache_interval": Range(1, 1000),
    "step_cache.disable_cache_before_step": Range(1, 1000),
    "step_cache.max_order": Range(0, 4),
    "search.best_of": Range(1, 1000, " clips"),
    "search.redo": Range(0, 100, " clips"),
    "run.dtype": OneOf(DTYPES),
    "performance.mode": OneOf(("auto", "speed", "memory", "manual")),
    "performance.offload": OneOf(OFFLOADS),
    "performance.storage": OneOf(STORAGES),
    "parallel.dp": Range(1, 4096, " processes"),
    "parallel.cfg": Range(1, 2, " processes"),
    "parallel.clips": Range(1, 4096, " processes"),
    "parallel.ulysses": Range(1, 4096, " processes"),
    "parallel.timeout_s": Range(1, 86_400, " s"),
}


def keys_of(schema: type = GenerateConfig, prefix: str = "") -> dict[str, Any]:
    """Every dotted key of a schema with its type."""
    hints = typing.get_type_hints(schema)
    keys: dict[str, Any] = {}
    for item in fields(schema):
        kind = hints[item.name]
        if is_dataclass(kind):
            keys |= keys_of(typing.cast(type, kind), f"{prefix}{item.name}.")
        elif item.name != KNOBS:
            keys[prefix + item.name] = kind
    return keys


def knob_of(key: str) -> str | None:
    """The pattern's knob that a dotted key names; None where it is a key of the schema or of another group."""
    group, _, name = key.partition(".")
    return name if group == "attention" and name.isidentifier() and key not in keys_of() else None


def flat(config: GenerateConfig) -> dict[str, Any]:
    """Dotted keys and values of a whole config."""
    values = {key: getattr(getattr(config, key.split(".")[0]), key.split(".")[1]) for key in keys_of()}
    return values | {f"attention.{name}": value for name, value in config.attention.knobs.items()}


def dotted(values: Any, prefix: str = "") -> dict[str, Any]:
    """What was nested by group, such as YAML, as dotted keys; which keys there are is not looked at.

    Raises:
        ConfigError: no mapping.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"a config is a mapping of groups such as `request:`, got {values!r}")
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flattened |= dotted(value, f"{prefix}{key}.")
        else:
            flattened[f"{prefix}{key}"] = value
    return flattened
