"""From what was said to a `GenerateConfig`: YAML files and `key=value` words are read, and layers of keys merged.

Layers are merged in a fixed order, later wins: schema, model card, named preset, `--config` file, then flags and
`key=value`. Which keys were said is kept, because a default must not pass for somebody's wish.
"""

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vgen.errors import ConfigError, InputError, nearest
from vgen.presets import sampler_presets
from vgen.schema import CHECKS, GROUPS, MAX_SEED, GenerateConfig, dotted, keys_of, knob_of
from vgen.yaml_text import load_yaml

__all__ = ["merge", "parse_assignments", "read_config", "read_story", "require_prompt"]

CONFIG_LIMIT_BYTES = 1 << 20
MAX_PROMPT = 20_000  # characters; models read 512 tokens, and a longer text would only cost time


def read_config(path: Path, group: str = "") -> dict[str, Any]:
    """A user's YAML file as dotted keys; of one group where that is named.

    Interpolation is not evaluated: a stranger's file must not read the environment.

    Raises:
        ConfigError: unreadable, too large, not a mapping of known keys, or with an interpolation in it.
    """
    values = dotted(load_yaml(_text_of(path, "config"), str(path)) or {}, f"{group}." if group else "")
    for key, value in values.items():
        if isinstance(value, str) and "${" in value:
            raise ConfigError(f"config {path}: {key} holds an interpolation {value!r}; write the value itself")
    return values


def read_story(path: Path) -> list[Any]:
    """A user's YAML file of timed prompts, `- {at: 4s, prompt: "..."}` each.

    Raises:
        ConfigError: unreadable, too large, or no list.
    """
    rows = load_yaml(_text_of(path, "story"), str(path))
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
    """Refuses a prompt that says nothing, or more than any model reads.

    Raises:
        InputError: with an example of one that does, or the limit.
    """
    if not prompt.strip():
        raise InputError('the prompt is empty; say what should be seen, such as "a red ball rolls to the right"')
    if len(prompt) > MAX_PROMPT:
        raise InputError(f"the prompt has {len(prompt)} characters; at most {MAX_PROMPT} are read")


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
        except (OmegaConfBaseException, OverflowError) as error:
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
    parsed = load_yaml(f"value: {raw}", word)
    if set(parsed) != {"value"}:
        raise ConfigError(f"'{word}' holds more than one value; give each key a word of its own")
    return parsed["value"]
