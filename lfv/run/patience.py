"""Waiting for a database that is away for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from lfv_store import StoreUnavailable

T = TypeVar("T")
logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


def with_patience(call: Callable[[], T], *, seconds: float) -> T:
    """What `call` returns; while the database is away it is called again for `seconds`.

    Every write of the store is idempotent, so repeating one is safe.  Raises the last
    `StoreUnavailable` when the patience is over, and any other error at once.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return call()
        except StoreUnavailable as error:
            if time.monotonic() + pause > deadline:
                raise
            logger.warning("the database is away, trying again in %.1f s: %s", pause, error)
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def within(call: Callable[[], T], *, seconds: float) -> T:
    """What `call` returns or raises, if it does so in time; it is left to go on if not.

    For a database that neither answers nor fails while a model is paid for: waiting for SQLite's
    lock alone takes half a minute.  Raises `StoreUnavailable` when the time is over.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="within", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise StoreUnavailable(f"the database did not answer within {seconds:g} s")
    return results[0]
