"""Retrying while the database is unavailable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

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
    failed_at: float | None = None
    pause = _FIRST_PAUSE_SECONDS
    at_once = not outage.seconds
    while True:
        try:
            result = call()
        except StoreUnavailable as error:
            if error.connection_lost and at_once:
                at_once = False
                continue
            outage.begin()
            failed_at = failed_at or time.monotonic()
            # A success in another thread ends the outage, but does not extend this call's time.
            if max(outage.seconds, time.monotonic() - failed_at) + pause > seconds:
                raise
            logger.warning("the database is unavailable; trying again in %.1f s: %s", pause, error)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            outage.end()
            return result
