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
    """Measures how long a database has been unavailable, for all threads together."""

    def __init__(self) -> None:
        self._since: float | None = None

    def begin(self) -> None:
        """Note a failed call. The first one since the last success starts the outage."""
        if self._since is None:
            self._since = time.monotonic()

    def end(self) -> None:
        """Note a successful call."""
        self._since = None

    @property
    def seconds(self) -> float:
        """Return the seconds since the outage started; 0 while the database is available."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since


class _StopAfterOutage(stop_base):
    def __init__(self, outage: Outage, seconds: float) -> None:
        self._outage = outage
        self._seconds = seconds

    def __call__(self, retry_state: RetryCallState) -> bool:
        return self._outage.seconds + retry_state.upcoming_sleep > self._seconds


def retry_while_unavailable(call: Callable[[], T], outage: Outage, *, seconds: float) -> T:
    """Return the result of `call`, repeating it while the database is unavailable.

    Args:
        call: A read, or an idempotent write.
        outage: The outage so far. Once a call has given up, later calls make a single attempt
            until the database is available again.
        seconds: How long to repeat. 0 means one attempt.

    Raises:
        StoreUnavailable: The time is over; the error is that of the last attempt.
    """

    def attempt() -> T:
        try:
            result = call()
        except StoreUnavailable:
            outage.begin()
            raise
        outage.end()
        return result

    # Nearly every call succeeds at once, and making a Retrying costs as much as a short read.
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
        # A success in another thread ends the outage, but does not extend this call's time.
        stop=stop_before_delay(seconds) | _StopAfterOutage(outage, seconds),
        before_sleep=_log,
        reraise=True,
    )(attempt_again)


def _log(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    logger.warning(
        "the database is unavailable; trying again in %.1f s: %s", state.upcoming_sleep, error
    )
