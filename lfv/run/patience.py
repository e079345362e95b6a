"""A limit on the time that a call may take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from lfv_store import StoreUnavailable

T = TypeVar("T")


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
