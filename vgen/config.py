"""`GenerateConfig`: one schema for the command line, YAML, Python and the record.

Layers are merged in a fixed order, later wins: schema, model card, named preset, `--config` file, then flags and
`key=value`. None means "not said": the model card, the preset or the folder decides. Which keys were said is kept,
because a default must not pass for somebody's wish.
"""

import copy
import itertools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vgen.errors import ConfigError, InputError, nearest
from vgen.placement import OFFLOADS, STORAGES

__all__ = [
    "GROUPS",
    "GenerateConfig",
    "OneOf",
    "PerformanceConfig",
    "Range",
    "RequestConfig",
    "attention_presets",
    "flat",
    "keys_of",
    "knob_of",
    "merge",
    "parse_assignments",
    "read_config",
    "read_story",
    "require_prompt",
    "sampler_presets",
    "sampler_titles",
    "sigmas_problem",
]

CONFIG_LIMIT_BYTES = 1 << 20


@dataclass(kw_only=True)
class ModelConfig:
    """Which weights."""

    id: str = "playground"


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
    block: int | None = None
    dense_first_steps: int | None = None
    dense_last_steps: int | None = None
    dense_layers: int | None = None
    knobs: dict[str, Any] = field(default_factory=dict)


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
    """Where weights are kept: what is said here holds, the rest is the mode's. None is "not said"."""

    mode: str = "auto"
    offload: str | None = None
    storage: str | None = None
    vae_tiling: bool | None = None
    keep_text_encoder: bool | None = None


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
    search: SearchConfig = field(default_factory=SearchConfig)
    run: RunConfig = field(default_factory=RunConfig)
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
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
    "attention.block": Range(1, 1 << 20, " tokens"),
    "attention.dense_first_steps": Range(0, 1000),
    "attention.dense_last_steps": Range(0, 1000),
    "attention.dense_layers": Range(0, 1000),
    "search.best_of": Range(1, 1000, " clips"),
    "search.redo": Range(0, 100, " clips"),
    "run.dtype": OneOf(DTYPES),
    "performance.mode": OneOf(("auto", "speed", "memory", "manual")),
    "performance.offload": OneOf(OFFLOADS),
    "performance.storage": OneOf(STORAGES),
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


def sampler_presets() -> dict[str, dict[str, Any]]:
    """The presets of `configs/sampler/`, by name."""
    return copy.deepcopy(_presets("sampler"))


def sampler_titles() -> dict[str, str]:
    """What each preset of `configs/sampler/` is, in its own first sentence."""
    titles = {}
    for name, text in _preset_texts("sampler").items():
        lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        words = " ".join(line.removeprefix("# ") for line in lines)
        titles[name] = re.split(r"(?<=\.)\s|\s\(", words)[0].rstrip(".") + "."
    return titles


def attention_presets() -> dict[str, dict[str, Any]]:
    """The presets of `configs/attention/`, by name: dotted keys, of which `attention.name` is the pattern."""
    return copy.deepcopy(_presets("attention"))


@cache  # they come with the package, and a run asks for them several times
def _presets(group: str) -> dict[str, dict[str, Any]]:
    return {
        name: _flatten(_parse_yaml(text, f"{name}.yaml"), f"{group}.") for name, text in _preset_texts(group).items()
    }


def _preset_texts(group: str) -> dict[str, str]:
    folder = files("vgen").joinpath("configs", group)
    return {
        preset.name.removesuffix(".yaml"): preset.read_text()
        for preset in folder.iterdir()
        if preset.name.endswith(".yaml")
    }


def read_config(path: Path, group: str = "") -> dict[str, Any]:
    """A user's YAML file as dotted keys; of one group where that is named.

    Interpolation is not evaluated: a stranger's file must not read the environment.

    Raises:
        ConfigError: unreadable, too large, not a mapping of known keys, or with an interpolation in it.
    """
    values = _flatten(_parse_yaml(_text_of(path, "config"), str(path)), f"{group}." if group else "")
    for key, value in values.items():
        if isinstance(value, str) and "${" in value:
            raise ConfigError(f"config {path}: {key} holds an interpolation {value!r}; write the value itself")
    return values


def read_story(path: Path) -> list[Any]:
    """A user's YAML file of timed prompts, `- {at: 4s, prompt: "..."}` each.

    Raises:
        ConfigError: unreadable, too large, or no list.
    """
    rows = _parse_yaml(_text_of(path, "story"), str(path))
    if not isinstance(rows, list):
        raise ConfigError(f"{path}: a story is a list of {{at: seconds, prompt: words}}, got {type(rows).__name__}")
    return rows


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`key=value` words as dotted keys; values of text fields are taken as they stand.

    Raises:
        ConfigError: a word without `=`, an unknown key, or one key with two values.
    """
    values: dict[str, Any] = {}
    for word in assignments:
        key, equals, raw = word.partition("=")
        if not equals:
            raise ConfigError(f"'{word}' is neither an option nor key=value, such as sampler.window=9")
        _known(key, "command line")
        text = knob_of(key) is None and _types_of(key) == (str,)
        value = raw if text else _parse_value(raw, word)
        if key in values and values[key] != value:
            raise ConfigError(f"{key} is given twice: {values[key]!r} and {value!r}")
        values[key] = value
    return values


def merge(*layers: tuple[str, Mapping[str, Any]]) -> tuple[GenerateConfig, list[str]]:
    """Merges layers of dotted keys over the schema's defaults, later over earlier.

    Args:
        layers: (name for messages, values); None is "not said".

    Returns:
        The config, and the keys that were said, sorted.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range, or a contradiction.
    """
    config, said = GenerateConfig(), set()
    for where, values in layers:
        for key, value in values.items():
            if value is None and key in GROUPS:  # `request:` with nothing under it
                continue
            _known(key, where)
            if value is None:
                continue
            group, _, name = key.partition(".")
            if knob_of(key) is None:
                setattr(getattr(config, group), name, _typed(key, value, where))
            else:
                config.attention.knobs[name] = value  # its pattern knows what it may be
            said.add(key)
    _check_together(config)
    return config, sorted(said)


def require_prompt(prompt: str) -> None:
    """Refuses a prompt that says nothing.

    Raises:
        InputError: always with an example of one that does.
    """
    if not prompt.strip():
        raise InputError('the prompt is empty; say what should be seen, such as "a red ball rolls to the right"')


def flat(config: GenerateConfig) -> dict[str, Any]:
    """Dotted keys and values of a whole config."""
    values = {key: getattr(getattr(config, key.split(".")[0]), key.split(".")[1]) for key in keys_of()}
    return values | {f"attention.{name}": value for name, value in config.attention.knobs.items()}


def _text_of(path: Path, kind: str) -> str:
    """A user's small text file."""
    if not path.is_file():
        raise ConfigError(f"{kind} {path}: no such file")
    if path.stat().st_size > CONFIG_LIMIT_BYTES:
        raise ConfigError(f"{kind} {path}: {path.stat().st_size} bytes, at most {CONFIG_LIMIT_BYTES}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{kind} {path}: not readable as text: {error}") from error


def _check_together(config: GenerateConfig) -> None:
    request, sampler = config.request, config.sampler
    if request.seconds is not None and request.num_frames is not None:
        raise ConfigError(
            f"seconds={request.seconds:g} and num_frames={request.num_frames} both set the length; give one of them"
        )
    if request.seed is not None and request.seed + request.num_videos - 1 > MAX_SEED:
        raise ConfigError(
            f"seed={request.seed} leaves no seeds for num_videos={request.num_videos}; seeds end at {MAX_SEED}"
        )
    search = config.search
    if search.best_of > 1 and search.redo:
        raise ConfigError("search.best_of makes several clips, search.redo mends one; give one of them")
    if search.prune is not None and search.best_of == 1:
        raise ConfigError("search.prune drops some of several clips; say of how many with search.best_of")
    if search.prune is not None and not all(0 < share < 1 for share in search.prune):
        raise ConfigError(
            f"search.prune={search.prune!r} is not possible; possible: shares of the steps, as [0.4, 0.7]"
        )
    if search.rules is not None and search.best_of == 1 and not search.redo:
        raise ConfigError("search.rules says what a search looks for; ask for one with search.best_of or search.redo")
    presets = sampler_presets()
    if sampler.name not in presets:
        raise ConfigError(f"unknown sampler '{sampler.name}'; {nearest(sampler.name, presets)}")


def _known(key: str, where: str) -> None:
    keys = keys_of()
    if key not in keys and knob_of(key) is None:
        raise ConfigError(f"{where}: unknown key '{key}'; {nearest(key, keys)}")


def _typed(key: str, value: Any, where: str) -> Any:
    """The value in its field's type, by OmegaConf's rules, and in its range."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    kinds = _types_of(key)
    as_it_stands = (isinstance(value, str) and str in kinds) or (isinstance(value, list) and list[Any] in kinds)
    if not as_it_stands:  # text is, alone or in a story, `${` included
        group, _, name = key.partition(".")
        schema = OmegaConf.structured(typing.get_type_hints(GenerateConfig)[group])
        try:
            OmegaConf.update(schema, name, value, merge=False)
            value = OmegaConf.select(schema, name)
            value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        except OmegaConfBaseException as error:
            names = " or ".join(t.__name__ for t in kinds)
            raise ConfigError(f"{where}: {key} takes {names}, got {value!r}") from error
    check = CHECKS.get(key)
    problem = None if check is None else check.problem(value)
    if problem is not None:
        raise ConfigError(f"{where}: {key}={value!r} is not possible; {problem}")
    return value


def _types_of(key: str) -> tuple[type, ...]:
    kind = keys_of()[key]
    possible = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return tuple(t for t in possible if t is not types.NoneType)


def _parse_value(raw: str, word: str) -> Any:
    parsed = _parse_yaml(f"value: {raw}", word)
    if set(parsed) != {"value"}:
        raise ConfigError(f"'{word}' holds more than one value; give each key a word of its own")
    return parsed["value"]


def _parse_yaml(text: str, where: str) -> Any:
    """YAML through OmegaConf's loader, without resolving anything."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error


def _flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ConfigError(f"a config is a mapping of groups such as `request:`, got {values!r}")
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flattened |= _flatten(value, f"{prefix}{key}.")
        else:
            flattened[f"{prefix}{key}"] = value
    return flattened
