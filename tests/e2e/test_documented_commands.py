"""The commands of README and docs, run in their order in one shell."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lfv.cli.demo_images import DEFAULT_SEED, make_demo_set
from tests.support.processes import free_port
from tests.support.typed import Shell, Step, answers, shell_in, steps
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
#: One of the demo's images is broken on purpose: `lfv inspect` then ends with 3.
MAY_END_WITH = {"lfv inspect": {0, 3}}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the project after `make install`, with the images of `make demo`.

    The demo itself has its own test, and the README trains and inspects the same. Fewer
    images than the demo's make the training short.
    """
    folder = tmp_path_factory.mktemp("clone")
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    shutil.copytree(ROOT / "deployments", folder / "deployments")
    make_demo_set(folder / "demo-output" / "images", seed=DEFAULT_SEED, train=24, inspect=6)
    return folder


@pytest.fixture
def shell(clone: Path) -> Iterator[Shell]:
    with shell_in(clone, environment(clone)) as shell:
        yield shell


def environment(home: Path) -> dict[str, str]:
    """The environment of a login shell, with settings that only make it faster."""
    return {
        "HOME": str(home),
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        # A third of the training's time; the demo's test has the backbone.
        "LFV_PRETRAINED_BACKBONE": "false",
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)  # each step has its own limit
def test_the_readme_and_then_the_page_about_the_audit_log(shell: Shell) -> None:
    """Default ports are replaced by free ones."""
    ports = {"4200": str(free_port()), "4180": str(free_port())}
    shell.type(f"export PREFECT_SERVER_API_PORT={ports['4200']}")
    pages = [(ROOT / page).read_text() for page in ("README.md", "docs/audit.md")]
    typed = [step for page in pages for step in steps(page)]
    assert len(typed) > 15
    for step in typed:
        text = step.text
        for usual, free in ports.items():
            text = text.replace(usual, free)
        if step.text.startswith("lfv serve"):
            text = text.replace("lfv serve", f"lfv serve --port {ports['4180']}")
        type_step(shell, Step(step.kind, text))
        if step.text.startswith("lfv serve"):
            wait_until(lambda: answers(f"http://127.0.0.1:{ports['4180']}/health"), shell.said)


def type_step(shell: Shell, step: Step) -> None:
    """Run it; fail if it fails."""
    if step.kind == "python":
        status = shell.type(f"python - <<'END'\n{step.text}\nEND")
    else:
        status = shell.type(step.text)
    name = " ".join(step.text.split()[:2])
    assert status in MAY_END_WITH.get(name, {0}), f"{step.name} ended with {status}: {shell.said}"
