"""Retrying while the database is unavailable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_exponential,
)
from tenacity.stop import stop_base

from lfv_store.errors import StoreUnavailable

T = TypeVar("T")
logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


class Outage:
    """How long a database has been unavailable. Shared by all threads that use it."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begin(self) -> None:
        """Note a failed call; the first one since the last success begins the outage."""
        if self._since is None:
            self._since = time.monotonic()

    def end(self) -> None:
        """Note a call that succeeded."""
        self._since = None

    @property
    def seconds(self) -> float:
        """Seconds since the outage began; 0 while the database is available."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since


class _StopAfterOutage(stop_base):
    def __init__(self, outage: Outage, seconds: float) -> None:
        self._outage = outage
        self._seconds = seconds

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._outage.seconds + retry_state.upcoming_sleep > self._seconds


def retry_while_unavailable(call: Callable[[], T], outage: Outage, *, seconds: float) -> T:
    """Return what `call` returns, and repeat it while the database is unavailable.

    Args:
        call: A read, or a write that may be repeated.
        outage: The outage so far. Its length counts: after a call has given up, the next one fails
            after one attempt, until the database is available again.
        seconds: How long to go on. 0 makes one attempt.

    Raises:
        StoreUnavailable: The last attempt's, when the time is over.
    """

    def attempt() -> T:
        try:
            result = call()
        except StoreUnavailable:
            outage.begin()
            raise
        outage.end()
        return result

    # Nearly every call succeeds at once, and what retries takes as long to make as a short read.
    try:
        return attempt()
    except StoreUnavailable as error:
        first: list[StoreUnavailable] = [error]

    def attempt_again() -> T:
        if first:
            raise first.pop()
        return attempt()

    return Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS),
        # Another thread's success ends the outage, but not this call's own time.
        stop=stop_before_delay(seconds) | _StopAfterOutage(outage, seconds),
        before_sleep=_log,
        reraise=True,
    )(attempt_again)


def _log(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    logger.warning(
        "the database is unavailable; trying again in %.1f s: %s", state.upcoming_sleep, error
    )
