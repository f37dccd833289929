"""SECURITY.md and the tests agree: every line of its list names a test that is there, and every attack stands in it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "SECURITY.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
# of the tools themselves, and what protects nobody but the reader of a message
ASIDE = {
    "test_links_within_a_folder_and_a_caches_own_are_followed",
    "test_a_link_to_nothing_is_refused",
    "test_what_libtiff_says_stays_off_stderr",
    "test_a_pipe_among_frames_is_refused",
    "test_yaml_is_read_as_omegaconf_reads_it",
    "test_a_name_that_is_no_text_passes_through_stdout",
    "test_a_name_longer_than_the_system_knows_is_the_users_mistake",
    "test_a_checkpoint_that_is_a_link_to_a_device_is_refused",
}


@cache
def names_in(path: Path) -> frozenset[str]:
    nodes = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def held_lines() -> list[str]:
    held = PAGE.read_text(encoding="utf-8").partition("\n## What is held\n")[2].partition("\n## ")[0]
    return [line for line in held.splitlines() if line.startswith("- ")]


def test_the_list_is_there() -> None:
    assert len(held_lines()) > 30


@pytest.mark.parametrize("line", held_lines(), ids=lambda line: line[2:42])
def test_every_line_names_tests_that_there_are(line: str) -> None:
    named = NAMED.findall(line)
    assert named, "a line without a test is a claim"
    assert [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / file)] == []
    assert NAMED.sub("", line).count("`tests/") == 0, "a reference that is none"


def test_every_attack_stands_in_the_list() -> None:
    file = "tests/trust/test_attacks.py"
    named = {name for line in held_lines() for path, name in NAMED.findall(line) if path == file}
    assert names_in(ROOT / file) - named == ASIDE


def test_what_is_not_built_is_not_claimed() -> None:
    unbuilt = PAGE.read_text(encoding="utf-8").partition("\n## What is not built, and so not claimed\n")[2]
    assert "- A server:" in unbuilt and "::" not in unbuilt
    assert not (ROOT / "vgen" / "server").exists(), "then its lines are due"
