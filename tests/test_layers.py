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
    "lfv.__main__": {"lfv.cli"},
    "lfv.launch": set(),
    "lfv.onnx_files": set(),  # reads files, which formats never do
    "lfv_store": set(),
}
FIRST_NAMES = {package.split(".")[0] for package in ALLOWED} | {"tests", "benchmarks"}
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


def may_import(file: str, module: str) -> bool:
    """Whether a file of the project may import a module."""
    package, other = package_of(module_of(file)), package_of(module)
    top = module.partition(".")[0]
    if top in KNOWN_TO and not {package, file, *map(str, Path(file).parents)} & KNOWN_TO[top]:
        return False
    if package is None or other is None or other == package:
        return True
    if other == "lfv.server" and file not in RUNS_THE_SERVICE:
        return False
    return any(f"{module}.".startswith(f"{name}.") for name in ALLOWED[package])


def test_modules_import_only_what_is_below_them() -> None:
    wrong = [
        f"{file} imports {module}"
        for file, path in FILES.items()
        for module in sorted(imports_of(path))
        if not may_import(file, module)
    ]
    assert not wrong


def test_an_import_that_points_another_way_is_noticed() -> None:
    assert may_import("lfv/server/api.py", "lfv.client.api.client")
    assert not may_import("lfv/server/api.py", "lfv.client.sources")
    assert not may_import("lfv/formats/images.py", "lfv.client.sources")
    assert not may_import("lfv/run/plan.py", "lfv.server.service")
    assert not may_import("lfv/cli/inspect.py", "lfv.server.service")
    assert may_import("lfv/cli/serve.py", "lfv.server.service")
    assert not may_import("lfv/run/plan.py", "sqlalchemy")
    assert not may_import("lfv_store/runs.py", "lfv.formats.status")


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
def test_a_process_starts_without_heavy_imports(module: str, heavy: set[str]) -> None:
    loaded = f"import sys, {module}; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not heavy & set(found.stdout.split())


def test_formats_read_and_write_nothing() -> None:
    """Bytes in, values out: no files, buckets or networks."""
    touching = {"pathlib", "socket", "subprocess", "shutil", "tempfile", "urllib.request", "os"}
    formats = {file: path for file, path in FILES.items() if file.startswith("lfv/formats/")}
    assert not {file for file, path in formats.items() if imports_of(path) & touching}
    calls = [
        f"{file}: {ast.unparse(node)}"
        for file, path in formats.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("open", "print", "input")
    ]
    assert not calls


def names_in(module: str) -> set[str] | None:
    """The names that a module of the project defines or contains; None if there is no such one."""
    place = ROOT / module.replace(".", "/")
    names = {child.stem for child in place.glob("*")}
    path = place / "__init__.py" if names else place.with_suffix(".py")
    if not path.exists():
        return names or None
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_programs_outside_the_packages_import_what_exists() -> None:
    """Some of them run in processes of their own, which fail long after the tests have begun."""
    missing = []
    for folder in ("benchmarks", "docs", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                module = node.module if isinstance(node, ast.ImportFrom) else None
                if module is None or module.split(".")[0] not in FIRST_NAMES:
                    continue
                names = names_in(module)
                wanted = {alias.name for alias in node.names}
                if names is None or not wanted <= names:
                    place = f"{path.relative_to(ROOT)}:{node.lineno}"
                    missing.append(f"{place}: {module} {sorted(wanted - (names or set()))}")
    assert not missing


def test_there_is_no_import_cycle() -> None:
    graph = {
        module: (imports_of(FILES[file], at_import=True) & MODULES.keys()) - {module}
        for module, file in MODULES.items()
    }
    TopologicalSorter(graph).prepare()


def reads_the_environment(node: ast.AST) -> bool:
    """Whether a piece of code names the environment."""
    names: set[str] = set()
    if isinstance(node, ast.Attribute):
        names = {node.attr}
    elif isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
    return bool(names & {"environ", "environb", "getenv"})


def test_only_the_settings_read_the_environment() -> None:
    reading = {
        file
        for file, path in FILES.items()
        if any(map(reads_the_environment, ast.walk(ast.parse(path.read_text()))))
    }
    assert reading == {"lfv/settings/environment.py"}


def test_no_module_is_too_long() -> None:
    lengths = {file: len(path.read_text().splitlines()) for file, path in FILES.items()}
    assert not {file: lines for file, lines in lengths.items() if lines > 450}
