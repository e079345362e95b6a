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
    wait_exponential,
)

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


def retry_while_unavailable(call: Callable[[], T], outage: Outage, *, seconds: float) -> T:
    """Return the result of `call`, repeating it while the database is unavailable.

    The first call that finds its connection closed is repeated at once, because the server may have
    closed it long ago.

    Args:
        call: A read, or an idempotent write.
        outage: The outage so far. Once a call has given up, later calls make a single attempt
            until the database is available again.
        seconds: How long to repeat. 0 means one attempt.

    Raises:
        StoreUnavailable: The time is over; the error is that of the last attempt.
    """
    at_once = not outage.seconds
    ours = Outage()  # a success in another thread ends `outage`, but gives this call no more time

    def attempt() -> T:
        nonlocal at_once
        try:
            result = call()
        except StoreUnavailable as error:
            if error.connection_lost and at_once:
                at_once = False
                return attempt()
            outage.begin()
            ours.begin()
            raise
        outage.end()
        return result

    def is_over(state: RetryCallState) -> bool:
        return max(outage.seconds, ours.seconds) + state.upcoming_sleep > seconds

    return Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_exponential(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS),
        stop=is_over,
        before_sleep=_log,
        reraise=True,
    )(attempt)


def _log(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    logger.warning(
        "the database is unavailable; trying again in %.1f s: %s", state.upcoming_sleep, error
    )
