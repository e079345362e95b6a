"""Processes that are forked from one which has imported what they need.

Imports take most of the time of a short process, and the suite starts hundreds. Forks replace them
unless the start itself is tested. ``python -m tests.support.forks MODULE...`` imports the modules
and forks a process for every message on its standard input, a Unix socket. A message is a call as
JSON, with descriptors for the process's input, output and errors. On another descriptor, the
process's id and later its status are written.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from lfv.launch import loading

ROOT = Path(__file__).parents[2]
_LONGEST_MESSAGE = 1 << 17


class Forked:
    """A forked process, with what tests use of `subprocess.Popen`."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.returncode: int | None = None
        self.pid = self._read_number()

    def _read_number(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            part = os.read(self._status, 1)
            assert part, "the process that forks has ended"
            line += part
        return int(line)

    def __del__(self) -> None:
        if self.returncode is None:
            os.close(self._status)

    def wait(self, timeout: float | None = None) -> int:
        """Return its status once it has ended; raise TimeoutExpired if that takes longer."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = self._read_number()
            os.close(self._status)
        return self.returncode

    def poll(self) -> int | None:
        """Return its status; None while it lives."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it is known to have ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class Call:
    """What a forked process does: it calls the `main` of a module."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    new_session: bool = False


class Forks:
    """The socket on which calls are sent; thread-safe."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._lock = threading.Lock()

    def start(self, call: Call, *, stdin: int, stdout: int, stderr: int) -> Forked:
        """Fork a process; the descriptors stay the caller's."""
        reading, status = os.pipe()
        with self._lock:
            message = json.dumps(asdict(call)).encode()
            socket.send_fds(self._orders, [message], [stdin, stdout, stderr, status])
        os.close(status)
        return Forked(reading)


@contextmanager
def forks(*modules: str, environment: Mapping[str, str] | None = None) -> Iterator[Forks]:
    """A process that has imported `modules`, in an `environment` or ours, and forks others."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *modules], stdin=theirs, cwd=ROOT, env=environment
    )
    theirs.close()
    with ours:
        yield Forks(ours)
    process.wait()


def main() -> None:
    """Fork processes until the other end of the socket is closed."""
    with loading():
        for module in sys.argv[1:]:
            import_module(module)
    if threading.active_count() > 1:
        raise RuntimeError("a process with threads cannot be forked safely")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    orders = socket.socket(fileno=os.dup(0))
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, _LONGEST_MESSAGE, 4)
        if not message:
            orders.close()
            return
        if os.fork() == 0:
            orders.detach()
            _keep(Call(**json.loads(message)), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(call: Call, stdin: int, stdout: int, stderr: int, status: int) -> None:
    """In the fork: fork again, wait for that process and report its end. Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        _become(call, stdin, stdout, stderr)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    os.dup2(0, 2)
    os.dup2(status, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    with suppress(OSError):  # the reader is gone
        os.write(3, b"%d\n" % child)
        _, ended = os.waitpid(child, 0)
        os.write(3, b"%d\n" % os.waitstatus_to_exitcode(ended))
    os._exit(0)


def _become(call: Call, *streams: int) -> NoReturn:
    if call.new_session:
        os.setsid()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(call.folder)
    os.environ.clear()
    os.environ.update(call.environment)
    if "PYTHONWARNINGS" in call.environment:
        warnings.simplefilter(call.environment["PYTHONWARNINGS"])  # type: ignore[arg-type]
    sys.argv = [call.module, *call.arguments]
    module: Any = import_module(call.module)
    sys.exit(module.main())


if __name__ == "__main__":
    main()
