"""`lfv` commands in processes forked from one that has imported everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import zygote
from tests.support.processes import guards_of, kill
from tests.support.waiting import PLENTY, wait_gone, wait_until


@dataclass(frozen=True)
class Break:
    """The `call`-th call of `where` (module:attribute.path) raises, or kills its process."""

    where: str
    call: int = 1
    what: str = "raise"


@dataclass(frozen=True)
class Running:
    """A started command; `file` is the prefix of its files."""

    pid: int
    file: str

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal."""
        kill(self.pid, number=number)

    def guard(self) -> int:
        """Its guard's process, once it has one."""
        wait_until(lambda: guards_of(self.pid))
        return guards_of(self.pid)[0]

    def wait(self) -> int:
        """Its exit status; negative: the number of the signal that ended it."""
        assert wait_gone(self.pid), f"still running: {self.said}"
        status = Path(f"{self.file}.status")
        wait_until(status.exists)
        return int(status.read_text())

    def finish(self) -> dict[str, Any]:
        """Its JSON output, once it ended with status 0."""
        status = self.wait()
        assert status == 0, f"exit status {status}: {self.said}"
        found: dict[str, Any] = json.loads(Path(f"{self.file}.out").read_text())
        return found

    def broken_at(self) -> float:
        """When its fault occurred (seconds since the epoch)."""
        broken = Path(f"{self.file}.broken")
        wait_until(broken.exists)
        return float(broken.read_text())

    @property
    def said(self) -> str:
        """Its output on stderr so far."""
        return Path(f"{self.file}.err").read_text()[-4000:]


class Launcher:
    """The pipe to the zygote, for commands to start; thread-safe."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._lock = threading.Lock()
        self._started = 0

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        breaks: Sequence[Break] = (),
        options: Mapping[str, Any] | None = None,
        api_url: str | None = None,
    ) -> Running:
        """Start `lfv` with these arguments."""
        with self._lock:
            self._started += 1
            file = str(self._folder / f"command-{self._started}")
            job = {
                "job": file,
                "arguments": list(arguments),
                "environment": dict(environment),
                "breaks": [vars(one) for one in breaks],
                "options": dict(options or {}),
                "api_url": api_url,
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        pid = Path(f"{file}.pid")
        wait_until(pid.exists)
        return Running(int(pid.read_text()), file)


@contextmanager
def launcher_in(folder: Path, environment: Mapping[str, str]) -> Iterator[Launcher]:
    """A launcher whose commands run with `environment` on top of this process's own."""
    process = subprocess.Popen(
        [sys.executable, zygote.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield Launcher(process, folder)
    finally:
        process.communicate(timeout=PLENTY)
