"""The run's side of the pipe to its guard (`lfv.run.hosting.guard`)."""

from __future__ import annotations

import contextlib
import logging
import select
import subprocess
import sys
import threading
from collections.abc import Iterator

from lfv.run.errors import GuardNotStarted
from lfv.run.hosting.guard import GuardConfig
from lfv.run.hosting.release import HeldLease
from lfv.settings import Settings, child_environment

logger = logging.getLogger(__name__)

_READY_SECONDS = 60.0


#: Guards that were started in advance and not used yet.
_ahead: list[subprocess.Popen[bytes]] = []


@contextlib.contextmanager
def guard_ahead(settings: Settings) -> Iterator[None]:
    """Start a guard in the background; the first `Guard` in the block uses it.

    An unused guard ends with the block. Nested blocks share one guard.
    """
    if _ahead:
        yield
        return
    process = _launch(settings)
    _ahead.append(process)
    try:
        yield
    finally:
        if process in _ahead:
            _ahead.remove(process)
            process.kill()  # it holds nothing, and may still be starting
            process.communicate()  # closes its pipe


class Guard:
    """A guard process and its leases; replaced if it dies before its run."""

    def __init__(self, config: GuardConfig, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._held: dict[int, HeldLease] = {}
        self._lock = threading.Lock()
        self._process = self._spawn()

    @property
    def pid(self) -> int:
        return self._process.pid

    def hold(self, lease: HeldLease) -> None:
        """Tell the guard to release this lease if the run dies."""
        with self._lock:
            self._held[lease.lease_id] = lease
            self._send(lease.to_line())

    def report_release(self, lease_id: int) -> None:
        """Tell the guard that a lease is released, its model being stopped or not owned."""
        with self._lock:
            if self._held.pop(lease_id, None) is not None:
                self._send(b'{"released": %d}\n' % lease_id)

    def replace_if_dead(self) -> None:
        """Start a new guard if this one was killed."""
        with self._lock:
            if self._process.poll() is not None:
                self._replace()

    def close(self) -> None:
        """End the guard, which first releases the leases that it still holds."""
        with self._lock:
            process = self._process
            with contextlib.suppress(BrokenPipeError, ValueError):
                _write(process, b'{"leaving": true}\n')
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
        if not self._held:
            process.wait()

    def _send(self, line: bytes) -> None:
        try:
            _write(self._process, line)
        except (BrokenPipeError, ValueError):
            self._replace()

    def _replace(self) -> None:
        logger.warning("the guard of run %s has died, starting another", self._config.run_id)
        self._process.wait()
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        if _ahead:
            with contextlib.suppress(GuardNotStarted):  # it may have been killed meanwhile
                return self._wait_ready(_ahead.pop())
        return self._wait_ready(_launch(self._settings))

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        try:
            # All in one write, so that the guard can act if the run dies meanwhile.
            held = [lease.to_line() for lease in self._held.values()]
            _write(process, b"".join([self._config.to_line(), *held]))
            _await_ready(process)
        except (BrokenPipeError, GuardNotStarted) as error:
            process.kill()
            process.communicate()  # closes its pipes
            raise GuardNotStarted(
                "the guard that would stop the model if this run died could not be started; "
                f"see {self._config.log_file}"
            ) from error
        return process


def _launch(settings: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "lfv.launch", "lfv.run.hosting.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=child_environment(settings),
    )


def _write(process: subprocess.Popen[bytes], line: bytes) -> None:
    if process.stdin is None:  # pragma: no cover - it was opened as a pipe
        raise BrokenPipeError
    process.stdin.write(line)
    process.stdin.flush()


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is None:  # pragma: no cover - it was opened as a pipe
        raise BrokenPipeError
    readable, _, _ = select.select([process.stdout], [], [], _READY_SECONDS)
    if not readable or process.stdout.readline() != b"ready\n":
        raise GuardNotStarted
    process.stdout.close()
