"""Imports point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {
    "deployments",
    "flows",
    "lfv_cli",
    "lfv_client",
    "lfv_report",
    "lfv_server",
    "lfv_settings",
    "lfv_store",
    "tasks",
}
ALLOWED: dict[str, set[str]] = {
    "deployments": {"flows", "lfv_settings"},
    "flows": {"tasks", "lfv_client", "lfv_store", "lfv_settings"},
    "tasks": {"lfv_client", "lfv_store", "lfv_report", "lfv_settings"},
    "lfv_client": set(),
    "lfv_store": set(),
    "lfv_report": set(),
    "lfv_server": {"lfv_client"},
    "lfv_cli": OURS - {"deployments"},
    "lfv_settings": set(),
}
#: Everybody else reaches the service over its API.
RUNS_THE_SERVICE = {"lfv_cli/serve.py"}
#: Who may know what, by the first name of a module: packages, and single files of others.
KNOWN_TO: dict[str, set[str]] = {
    "boto3": {"lfv_client", "lfv_server/buckets.py"},
    "botocore": {"lfv_client", "lfv_server"},
    "prefect": {"deployments", "flows", "tasks", "lfv_cli"},
    "alembic": {"lfv_store"},
    "torch": {"lfv_server/engine/network/learning.py"},
    # The command makes a URL of a file's name; statements are the store's alone.
    "sqlalchemy": {"lfv_store", "lfv_cli/db.py"},
}


def files_of(package: str) -> list[Path]:
    """Python files of a package or module of ours; there are some."""
    single = ROOT / f"{package}.py"
    files = [single] if single.is_file() else sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no files"
    return files


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it; no package of ours can be left by a relative
    import."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def test_every_package_has_its_place() -> None:
    assert set(ALLOWED) == OURS
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} == OURS - {"lfv_settings"}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    for path in files_of(package):
        here = path.relative_to(ROOT).as_posix()
        for module in sorted(imports_of(path)):
            top = module.partition(".")[0]
            if top in KNOWN_TO:
                assert {package, here} & KNOWN_TO[top], f"{here} imports {module}"
            if top in OURS and top != package:
                assert top in ALLOWED[package], f"{here} imports {module}"
                if (package, top) == ("lfv_server", "lfv_client"):
                    assert module.startswith("lfv_client.api"), f"{here} imports {module}"
                if top == "lfv_server":
                    assert here in RUNS_THE_SERVICE, f"{here} imports {module}"


@pytest.mark.parametrize("package", sorted(OURS - {"lfv_settings"}))
def test_only_the_settings_read_the_environment(package: str) -> None:
    for path in files_of(package):
        for node in ast.walk(ast.parse(path.read_text())):
            names: set[str] = set()
            if isinstance(node, ast.Attribute):
                names = {node.attr}
            elif isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names}
            assert not names & {"environ", "environb", "getenv"}, f"{path} reads the environment"
