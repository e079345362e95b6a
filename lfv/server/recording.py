"""Records the results of background work, retrying failed writes.

A result that is not recorded would leave a model or dataset unfinished until a restart. The disk
may be full, or another program may lock the database, but only for a time. So a failed write is
retried until it succeeds or the service ends. The next service resumes the work from the recorded
state.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from lfv.server.errors import UnwritableError

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
T = TypeVar("T")


class ServiceEndingError(Exception):
    """The job was abandoned because the service ends."""


class _Failures:
    """The failures of one write. Logs each kind once, and the success after failures."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._logged: set[str] = set()
        self._pause = _FIRST_PAUSE_SECONDS / 2

    def add(self, failure: UnwritableError) -> float:
        """Return the seconds to wait before the next attempt."""
        error = str(failure)
        if error not in self._logged:
            self._logged.add(error)
            _log.error("%s: cannot be recorded yet, and is retried: %s", self._what, error)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return self._pause

    def log_success(self) -> None:
        if self._logged:
            _log.info("%s: recorded now", self._what)


def record(
    write: Callable[[], T],
    what: str,
    stopping: threading.Event,
    *,
    give_up_on: type[UnwritableError] | None = None,
) -> T:
    """Call ``write`` until it succeeds, and return its result.

    Args:
        what: Names the write in the log.
        stopping: Set when the service ends.
        give_up_on: An error that is raised at once.

    Raises:
        ServiceEndingError: The service ended first.
    """
    failures = _Failures(what)
    while True:
        try:
            written = write()
        except UnwritableError as error:
            if give_up_on is not None and isinstance(error, give_up_on):
                raise
            if stopping.wait(failures.add(error)):
                raise ServiceEndingError from error
        else:
            failures.log_success()
            return written


async def record_from_loop(write: Callable[[], T], what: str) -> T:
    """Do the same from the event loop. Attempts run in threads; pauses block none."""
    failures = _Failures(what)
    while True:
        try:
            written = await asyncio.to_thread(write)
        except UnwritableError as error:
            await asyncio.sleep(failures.add(error))
        else:
            failures.log_success()
            return written
