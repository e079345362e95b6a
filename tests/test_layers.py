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
    "flows": {"tasks", "lfv_client", "lfv_store", "lfv_settings"},
    "tasks": {"lfv_client", "lfv_store", "lfv_report", "lfv_settings"},
    "lfv_client": set(),
    "lfv_store": set(),
    "lfv_report": set(),
    "lfv_server": {"lfv_client"},
    "lfv_cli": OURS - {"deployments"},
}
FOREIGN_TO = {
    "lfv_client": {"prefect", "sqlalchemy", "alembic"},
    "lfv_store": {"prefect", "boto3", "botocore"},
    "lfv_server": {"prefect"},
    "tasks": {"boto3", "botocore", "sqlalchemy"},
    "flows": {"boto3", "botocore", "sqlalchemy"},
    "lfv_report": {"prefect", "boto3", "botocore", "sqlalchemy"},
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    for path in sorted((ROOT / package).rglob("*.py")):
        for module in imports_of(path):
            top = module.partition(".")[0]
            assert top not in FOREIGN_TO.get(package, ()), f"{path} imports {module}"
            if top in OURS and top != package:
                assert top in ALLOWED[package], f"{path} imports {module}"
                if (package, top) == ("lfv_server", "lfv_client"):
                    assert module.startswith("lfv_client.api"), f"{path} imports {module}"


def test_only_the_settings_read_the_environment() -> None:
    for package in ALLOWED:
        for path in sorted((ROOT / package).rglob("*.py")):
            reads = [
                node
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            ]
            assert not reads, f"{path} reads the environment"
