"""Keeps processes running: starts them, restarts them when they end, and stops them together.

If the supervisor is killed, the kernel sends SIGTERM to the processes it started, and the keeper, a
process that only waits for it, starts a new supervisor. If the keeper is killed, the supervisor
ends, and its command starts a new keeper.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.5
#: How long a process may take to end after SIGTERM.
_END_SECONDS = 15.0
#: The longest pause before restarting a process; pauses double while it keeps ending.
_LONGEST_PAUSE = 30.0
#: After running this long, a process is restarted with the shortest pause again.
_STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """A process to keep running.

    Args:
        name: Its name in the state file. Its log is `NAME.log`.
        command: The program and its arguments.
        environment: Its environment.
        restart_after: For a process that ends by itself: seconds until it is started again.
        can_start: Returns whether its prerequisites are met; it is not started until they are.
        before_end: Called before the supervisor stops the process, if it is running.
        after_end: Called once when the supervisor has stopped the process.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    restart_after: float | None = None
    can_start: Callable[[], bool] = lambda: True
    before_end: Callable[[], None] = lambda: None
    after_end: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ServiceState:
    """The recorded state of a process; `pid` is None while it is not running."""

    name: str
    pid: int | None
    starts: int
    log: str


class SupervisedService:
    """One service and its process."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.log = folder / f"{service.name}.log"
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause = 1.0
        self._due = 0.0

    @property
    def state(self) -> ServiceState:
        pid = self._process.pid if self._process is not None else None
        return ServiceState(self.service.name, pid, self.starts, str(self.log))

    def poll(self) -> bool:
        """Start the process if it is due, or notice its end. Return whether either happened."""
        now = time.monotonic()
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return False
            self._process = None
            self._due = now + self._next_pause(now, status)
            return True
        if now < self._due or not self.service.can_start():
            return False
        self._start(now)
        return True

    def _start(self, now: float) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                list(self.service.command),
                env=dict(self.service.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_end_with_parent,
            )
        self.starts += 1
        self._started_at = now

    def _next_pause(self, now: float, status: int) -> float:
        if self.service.restart_after is not None and status == 0:
            return self.service.restart_after
        if now - self._started_at > _STEADY_SECONDS:
            self._pause = 1.0
        logger.warning("%s ended with status %s", self.service.name, status)
        pause, self._pause = self._pause, min(self._pause * 2, _LONGEST_PAUSE)
        return pause

    def end(self) -> None:
        """Send SIGTERM to the process."""
        if self._process is not None and self._process.poll() is None:
            self.service.before_end()
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until it ends, and kill it if that takes too long."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _end_with_parent() -> None:
    """Make the kernel end this process with its parent, and shield it from Ctrl-C."""
    os.setpgrp()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Keeps services running until SIGTERM or SIGINT.

    Writes its state and `ports`, by service, to a file in `folder`.
    """

    def __init__(self, services: Sequence[Service], folder: Path, ports: Mapping[str, int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ports = ports
        self._services = [SupervisedService(service, folder) for service in services]
        self._state_file = folder / "state.json"
        self._ending = False

    def run(self, make_ready: Callable[[], None], is_orphaned: Callable[[], bool]) -> None:
        """Keep the services running until SIGTERM or SIGINT, or until the keeper has ended.

        Repeats `make_ready` until it returns without an error.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_end)
        is_ready = threading.Event()
        threading.Thread(target=self._prepare, args=(make_ready, is_ready), daemon=True).start()
        written_ready = False
        while not self._ending and not is_orphaned():
            changed = [supervised.poll() for supervised in self._services]
            if any(changed) or written_ready != is_ready.is_set():
                written_ready = is_ready.is_set()
                self._write_state(ready=written_ready)
            time.sleep(_POLL_SECONDS)
        self._end_services()

    def _prepare(self, make_ready: Callable[[], None], is_ready: threading.Event) -> None:
        while not self._ending:
            try:
                make_ready()
            except Exception as error:  # noqa: BLE001 - any failure is retried
                logger.info("not ready yet: %s", error)
                time.sleep(_POLL_SECONDS)
            else:
                is_ready.set()
                return

    def _request_end(self, *_: object) -> None:
        self._ending = True

    def _end_services(self) -> None:
        """End processes in reverse order, so that a worker ends before its server."""
        for supervised in reversed(self._services):
            supervised.end()
            supervised.wait(_END_SECONDS)
            supervised.service.after_end()
        self._write_state(ready=False)

    def _write_state(self, *, ready: bool) -> None:
        state = {
            **self._ports,
            "pid": os.getpid(),
            "ready": ready,
            "services": [asdict(supervised.state) for supervised in self._services],
        }
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.replace(self._state_file)


def restart_while_killed(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a supervisor's command, starting it again if it is killed; return its exit status.

    Passes SIGTERM and SIGINT on to it, as SIGTERM.
    """
    while True:
        process = subprocess.Popen(list(command), env=dict(environment))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_, child=process: child.terminate())
        status = process.wait()
        if status >= 0:
            return status
        time.sleep(1.0)


def keep_in_background(command: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
    """Start a keeper in a new session and return its process id."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lfv.cli.plant.keeper", *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return process.pid
