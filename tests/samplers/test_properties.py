"""The table of properties in this package's docstring names tests that exist."""

import ast
import re
from pathlib import Path

import tests.samplers

TESTS = Path(__file__).parents[1]


def test_every_property_has_a_row_and_every_test_in_it_exists() -> None:
    table = tests.samplers.__doc__ or ""
    assert re.findall(r"^P(\d+) ", table, flags=re.M) == [str(number) for number in range(1, 38)]
    named = set(re.findall(r"(\S+\.py)::(\w+)", table))
    there = {
        (file, node.name)
        for file in {file for file, _ in named}
        for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert sorted(named - there) == []
