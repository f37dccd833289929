"""The rules of the house, held over the syntax tree: which part may import which, and what no file may do.

A new part of vgen is a row of MAY_IMPORT.
"""

import ast
import importlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import vgen

ROOT = Path(__file__).parents[1]
LINKED = ("attention", "samplers")  # real folders at the top, imported as vgen.<name>

# part -> parts it may import; what those may import, it may too. `vgen` itself and `cli` may import anything.
# "Imports point one way": the parts that may import each other by this table would be a mistake in it, and fail a test.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "shapes": {"errors"},
    "yaml_text": {"errors"},
    "placement": {"errors"},
    "schema": {"errors", "placement"},
    "presets": {"schema", "yaml_text"},
    "config": {"presets"},
    "frames": {"errors"},
    "files": {"errors"},
    "images": {"frames"},
    "lines": {"files"},
    "video": {"files", "frames", "images"},
    "records": {"files", "video"},
    "clip": {"files", "frames", "images", "records", "video"},
    "drift": {"frames"},
    "attention": {"shapes"},
    "samplers": {"shapes"},
    "playground": {"shapes", "clip", "config"},
    "heap": {"errors"},
    "models": {"heap", "shapes", "attention", "files", "machine", "samplers", "presets"},
    "processes": {"errors"},
    "judge": {"clip", "playground", "config", "processes", "lines"},
    "convert": {"models", "files"},
    "training": {"models", "samplers", "playground", "sparsity"},
    "parallel": {"models", "attention", "samplers", "schema"},
    "sparsity": {"presets", "attention"},
    "sampling": {"presets", "models", "samplers"},
    "layouts": {"clip", "schema", "models", "sampling"},
    "step_cache": {"schema", "models", "sampling"},
    "story": {"config", "models"},
    "job": {"clip", "images", "layouts", "sampling", "sparsity", "step_cache", "story"},
    "rolling": {"job"},
    "clipwise": {"job", "parallel"},
    "spread": {"clipwise", "parallel", "plan"},
    "plan": {"clipwise", "files", "machine", "placement", "rolling"},
    "performance": {"plan"},
    "ladder": {"performance"},
    "machine": {"errors"},
    "checkpoint": {"clip", "samplers"},
    "speed": {"job", "parallel", "placement"},
    "wiring": {"clipwise", "ladder", "parallel", "speed"},
    "run_record": {"clip", "machine", "plan"},
    "run": {"checkpoint", "clipwise", "drift", "run_record", "wiring"},
    "stock": {"run"},
    "search": {"judge", "stock"},
    "pipeline": {"clipwise", "parallel", "playground", "search", "spread"},
    "evaluate": {"pipeline", "judge", "playground", "training"},
    "bench": {"evaluate", "pipeline", "judge", "playground", "training"},
}

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {"torch.save", "torch.load", "pandas.read_pickle"}
FORBIDDEN_ARGUMENTS = {"allow_pickle", "trust_remote_code"}
# `vgen convert` reads what others have pickled, through torch's unpickler of tensors, and its tests write such files
ALLOWED = {
    "vgen/convert/states.py": {"imports pickle.UnpicklingError", "calls torch.load(weights_only=True)"},
    "tests/convert/files.py": {"calls torch.save"},
    "tests/trust/fuzz.py": {"catches everything"},  # which is what it looks for
}

HEAVY = {"accelerate", "cv2", "diffusers", "matplotlib", "peft", "pymunk", "scipy", "skimage", "torch", "transformers"}


def project_files() -> dict[str, Path]:
    """Import name -> file, for every module of vgen, seen once (not through the links)."""
    files = [p for p in (ROOT / "vgen").rglob("*.py") if not {(ROOT / "vgen" / n) for n in LINKED} & {*p.parents}]
    named = {path.relative_to(ROOT): path for path in files}
    for name in LINKED:
        named |= {"vgen" / path.relative_to(ROOT): path for path in (ROOT / name).rglob("*.py")}
    return {".".join(rel.with_suffix("").parts).removesuffix(".__init__"): path for rel, path in sorted(named.items())}


FILES = project_files()
ALL_FILES = [*FILES.values(), *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "demos").rglob("*.py"))]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Names of the modules that a file imports anywhere in it, with the line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            if node.module == "vgen":  # a part, or a public name and with it the part that it comes from
                names = [vgen._HOME.get(alias.name, f"vgen.{alias.name}") for alias in node.names]
                yield from ((name, node.lineno) for name in names if name in FILES)


def part_of(module: str) -> str:
    """The part of vgen that a module belongs to; empty for `vgen` itself and for everything else."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "vgen" else ""


def reachable(part: str) -> set[str]:
    seen: set[str] = set()
    todo = set(MAY_IMPORT[part])
    while todo:
        seen |= todo
        todo = set().union(*(MAY_IMPORT[other] for other in todo)) - seen
    return seen


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_the_tree_is_seen_whole() -> None:
    assert {"vgen", "vgen.errors", "vgen.attention", "vgen.samplers", "vgen.cli"} <= set(FILES)
    assert len(set(FILES.values())) == len(FILES)


def test_the_import_table_has_no_circle() -> None:
    assert not [part for part in MAY_IMPORT if part in reachable(part)]
    assert {"errors"} == set.intersection(*(reachable(part) for part in MAY_IMPORT if part != "errors"))


def test_imports_point_one_way() -> None:
    wrong = []
    for module, path in FILES.items():
        part = part_of(module)
        if part in ("", "cli", "__main__"):
            continue
        assert part in MAY_IMPORT, f"'{part}' has no row in MAY_IMPORT"
        able = {part, *reachable(part)}
        for name, line in imports(path):
            other = part_of(name)
            if other and other not in able:
                wrong.append(f"{where(path, line)} {part} imports {other}")
    assert not wrong


def test_imports_are_absolute_and_by_the_real_name() -> None:
    wrong = []
    for path in ALL_FILES:
        relative = [n for n in ast.walk(tree(path)) if isinstance(n, ast.ImportFrom) and n.level]
        wrong += [where(path, node.lineno) for node in relative]
        wrong += [where(path, line) for name, line in imports(path) if name.partition(".")[0] in LINKED]
    assert not wrong


@pytest.mark.parametrize("name", LINKED)
def test_linked_packages_refuse_their_short_name(name: str) -> None:
    """`import attention` must not work by chance of the working directory and then be a second copy of the module."""
    with pytest.raises(ImportError, match=rf"vgen\.{name}"):
        importlib.import_module(name)
    assert name not in sys.modules


def test_every_file_starts_with_a_docstring() -> None:
    assert not [where(path, 1) for path in ALL_FILES if tree(path).body and not ast.get_docstring(tree(path))]


def test_public_modules_list_their_names_sorted() -> None:
    wrong = []
    for module, path in FILES.items():
        if module.rpartition(".")[2].startswith("_"):
            continue
        listed = [node for node in tree(path).body if isinstance(node, ast.Assign) and
                  any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)]  # fmt: skip
        defined = [n.name for n in tree(path).body if isinstance(n, ast.ClassDef | ast.FunctionDef)]
        public = [name for name in defined if not name.startswith("_")]
        if not listed and public:
            wrong.append(f"{where(path, 1)} has no __all__")
        for node in listed:
            names = ast.literal_eval(node.value)
            # constants first, then classes, then the rest: the order in which ruff (RUF022) keeps them
            order = sorted(names, key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n))
            if names != order or len(set(names)) < len(names):
                wrong.append(f"{where(path, node.lineno)} __all__ is not sorted")
    assert not wrong


@pytest.mark.parametrize("name", vgen.__all__)
def test_public_names_resolve_and_are_shown(name: str) -> None:
    assert getattr(vgen, name).__name__ == name
    assert name in dir(vgen)


def test_unknown_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Clap'"):
        vgen.Clap  # noqa: B018 (the access is the test)


def forbidden(path: Path) -> Iterator[str]:
    """What would load code from data, or hide an error."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            start = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [f"{start}{alias.name}" for alias in node.names]
            found = [name for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
            yield from (f"{where(path, node.lineno)} imports {name}" for name in found)
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS:
                yield f"{where(path, node.lineno)} calls {called.id}"
            if isinstance(called, ast.Attribute) and ast.unparse(called) in FORBIDDEN_ATTRIBUTES:
                yield f"{where(path, node.lineno)} calls {ast.unparse(called)}{tensors_alone(node)}"
            yield from (
                f"{where(path, node.lineno)} passes {word.arg}"
                for word in node.keywords
                if word.arg in FORBIDDEN_ARGUMENTS
                and not (isinstance(word.value, ast.Constant) and word.value.value is False)
            )
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type):
            yield f"{where(path, node.lineno)} catches everything"


def tensors_alone(call: ast.Call) -> str:
    said = [word.value for word in call.keywords if word.arg == "weights_only"]
    safe = len(said) == 1 and isinstance(said[0], ast.Constant) and said[0].value is True
    return "(weights_only=True)" if safe else ""


def is_broad(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(n is None or (isinstance(n, ast.Name) and n.id in {"Exception", "BaseException"}) for n in names)


def test_no_file_loads_code_from_data_or_hides_errors() -> None:
    runs_the_readme = ROOT / "tests" / "test_readme.py"
    found = {
        path.relative_to(ROOT).as_posix(): {finding.partition(" ")[2] for finding in forbidden(path)}
        for path in ALL_FILES
        if path != runs_the_readme
    }
    assert {name: findings for name, findings in found.items() if findings} == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from torch import nn; import joblib.memory",
        "torch.load('x')",
        "torch.load('x', weights_only=False)",
        "from pickle import loads",
        "eval('1')",
        "np.load('x', allow_pickle=True)",
        "f(trust_remote_code=flag)",
        "try: f()\nexcept: pass",
        "try: f()\nexcept (KeyError, Exception): pass",
    ],
)
def test_the_scan_sees_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr("tests.test_house.ROOT", tmp_path)
    (tmp_path / "bad.py").write_text(source)
    assert len(list(forbidden(tmp_path / "bad.py"))) == 1


@pytest.mark.parametrize("module", ["vgen", "vgen.cli"])
def test_importing_is_light(module: str) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "vgen" in done.stdout.split()
    assert not HEAVY & set(done.stdout.split())
    assert done.stderr == ""


def test_wheel_from_sdist_holds_every_file_once(tmp_path: Path) -> None:
    """The links of the checkout must end as plain packages in the wheel, with data files, and none of it twice."""
    build = "import sys, hatchling.build as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"

    def built(kind: str, cwd: Path) -> Path:
        command = [sys.executable, "-c", build, f"build_{kind}", str(tmp_path)]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
        return tmp_path / done.stdout.split()[-1]

    with tarfile.open(built("sdist", ROOT)) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(path for path in tmp_path.iterdir() if path.is_dir())
    with zipfile.ZipFile(built("wheel", source)) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    data = [path for path in (ROOT / "vgen").rglob("*") if path.suffix in {".yaml", ".json", ".safetensors"}]
    wanted = {path.relative_to(ROOT).as_posix() for path in data if not path.name.startswith(".")}
    wanted |= {f"vgen/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    wanted |= {module_file(module, path) for module, path in FILES.items()} | {"vgen/py.typed"}
    assert sorted(wanted - set(names)) == []
    assert len(names) == len(set(names))
    assert {name.partition("/")[0] for name in names} == {"vgen"}


def module_file(module: str, path: Path) -> str:
    folder = module.replace(".", "/")
    return f"{folder}/__init__.py" if path.name == "__init__.py" else f"{folder}.py"
