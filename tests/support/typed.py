"""The commands and Python of a documentation page, in order."""

from __future__ import annotations

import re
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support.processes import kill, with_environment
from tests.support.waiting import PLENTY, TRAINING, wait_until

#: Marks the processes that a page started.
_MARK = "TEST_SHELL"


@dataclass(frozen=True)
class Step:
    """A command after `$`, or a block of Python."""

    kind: Literal["command", "python"]
    text: str

    @property
    def name(self) -> str:
        """Its first line, for failures."""
        return self.text.splitlines()[0]


def steps(page: str) -> Iterator[Step]:
    """Return a page's commands and Python, from the top.

    A command starts with `$` in an indented or fenced block. It continues while a line ends with a
    backslash or a quote is open.
    """
    lines = iter(page.splitlines())
    for line in lines:
        if line.startswith("```python"):
            block = []
            while not (line := next(lines)).startswith("```"):
                block.append(line)
            yield Step("python", "\n".join(block))
        elif found := re.match(r"\s*\$ (.*)", line):
            command = found[1]
            while command.endswith("\\") or _is_open(command):
                command += f"\n{next(lines)}"
            yield Step("command", command)


def _is_open(command: str) -> bool:
    """Whether a quote is not closed yet."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


class Shell:
    """A bash in which commands are typed one after the other."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / "shell.log"
        self._count = 0
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/bash", "--norc", "--noprofile"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**environment, _MARK: str(folder)},
            )

    def type(self, text: str) -> int:
        """Type a command and return its exit status, once it has one."""
        self._count += 1
        done = self.folder / f"status-{self._process.pid}-{self._count}"
        assert self._process.stdin is not None
        report = f"echo $? > {done}.part; mv {done}.part {done}"
        self._process.stdin.write(f"{text}\n{report}\n".encode())
        self._process.stdin.flush()
        wait_until(
            lambda: done.exists() or self._process.poll() is not None, text, seconds=TRAINING
        )
        return int(done.read_text())

    @property
    def said(self) -> str:
        """The end of what the commands printed."""
        return self.log.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """End the shell and whatever its commands left running."""
        kill(*(process.pid for process in with_environment(_MARK, str(self.folder))))
        self._process.communicate(timeout=PLENTY)


@contextmanager
def shell_in(folder: Path, environment: Mapping[str, str]) -> Iterator[Shell]:
    """A shell whose processes are ended afterwards."""
    shell = Shell(folder, environment)
    try:
        yield shell
    finally:
        shell.close()


def answers(url: str) -> bool:
    """Whether a server responds."""
    try:
        with urllib.request.urlopen(url, timeout=PLENTY) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
