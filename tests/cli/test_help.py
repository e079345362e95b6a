"""What `--help` shows: readable in terminals of every width, and easy to copy from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from lfv.cli.app import app
from lfv.cli.options import examples
from tests.support.waiting import PLENTY

if TYPE_CHECKING:
    from tests.cli.conftest import Lfv


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = tuple(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_help_fits_the_terminal_cuts_nothing_and_fills_lines(
    lfv: Lfv, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in COMMANDS:
        outcome = lfv(*command, "--help")
        assert outcome.status == 0
        assert "…" not in outcome.out, command
        before_examples = outcome.out.partition("Examples:")[0]
        assert max(map(len, before_examples.splitlines())) <= columns, command
        prose = re.split("Arguments|Options|Commands|╭", before_examples.partition("\n\n")[2])[0]
        for paragraph in re.split(r"\n *\n", prose):
            for line, following in pairwise(paragraph.strip().splitlines()):
                full = len(f" {line.strip()} {following.split()[0]}")
                assert full > columns - 4, f"{command} ends a line as the docstring does: {line}"


def test_only_options_with_a_value_name_one(lfv: Lfv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = {
        line.split()[1]: line.split()[2:]
        for line in lfv("inspect", "--help").out.splitlines()
        if line.startswith("│ --")
    }
    assert shown["--again"][:2] == ["Run", "detection"]
    assert shown["--settle-seconds"][0] == "NUMBER"
    assert shown["--min-inference-units"][0] == "N"


def test_examples_wider_than_a_terminal_continue_after_a_backslash(
    lfv: Lfv, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "lfv train images/ --project parts --fit stretch --region eu-central-1 --json --convert"
    _, example = examples(long).split("\n\n")
    assert max(map(len, example.splitlines())) <= 78
    assert example.replace("\\\n    ", "") == long
    monkeypatch.setenv("COLUMNS", "80")
    assert (
        "lfv import s3://old-bucket/train.manifest --project parts \\\n"
        "    --bucket old-bucket=copy/\n"
    ) in lfv("import", "--help").out


@pytest.mark.parametrize("module", ["lfv", "lfv.cli"])
def test_the_package_runs_as_the_command(tmp_path: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "runs"],
        env={**os.environ, "LFV_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=PLENTY,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("lfv: there is no results database at ")
