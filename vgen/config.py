"""`GenerateConfig`: one schema for the command line, YAML, Python and the record.

Layers are merged in a fixed order, later wins: schema, model card, named preset, `--config` file, then flags and
`key=value`. None means "not said": the model card, the preset or the folder decides. Which keys were said is kept,
because a default must not pass for somebody's wish.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from vgen.errors import ConfigError, InputError, nearest

__all__ = [
    "GROUPS",
    "GenerateConfig",
    "OneOf",
    "Range",
    "attention_presets",
    "flat",
    "keys_of",
    "knob_of",
    "merge",
    "parse_assignments",
    "read_config",
    "require_prompt",
    "sampler_presets",
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
    image: str | None = None
    fit: str = "crop"
    seconds: float | None = None
    num_frames: int | None = None
    width: int | None = None
    height: int | None = None
    fps: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    num_videos: int = 1


@dataclass(kw_only=True)
class SamplerConfig:
    """In which order frames lose their noise; a preset fills what is not said."""

    name: str = "full"
    lag: int | str | None = None
    block: int | None = None
    window: int | None = None
    sink: int | None = None
    solver: str | None = None
    force: bool = False


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
class RunConfig:
    """Where and in which precision."""

    device: str = "auto"
    dtype: str = "auto"


@dataclass(kw_only=True)
class OutputConfig:
    """What is written."""

    path: str | None = None
    sheet: bool = False


@dataclass(kw_only=True)
class GenerateConfig:
    """Everything that a generation depends on."""

    model: ModelConfig = field(default_factory=ModelConfig)
    request: RequestConfig = field(default_factory=RequestConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    run: RunConfig = field(default_factory=RunConfig)
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


KNOBS = "knobs"
GROUPS = tuple(group.name for group in fields(GenerateConfig))
MAX_SEED = 2**63 - 1
SOLVERS = ("euler", "multistep", "renoise")
DTYPES = ("auto", "float32", "bfloat16", "float16")
FITS = ("crop", "pad", "stretch")  # those of vgen.images, which loads too much for `vgen --help`
EXECUTORS = ("auto", "dense", "flex", "gather", "reference", "varlen", "xformers")  # vgen.attention would load torch

CHECKS: dict[str, Range | OneOf] = {
    "request.fit": OneOf(FITS),
    "request.seconds": Range(0.01, 3600, " s"),
    "request.num_frames": Range(1, 100_000, " frames"),
    "request.width": Range(16, 8192, " px"),
    "request.height": Range(16, 8192, " px"),
    "request.fps": Range(1, 240),
    "request.num_inference_steps": Range(1, 1000),
    "request.guidance_scale": Range(0, 100),
    "request.seed": Range(0, MAX_SEED),
    "request.num_videos": Range(1, 1000),
    "sampler.block": Range(1, 1024, " latent frames"),
    "sampler.window": Range(1, 100_000, " latent frames"),
    "sampler.sink": Range(0, 100_000, " latent frames"),
    "sampler.solver": OneOf(SOLVERS),
    "attention.executor": OneOf(EXECUTORS),
    "attention.block": Range(1, 1 << 20, " tokens"),
    "attention.dense_first_steps": Range(0, 1000),
    "attention.dense_last_steps": Range(0, 1000),
    "attention.dense_layers": Range(0, 1000),
    "run.dtype": OneOf(DTYPES),
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
    return _presets("sampler")


def attention_presets() -> dict[str, dict[str, Any]]:
    """The presets of `configs/attention/`, by name: dotted keys, of which `attention.name` is the pattern."""
    return _presets("attention")


def _presets(group: str) -> dict[str, dict[str, Any]]:
    folder = files("vgen").joinpath("configs", group)
    return {
        preset.name.removesuffix(".yaml"): _flatten(_parse_yaml(preset.read_text(), preset.name), f"{group}.")
        for preset in folder.iterdir()
        if preset.name.endswith(".yaml")
    }


def read_config(path: Path, group: str = "") -> dict[str, Any]:
    """A user's YAML file as dotted keys; of one group where that is named.

    Interpolation is not evaluated: a stranger's file must not read the environment.

    Raises:
        ConfigError: unreadable, too large, not a mapping of known keys, or with an interpolation in it.
    """
    if not path.is_file():
        raise ConfigError(f"config {path}: no such file")
    if path.stat().st_size > CONFIG_LIMIT_BYTES:
        raise ConfigError(f"config {path}: {path.stat().st_size} bytes, at most {CONFIG_LIMIT_BYTES}")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: not readable as text: {error}") from error
    values = _flatten(_parse_yaml(text, str(path)), f"{group}." if group else "")
    for key, value in values.items():
        if isinstance(value, str) and "${" in value:
            raise ConfigError(f"config {path}: {key} holds an interpolation {value!r}; write the value itself")
    return values


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
    presets = sampler_presets()
    if sampler.name not in presets:
        raise ConfigError(f"unknown sampler '{sampler.name}'; {nearest(sampler.name, presets)}")
    if isinstance(sampler.lag, str) and sampler.lag != "num_steps":
        raise ConfigError(f"sampler.lag is a number of steps or 'num_steps', got {sampler.lag!r}")
    if isinstance(sampler.lag, int) and sampler.lag < 0:
        raise ConfigError(f"sampler.lag is at least 0, got {sampler.lag}")


def _known(key: str, where: str) -> None:
    keys = keys_of()
    if key not in keys and knob_of(key) is None:
        raise ConfigError(f"{where}: unknown key '{key}'; {nearest(key, keys)}")


def _typed(key: str, value: Any, where: str) -> Any:
    """The value in its field's type, by OmegaConf's rules, and in its range."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not (isinstance(value, str) and str in _types_of(key)):  # text is taken as it stands, `${` included
        schema = OmegaConf.structured(GenerateConfig)
        try:
            OmegaConf.update(schema, key, value, merge=False)
            value = OmegaConf.select(schema, key)
        except OmegaConfBaseException as error:
            names = " or ".join(t.__name__ for t in _types_of(key))
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
