"""The processes of this machine, from the kernel."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process that was alive when listed; `command` is its command line."""

    pid: int
    parent: int
    command: str


def processes() -> Iterator[Process]:
    """All living processes (zombies are not)."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                yield Process(int(folder.name), int(parent), _command_of(folder))


def _command_of(folder: Path) -> str:
    """Return a process's command line, empty for the kernel's own threads.

    A program that just started has none for a moment: the kernel sets it after it has closed the
    descriptors that `subprocess.Popen` waits for.
    """
    while not (command := (folder / "cmdline").read_bytes()):
        (folder / "exe").readlink()  # raises if there is no program, or no process any more
    return command.replace(b"\0", b" ").decode()


def children_of(pid: int) -> list[Process]:
    """The living processes that `pid` started."""
    return [process for process in processes() if process.parent == pid]


def with_environment(name: str, value: str) -> list[Process]:
    """The living processes that were started with an environment variable of this value."""
    wanted = f"{name}={value}".encode()
    found = []
    for process in processes():
        with suppress(OSError):
            if wanted in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                found.append(process)
    return found


def guards_of(pid: int) -> list[int]:
    """The guards that a run's process started; not the process that forks guards for tests."""
    return [
        child.pid
        for child in children_of(pid)
        if "lfv.run.hosting.guard" in child.command and "tests.support.forks" not in child.command
    ]


def kill(*pids: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to each at once; ended ones are skipped."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


#: Below the ports that the kernel assigns, also to clients.
_PORTS = range(15_000, 32_000)
_next_ports = count(os.getpid() * 61)


def free_port() -> int:
    """Return a free port of this machine, reserved until this process ends.

    A port that the kernel chose may be taken before it is bound again. An abstract socket
    named after the port claims it among all test processes.
    """
    for number in _next_ports:
        port = _PORTS[number % len(_PORTS)]
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                claim.bind(f"\0lfv-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        claim.detach()  # stays open as long as this process
        return port
    raise AssertionError("unreachable: the numbers have no end")
