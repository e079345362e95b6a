"""Third-party programs that tests install once, into a folder of pytest's cache."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import skip_or_fail

INSTALL_SECONDS = 600


def install(folder: Path, commands: Sequence[Sequence[str | Path]]) -> None:
    """Run the commands once for a folder; if they fail, skip the test, or fail it in CI."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for command in commands:
            done = subprocess.run(
                [str(part) for part in command],
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                cwd=folder,
                check=False,
            )
            if done.returncode != 0:
                tail = (done.stderr or done.stdout)[-600:]
                skip_or_fail(f"{folder.name} can't be installed here: {tail}")
        (folder / "complete").touch()


def npm_install(folder: Path, package: str) -> Path:
    """The folder whose node_modules hold an npm package."""
    npm = shutil.which("npm")
    if npm is None:
        skip_or_fail("there is no npm")
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    install(folder, [[str(npm), "install", *quiet, package]])
    return folder


def axe(cache: Path) -> str:
    """The source of axe, which checks the accessibility of pages."""
    folder = npm_install(cache / "axe", "axe-core@4.10.3")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
