"""How other benchmarks' laws and tasks relate to the measured rules: tables in `mappings/`, as data.

A table maps every term of a benchmark to rules, or says why none measures it. To add one: a YAML file in `mappings/`
with `benchmark`, `source`, `closed` (whether the benchmark has no other terms) and `terms`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from vgen.errors import ConfigError, nearest
from vgen.judge.rules import RULES

__all__ = ["Table", "Term", "parse_table", "tables"]


@dataclass(frozen=True, slots=True)
class Term:
    """One law, condition or task of a benchmark.

    Args:
        rules: names of the measured rules that speak to it; empty where none does.
        unmeasured: why none does; empty where one does.
    """

    rules: tuple[str, ...] = ()
    unmeasured: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All terms of one benchmark.

    Args:
        benchmark: its name.
        source: where its terms are defined.
        closed: whether it has no terms but these.
        terms: by the benchmark's own names.
    """

    benchmark: str
    source: str
    closed: bool
    terms: Mapping[str, Term]

    def terms_of(self, rule: str) -> tuple[str, ...]:
        """The terms that a rule speaks to."""
        return tuple(name for name, term in self.terms.items() if rule in term.rules)


@cache  # they come with the package and never change
def tables() -> Mapping[str, Table]:
    """The packaged tables, by the name of the benchmark, in alphabetical order."""
    folder = files("vgen.judge").joinpath("mappings")
    sources = {entry.name: entry.read_text() for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    read = [parse_table(text, name) for name, text in sorted(sources.items())]
    return MappingProxyType({table.benchmark: table for table in sorted(read, key=lambda table: table.benchmark)})


def parse_table(text: str, name: str) -> Table:
    """A table from YAML text.

    Args:
        text: as the files in `mappings/`.
        name: of the text, for errors.

    Raises:
        ConfigError: no YAML, another structure, an unknown rule, a term without rules or reason, or with both.
    """
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"mapping {name}: not YAML: {str(error).splitlines()[0]}") from error
    keys = {"benchmark": str, "source": str, "closed": bool, "terms": dict}
    if not isinstance(data, dict) or set(data) != set(keys):
        got = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        raise ConfigError(f"mapping {name}: needs the keys {sorted(keys)}, got {got}")
    for key, kind in keys.items():
        if not isinstance(data[key], kind):
            raise ConfigError(f"mapping {name}: {key} is a {kind.__name__}, got {data[key]!r}")
    terms = {str(term): _term(entry, f"mapping {name}, term '{term}'") for term, entry in data["terms"].items()}
    return Table(
        benchmark=data["benchmark"], source=data["source"], closed=data["closed"], terms=MappingProxyType(terms)
    )


def _term(entry: Any, where: str) -> Term:
    if not isinstance(entry, dict) or set(entry) not in ({"rules"}, {"unmeasured"}):
        raise ConfigError(f"{where}: names its rules, or under unmeasured why there are none; got {entry!r}")
    if "unmeasured" in entry:
        if not isinstance(entry["unmeasured"], str) or not entry["unmeasured"]:
            raise ConfigError(f"{where}: unmeasured is a reason in words, got {entry['unmeasured']!r}")
        return Term(unmeasured=entry["unmeasured"])
    rules = entry["rules"]
    if not isinstance(rules, list) or not rules or len(set(map(str, rules))) < len(rules):
        raise ConfigError(f"{where}: rules is a list of different names, got {rules!r}")
    for rule in rules:
        if rule not in RULES:
            raise ConfigError(f"{where}: unknown rule '{rule}'; {nearest(str(rule), RULES)}")
    return Term(rules=tuple(rules))
