"""YAML that strangers wrote, as plain data: mappings, lists, text, numbers, true, false and null, and nothing else.

A file is looked through before it is built: no aliases (a few lines of them fill a memory), no tags (which build
objects), bounded depth (the C library's recursion ends in a crash) and length. Nothing is interpolated.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from vgen.errors import ConfigError

__all__ = ["MAX_DEPTH", "MAX_NODES", "load_yaml"]

MAX_DEPTH = 32
MAX_NODES = 20_000
FLOAT = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
UNREAD = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")  # dates stay text; floats are as in YAML 1.2

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Parser):  # type: ignore[misc]
    """The safe loader, with YAML 1.2's floats (`1e-3`), no dates, and no key twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as the base class has it)
        first: [(tag, pattern) for tag, pattern in rows if tag not in UNREAD]
        for first, rows in _Parser.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"found duplicate key {key.value}", key.start_mark)
            seen.add(str(key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def load_yaml(text: str, where: str) -> Any:
    """What a YAML text says; None where it says nothing.

    Raises:
        ConfigError: no YAML, or YAML with aliases, tags, a key twice, or more depth or length than a config needs.
    """
    try:
        problem = _problem(text)
        if problem is None:
            return yaml.load(text, Loader=_Loader)  # noqa: S506 (made from the safe one)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    raise ConfigError(f"{where}: not YAML that is read: {problem}")


def _problem(text: str) -> str | None:
    depth = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_Parser)
    for number, event in enumerate(events):
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None) is not None:
            return f"an alias or anchor in line {line}; write the value itself"
        if getattr(event, "tag", None) is not None:
            return f"the tag {event.tag!r:.60} in line {line}; only plain values are read"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return f"more than {MAX_DEPTH} levels in line {line}"
        if number > MAX_NODES:
            return f"more than {MAX_NODES} values"
    return None
