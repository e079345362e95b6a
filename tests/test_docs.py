"""The documentation is true."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_dependency_has_a_reason() -> None:
    wanted = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=!~;]", requirement)[0].strip() for requirement in wanted}
    rows = re.findall(
        r"^\| ([\w-]+) \| (.+) \|$", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE
    )
    told = {name for name, reason in rows if name != "package" and len(reason) > 10}
    assert told == names


def test_locks_pin_everything_and_name_no_address() -> None:
    for lock in ("runtime.txt", "dev.txt"):
        text = (ROOT / "requirements" / lock).read_text()
        assert "://" not in text
        assert not re.search("^torch", text, re.MULTILINE)
        assert "--index" not in text
        requirements = re.findall(r"^[a-z].*", text, re.MULTILINE)
        assert requirements
        for requirement in requirements:
            assert "==" in requirement
        assert text.count("--hash=sha256:") >= len(requirements)


def test_links_between_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_places_named_in_the_architecture_exist() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    places = re.findall(r"`((?:deployments|flows|lfv|lfv_store|tasks|tests)/[\w/.]*)`", page)
    assert len(places) > 30
    assert not [place for place in places if not (ROOT / place).exists()]


def test_every_package_has_its_place_in_the_architecture() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    parts = [path for path in (ROOT / "lfv").iterdir() if (path / "__init__.py").exists()]
    assert parts
    for part in parts:
        assert f"| `lfv/{part.name}/` |" in page


def test_the_changelog_has_the_version() -> None:
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()
