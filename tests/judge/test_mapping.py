"""The packaged tables name every term of their benchmarks and only rules that exist; bad tables are refused."""

import pytest

from vgen.errors import ConfigError
from vgen.judge.mapping import parse_table, tables
from vgen.judge.rules import RULES

HEAD = "benchmark: X\nsource: arXiv:0\nclosed: true\nterms:\n"
TERMS = {"PhyGround": 13, "PhyGenBench": 29, "IntPhys2": 6, "RULER-Bench": 40}  # of those that are closed


def test_packaged_tables_are_whole() -> None:
    assert {name: len(table.terms) for name, table in tables().items() if table.closed} == dict(sorted(TERMS.items()))
    for table in tables().values():
        for term in table.terms.values():
            assert bool(term.rules) != bool(term.unmeasured)
            assert set(term.rules) <= set(RULES)


def test_ruler_counts_its_six_categories() -> None:
    counts: dict[str, int] = {}
    for term in tables()["RULER-Bench"].terms:
        category = term.split("/")[0]
        counts[category] = counts.get(category, 0) + 1
    assert counts == {"science": 7, "game": 10, "semantic": 3, "hypothetical": 2, "humanity": 8, "vision rule": 10}


def test_terms_of_a_rule() -> None:
    assert tables()["PhyGround"].terms_of("solidity") == ("impenetrability",)
    assert tables()["PhyGround"].terms_of("vanish") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("benchmark: [", "not YAML"),
        ("- a", "needs the keys"),
        ("benchmark: X\nterms: {}", "needs the keys"),
        (HEAD.replace("true", "maybe") + "  a: {rules: [vanish]}", "closed is a bool"),
        (HEAD + "  a: {rules: [vanishing]}", "did you mean 'vanish'"),
        (HEAD + "  a: {rules: []}", "list of different names"),
        (HEAD + "  a: {rules: [vanish, vanish]}", "list of different names"),
        (HEAD + "  a: {}", "names its rules"),
        (HEAD + "  a: {rules: [vanish], unmeasured: no}", "names its rules"),
        (HEAD + "  a: {unmeasured: ''}", "reason in words"),
    ],
)
def test_bad_tables_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_table(text, "x.yaml")
