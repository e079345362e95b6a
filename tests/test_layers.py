"""Imports point one way, and never in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The project's packages that each package may import: itself, and those below it.
ALLOWED: dict[str, set[str]] = {
    "deployments": {"flows", "lfv.settings"},
    "flows": {"tasks", "lfv.run", "lfv.client", "lfv.formats", "lfv_store", "lfv.settings"},
    "tasks": {"lfv.run", "lfv.client", "lfv.formats", "lfv_store", "lfv.report", "lfv.settings"},
    "lfv.cli": {"flows", "tasks", "lfv.ui", "lfv.run", "lfv.client", "lfv.formats", "lfv.report"}
    | {"lfv.server", "lfv_store", "lfv.settings", "lfv.launch"},
    "lfv.ui": {"lfv.run", "lfv.client", "lfv.formats", "lfv.report", "lfv_store", "lfv.settings"},
    "lfv.run": {"lfv.client", "lfv.formats", "lfv_store", "lfv.report", "lfv.settings"}
    | {"lfv.onnx_files"},
    "lfv.client": {"lfv.formats"},
    "lfv.report": {"lfv.formats"},
    "lfv.server": {"lfv.formats", "lfv.client.api", "lfv.engine.seam", "lfv.report"}
    | {"lfv.onnx_files", "lfv.launch"},
    "lfv.engine": {"lfv.formats", "lfv.onnx_files"},
    "lfv.formats": set(),
    "lfv.settings": {"lfv.formats"},
    "lfv.launch": set(),
    "lfv.onnx_files": set(),  # reads files, which formats never do
    "lfv_store": set(),
}
#: All others use the service over its API.
RUNS_THE_SERVICE = {"lfv/cli/serve.py", "lfv/cli/edge_agent.py"}
#: Allowed imports by the first name of a module: packages, and other folders or files.
KNOWN_TO: dict[str, set[str]] = {
    "boto3": {"lfv.client", "lfv/server/buckets.py"},
    "botocore": {"lfv.client", "lfv.server"},
    "prefect": {"deployments", "flows", "tasks", "lfv.cli"},
    "prefect_dask": {"flows"},
    "alembic": {"lfv_store", "lfv/server/schema.py", "lfv/server/migrations"},
    "torch": {"lfv/engine/network/learning.py"},
    "starlette": {"lfv.server", "lfv.ui"},
    "argon2": {"lfv/ui/accounts.py"},
    "authlib": {"lfv/ui/single_sign_on.py"},
    "joserfc": {"lfv/ui/single_sign_on.py"},
    # The command turns a file name into a URL. The service's state is a separate database.
    "sqlalchemy": {
        *("lfv_store", "lfv/cli/db.py"),
        *("lfv/server/database.py", "lfv/server/schema.py", "lfv/server/state"),
    },
}
#: Parts of the engine that its core loads by name, when an option or a stored model asks for one.
OPTIONAL_PARTS = ("lfv.engine.custom_models", "lfv.engine.network")
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for top in ("deployments", "flows", "lfv", "lfv_store", "tasks")
    for path in sorted((ROOT / top).rglob("*.py"))
}


def module_of(file: str) -> str:
    """Dotted name of a file of the project."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_of(file): file for file in FILES}


def package_of(module: str) -> str | None:
    """The project's package of a module; None for third-party modules."""
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        if name in ALLOWED:
            return name
    return None


def imports_of(path: Path, *, at_import: bool = False) -> set[str]:
    """Modules that a file imports anywhere; with `at_import`, only those imported with it."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            of_ours = members & MODULES.keys()
            found.update(of_ours)
            if of_ours != members:
                found.add(node.module)
        elif at_import and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def test_every_module_has_its_place() -> None:
    homeless = [module for module in MODULES if package_of(module) is None and module != "lfv"]
    assert not homeless
    assert {package_of(module) for module in MODULES} - {None} == set(ALLOWED)


@pytest.mark.parametrize("file", sorted(FILES))
def test_a_module_imports_only_what_is_below_it(file: str) -> None:
    package = package_of(module_of(file))
    for module in sorted(imports_of(FILES[file])):
        top = module.partition(".")[0]
        if top in KNOWN_TO:
            places = {package, file, *map(str, Path(file).parents)}
            assert places & KNOWN_TO[top], f"{file} imports {module}"
        other = package_of(module)
        if package is None or other is None or other == package:
            continue
        allowed = ALLOWED[package]
        in_part = any(module == name or module.startswith(f"{name}.") for name in allowed)
        assert other in allowed or in_part, f"{file} imports {module}"
        if other == "lfv.server":
            assert file in RUNS_THE_SERVICE, f"{file} imports {module}"


def test_the_core_of_the_engine_imports_no_optional_part() -> None:
    core = [
        (module, file)
        for module, file in MODULES.items()
        if module.startswith("lfv.engine") and not module.startswith(OPTIONAL_PARTS)
    ]
    assert len(core) > len(OPTIONAL_PARTS)
    for module, file in core:
        reached = {name for name in imports_of(FILES[file]) if name.startswith(OPTIONAL_PARTS)}
        assert not reached, f"{module} imports {sorted(reached)}"
    # Neither does one part import the other.
    for part in OPTIONAL_PARTS:
        others = tuple(other for other in OPTIONAL_PARTS if other != part)
        for module, file in MODULES.items():
            if module.startswith(part):
                assert not [n for n in imports_of(FILES[file]) if n.startswith(others)], module


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("lfv.engine.seam", {"numpy", "scipy", "onnxruntime", "onnx"}),  # what the service imports
        ("lfv.engine.predictor", {"scipy.stats", "scipy.optimize"}),  # an inference unit
        ("lfv.run.hosting.guard", {"numpy", "pydantic", "prefect"}),  # there is one beside each run
    ],
)
def test_a_process_starts_without(module: str, heavy: set[str]) -> None:
    loaded = f"import sys, {module}; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not heavy & set(found.stdout.split())


@pytest.mark.parametrize("file", sorted(f for f in FILES if f.startswith("lfv/formats/")))
def test_formats_read_and_write_nothing(file: str) -> None:
    """Bytes in, values out: no files, buckets or networks."""
    touching = {"pathlib", "socket", "subprocess", "shutil", "tempfile", "urllib.request", "os"}
    assert not imports_of(FILES[file]) & touching
    for node in ast.walk(ast.parse(FILES[file].read_text())):
        assert not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("open", "print", "input")
        ), f"{file}: {ast.unparse(node)}"


def test_there_is_no_circle() -> None:
    graph = {
        module: (imports_of(FILES[file], at_import=True) & MODULES.keys()) - {module}
        for module, file in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("file", sorted(FILES))
def test_no_relative_import(file: str) -> None:
    for node in ast.walk(ast.parse(FILES[file].read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: {ast.unparse(node)}"


@pytest.mark.parametrize("file", sorted(set(FILES) - {"lfv/settings/environment.py"}))
def test_only_the_settings_read_the_environment(file: str) -> None:
    for node in ast.walk(ast.parse(FILES[file].read_text())):
        names: set[str] = set()
        if isinstance(node, ast.Attribute):
            names = {node.attr}
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
        assert not names & {"environ", "environb", "getenv"}, f"{file} reads the environment"


@pytest.mark.parametrize("file", sorted(FILES))
def test_no_module_is_too_long(file: str) -> None:
    assert len(FILES[file].read_text().splitlines()) <= 450
