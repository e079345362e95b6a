"""`lfv` commands in processes forked from one that has imported everything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.support.forks import ROOT, Call, Forked, Forks, forks
from tests.support.processes import guards_of, kill
from tests.support.waiting import PLENTY, wait_until

_COMMAND = "tests.support.lfv_command"


@dataclass(frozen=True)
class Break:
    """The `call`-th call of `where` (module:attribute.path) raises, or signals its process."""

    where: str
    call: int = 1
    what: str = "raise"


@dataclass(frozen=True)
class Running:
    """A started command; `file` is the prefix of its files."""

    process: Forked
    file: str

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal."""
        kill(self.pid, number=number)

    def guard(self) -> int:
        """Its guard's process, once it has one."""
        return wait_until(lambda: guards_of(self.pid))[0]

    def wait(self) -> int:
        """Its exit status; negative: the number of the signal that ended it."""
        try:
            return self.process.wait(PLENTY)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.said}") from None

    def finish(self) -> dict[str, Any]:
        """Its JSON output, once it ended with status 0."""
        status = self.wait()
        assert status == 0, f"exit status {status}: {self.said}"
        found: dict[str, Any] = json.loads(Path(f"{self.file}.out").read_text())
        return found

    def broken_at(self) -> float:
        """When its fault occurred (seconds since the epoch)."""
        broken = Path(f"{self.file}.broken")
        wait_until(lambda: broken.exists() or self.process.poll() is not None)
        assert broken.exists(), f"ended without its fault: {self.said}"
        return float(broken.read_text())

    @property
    def said(self) -> str:
        """Its output on stderr so far."""
        return Path(f"{self.file}.err").read_text()[-4000:]


class Launcher:
    """Starts commands, each with files of its own in a folder; thread-safe."""

    def __init__(self, forks: Forks, folder: Path, environment: Mapping[str, str]) -> None:
        self._forks = forks
        self._folder = folder
        self._environment = environment
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
            "arguments": list(arguments),
            "api_url": api_url,
            "options": dict(options or {}),
            "broken": f"{file}.broken",
            "breaks": [asdict(fault) for fault in breaks],
        }
        call = Call(
            module=_COMMAND,
            arguments=[json.dumps(job)],
            environment={**self._environment, **environment},
            folder=str(ROOT),
            new_session=True,
        )
        with ExitStack() as files:
            stdin, stdout, stderr = (
                files.enter_context(Path(name).open(mode)).fileno()
                for name, mode in ((os.devnull, "r"), (f"{file}.out", "w"), (f"{file}.err", "w"))
            )
            process = self._forks.start(call, stdin=stdin, stdout=stdout, stderr=stderr)
        return Running(process, file)


@contextmanager
def launcher_in(folder: Path, environment: Mapping[str, str]) -> Iterator[Launcher]:
    """A launcher whose commands run with `environment` on top of this process's own."""
    everything = {**os.environ, **environment}
    with forks(_COMMAND, environment=everything) as started:
        yield Launcher(started, folder, everything)
