"""Which code measures: a digest that comments and docstrings leave as it is."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

__all__ = ["code_digest"]

MEASURING = ("vgen.judge.perception", "vgen.judge.rules", "vgen.playground.twins")  # packages that decide a measurement


@cache
def code_digest(packages: tuple[str, ...] = MEASURING) -> str:
    """SHA-256 over the syntax of all code in packages; comments and docstrings do not count."""
    digest = hashlib.sha256()
    for package in packages:
        for name, source in sorted(_sources(resources.files(package), package)):
            digest.update(f"{name}\n{_syntax(source)}\n".encode())
    return digest.hexdigest()


def _sources(folder: Traversable, package: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{package}.{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{package}.{entry.name}", entry.read_text(encoding="utf-8")


def _syntax(source: str) -> str:
    """A file's code without its comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.unparse(tree)
