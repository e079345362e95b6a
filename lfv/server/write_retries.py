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

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    wait_exponential,
)

from lfv.server.errors import UnwritableError

_log = logging.getLogger(__name__)
_PAUSES = wait_exponential(multiplier=0.2, max=10)
T = TypeVar("T")


class ServiceEndingError(Exception):
    """The job was abandoned because the service ends."""


class _Log:
    """Logs each kind of failure once, and the success after failures."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._logged: set[str] = set()

    def log_failure(self, attempt: RetryCallState) -> None:
        error = str(attempt.outcome.exception()) if attempt.outcome else ""
        if error not in self._logged:
            self._logged.add(error)
            _log.error("%s: cannot be recorded yet, and is retried: %s", self._what, error)

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

    def pause(seconds: float) -> None:
        if stopping.wait(seconds):
            raise ServiceEndingError

    log = _Log(what)
    retrying = Retrying(
        sleep=pause,
        wait=_PAUSES,
        retry=retry_if_exception(lambda error: _is_temporary(error, give_up_on)),
        before_sleep=log.log_failure,
    )
    written = retrying(write)
    log.log_success()
    return written


async def record_from_loop(write: Callable[[], T], what: str) -> T:
    """Do the same from the event loop. Attempts run in threads; pauses block none."""
    log = _Log(what)
    retrying = AsyncRetrying(
        wait=_PAUSES, retry=retry_if_exception(_is_temporary), before_sleep=log.log_failure
    )
    written: T = await retrying(asyncio.to_thread, write)
    log.log_success()
    return written


def _is_temporary(error: BaseException, never: type[UnwritableError] | None = None) -> bool:
    return isinstance(error, UnwritableError) and not (never and isinstance(error, never))
