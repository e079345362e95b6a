"""The guard: a small process that stops the model if its run dies.

A killed process runs no ``finally``. The guard reads from a pipe whose other end the kernel closes
when the run's process ends in any way. It runs in a new session and ignores the signals that end a
run, so that it survives what kills the run.

The run writes lines of JSON: first a `GuardConfig`, then a `HeldLease` for each lease *before* it
calls StartModel, and ``{"released": ...}`` once the model is seen stopped or turns out to be
started outside lfv. At end of file the guard releases all leases still held. The run is dead by
then, unless it wrote ``{"leaving": true}`` after trying to stop the model itself.

The guard reports that it is ready only after its imports and a test of the database connection, so
that acting takes one transaction and one StopModel.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from lfv.run.embedded_service import service_user
from lfv.run.hosting.release import HeldLease, release_and_stop
from lfv_store import Store, StoreError, open_store

logger = logging.getLogger("lfv.guard")

_CRASHED = "the process died without reporting; finished images are kept, resume the run"
_POLL_SECONDS = 0.1
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)


@dataclass(frozen=True)
class GuardConfig:
    """What a guard needs. Sent over the pipe, so that no process list shows the database URL.

    `users_lock` is the lock file that keeps the embedded service alive, or None.
    """

    database_url: str
    run_id: str
    stopping_deadline_seconds: float
    log_file: str
    users_lock: str | None = None

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> GuardConfig:
        return cls(**json.loads(line))


def watch(lines: BinaryIO, ready: BinaryIO) -> int:
    """Watch a run until it finishes or dies; return how many leases the guard had to release."""
    run_process = os.getppid()
    first = lines.readline()
    if not first:  # started ahead of a run that needed none
        return 0
    config = GuardConfig.from_line(first)
    _log_to(config)
    held: dict[int, HeldLease] = {}
    leaving = False
    with ExitStack() as stack:
        if config.users_lock is not None:
            stack.enter_context(service_user(Path(config.users_lock)))
        store = stack.enter_context(open_store(config.database_url, migrate=False))
        with suppress(BrokenPipeError):  # the run died while this started
            ready.write(b"ready\n")
            ready.flush()
        logger.info("watching run %s", config.run_id)
        for line in lines:
            if not line.endswith(b"\n"):
                break  # the run died while it wrote
            message = json.loads(line)
            if "leaving" in message:
                leaving = True
            elif "released" in message:
                held.pop(message["released"], None)
            else:
                lease = HeldLease(**message)
                held[lease.lease_id] = lease
        if held:
            # In parallel to the stop, which a locked database must not delay.
            record_crash = partial(_record_crash, store, config.run_id)
            if leaving:
                seconds = config.stopping_deadline_seconds
                record_crash = partial(_call_after, run_process, record_crash, seconds=seconds)
            record = Thread(target=record_crash)
            stack.callback(record.join)
            record.start()
        for lease in held.values():
            logger.warning(
                "run %s %s: releasing lease %s",
                config.run_id,
                "leaves the model to its guard" if leaving else "has died",
                lease.lease_id,
            )
            release_and_stop(store, lease, deadline_seconds=config.stopping_deadline_seconds)
    return len(held)


def _record_crash(store: Store, run_id: str) -> None:
    """Record that the run crashed, unless it has recorded its end itself."""
    try:
        if store.runs.get(run_id).status == "running":
            store.runs.set_status(run_id, "crashed", _CRASHED, datetime.now(UTC))
    except StoreError as error:
        logger.warning("the crash of run %s could not be recorded: %s", run_id, error)


def _call_after(process: int, call: Callable[[], None], *, seconds: float) -> None:
    """Call `call` once the run's process has ended, if it does within `seconds`.

    A run that leaves its model to the guard continues, and may fail to record its end because the
    database is unavailable.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.getppid() != process:  # the run is the guard's parent while it lives
            call()
            return
        time.sleep(_POLL_SECONDS)


def _log_to(config: GuardConfig) -> None:
    handler = logging.FileHandler(config.log_file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)


def main() -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    try:
        watch(sys.stdin.buffer, sys.stdout.buffer)
    except Exception:
        logger.exception("the guard failed")
        raise


if __name__ == "__main__":
    main()
