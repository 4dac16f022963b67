"""The import arrows: shared <- firmware_bridge <- {agent, models, hub}; agent and hub never meet; no cycles."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "shared": {"shared"},
    "firmware_bridge": {"shared", "firmware_bridge"},
    "agent": {"shared", "firmware_bridge", "agent"},
    "models": {"shared", "firmware_bridge", "models"},
    "hub": {"shared", "firmware_bridge", "models", "hub"},
}
NOT_ON_AN_AIRCRAFT = {"sklearn", "skl2onnx", "shap", "psycopg", "fastapi", "starlette", "pyarrow", "nats", "pyulog"}
ONLY_SCORING = "onnxruntime"


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """(dotted name, file) of every module of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def statements(tree: ast.AST, into_functions: bool) -> Iterator[ast.AST]:
    """All nodes that run; those under `if TYPE_CHECKING` do not. Function bodies only when asked."""
    for node in ast.iter_child_nodes(tree):
        if is_for_types(node):
            continue
        yield node
        if into_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from statements(node, into_functions)


@cache
def imports(path: Path, into_functions: bool = True) -> frozenset[str]:
    """Dotted names that a file imports (`from a import b` gives `a.b` and `a`)."""
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text(), str(path)), into_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join([*package, *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return frozenset(found)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_each_package_imports_only_what_its_arrow_allows(package: str) -> None:
    wrong = [
        f"{name} imports {target}"
        for name, path in modules(package)
        for target in sorted(imports(path))
        if target.split(".")[0] in MAY_IMPORT and target.split(".")[0] not in MAY_IMPORT[package]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["shared", "firmware_bridge", "agent"])
def test_what_an_aircraft_runs_never_imports_what_it_does_not_install(package: str) -> None:
    wrong = [
        f"{name} imports {target}"
        for name, path in modules(package)
        for target in sorted(imports(path))
        if target.split(".")[0] in NOT_ON_AN_AIRCRAFT
    ]
    assert wrong == []


def test_what_an_aircraft_runs_never_imports_the_reader_of_ulogs() -> None:
    late = [name for name, path in modules("agent") if any(t.startswith("firmware_bridge.ulog") for t in imports(path))]
    assert late == []


def test_in_shared_only_scoring_imports_onnxruntime() -> None:
    users = [name for name, path in modules("shared") if any(t.split(".")[0] == ONLY_SCORING for t in imports(path))]
    assert set(users) <= {"shared.scoring"}


def test_there_is_no_import_cycle() -> None:
    every = dict(pair for package in MAY_IMPORT for pair in modules(package))
    graph = {
        name: {target for target in imports(path, into_functions=False) if target in every and target != name}
        - {".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)}
        for name, path in every.items()
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as cycle:
        pytest.fail(f"import cycle: {' -> '.join(cycle.args[1])}")


def test_the_aircraft_extra_installs_nothing_of_the_hub() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = " ".join(project["dependencies"] + project["optional-dependencies"]["agent"]).lower()
    for unwanted in ("scikit-learn", "shap", "psycopg", "fastapi", "pyarrow"):
        assert unwanted not in names


def test_the_dbx_command_itself_imports_only_the_standard_library() -> None:
    allowed = {"importlib", "os", "re", "subprocess", "sys", "collections", "pathlib", "typing"}
    assert {target.split(".")[0] for target in imports(ROOT / "shared" / "command.py")} <= allowed
