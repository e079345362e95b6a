"""The reference pages match the code, and examples use existing commands and options."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer

from lfv.cli.app import app
from lfv.run.defaults import DEFAULT_CONFIDENCE
from lfv.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> Any:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(group: Any, path: str = "lfv") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


#: The commands that a group without a command runs.
MEANT = {"lfv models": ("list",), "lfv review": ("list", "record"), "lfv ui": ("serve",)}
COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", ["settings.md", "cli.md", "errors.md"])
def test_a_generated_page_is_up_to_date(generate: Any, name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == generate.PAGES[name](), "run `make docs`"


def test_a_stale_page_is_reported(
    generate: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "settings.md, cli.md" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_every_command_and_option_is_described() -> None:
    for path, command in COMMANDS.items():
        assert command.help, path
        for parameter in command.params:
            assert parameter.help, f"{path} {parameter.name}"
            assert parameter.help.rstrip().endswith("."), f"{path} {parameter.name}"


def test_examples_name_commands_and_options_that_exist() -> None:
    checked = 0
    for path, command in COMMANDS.items():
        _, *examples = (command.epilog or "").split("\n\n")
        for example in examples:
            assert example.split()[0] in {"lfv", "psql", "curl", "aws"}, example
            if example.startswith("lfv "):
                check_example(example, path)
                checked += 1
    assert checked > 20


def test_commands_on_pages_name_commands_and_options_that_exist() -> None:
    checked = 0
    for page in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]:
        for example in re.findall(r"^ *(?:\$ )?(lfv .*)$", page.read_text(), re.MULTILINE):
            if page.name != "cli.md":  # generated from the help texts checked above
                check_example(example, page.name)
                checked += 1
    assert checked > 10


def check_example(example: str, place: str) -> None:
    """Its command exists, and so do the options."""
    words = shlex.split(re.split(r" [|>&#]", example)[0].rstrip("\\"))
    longest = (COMMANDS.get(" ".join(words[:length])) for length in (4, 3, 2))
    named = next(filter(None, longest), None)
    group = " ".join(words[:2])
    meant = [named] if named else [COMMANDS[f"{group} {one}"] for one in MEANT[group]]
    parameters = chain(*(one.params for one in meant))
    known = {name for one in parameters for name in (*one.opts, *one.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert given <= known, f"{place}: {example}"


def test_the_documented_default_confidence_is_the_actual_one() -> None:
    flow = (ROOT / "flows/inspect_images.py").read_text()
    assert f"Empty for {DEFAULT_CONFIDENCE}." in flow
    assert f"Default: {DEFAULT_CONFIDENCE}." in (ROOT / "docs/cli.md").read_text()
    assert f"`--confidence` ({DEFAULT_CONFIDENCE})" in (ROOT / "docs/policies.md").read_text()


def test_every_setting_has_a_line() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`LFV_{name.upper()}`" in page


def codes_in_the_code() -> set[str]:
    """Codes of lines and images that have no exception class."""
    named = {"LineError": 0, "_problem": 1, "BadLine": 2}
    found = set()
    for path in chain(*((ROOT / top).rglob("*.py") for top in ("lfv", "flows", "tasks"))):
        tree = ast.parse(path.read_text())
        constants = {
            target.id: one.value
            for one in tree.body
            if isinstance(one, ast.Assign)
            for target in one.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            given = [
                constants.get(getattr(one.value, "id", ""), one.value)
                for one in node.keywords
                if one.arg in {"code", "error_code"}
            ]
            place = named.get(getattr(node.func, "id", ""))
            if place is not None:
                given += node.args[place : place + 1]
            values = [one.value for one in given if isinstance(one, ast.Constant)]
            found |= {value for value in values if re.fullmatch(r"[a-z0-9_]+", str(value))}
    return found


def test_every_error_has_a_cause_and_a_remedy(generate: Any) -> None:
    told = tomllib.loads(generate.ERRORS.read_text(encoding="utf-8"))
    codes = codes_in_the_code()
    assert {"json_invalid", "label_missing", "same_image_failed", "left_to_later_run"} <= codes
    assert set(told) == set(generate.error_classes()) | codes
    for name, texts in told.items():
        assert set(texts) == {"cause", "remedy"}, name
        assert all(text.endswith(".") for text in texts.values()), name
