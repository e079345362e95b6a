"""How background work records its ends: a state left as it was would be stuck until a restart.

The disk may be full, or another program may hold the database; both pass. So what can't be written
now is tried again until it is, or until the service ends: the next one takes the work up from the
state that it finds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from lfv.server.errors import UnwritableError

_log = logging.getLogger(__name__)
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
T = TypeVar("T")


class ServiceEndingError(Exception):
    """The job was given up because the service ends."""


class _Attempts:
    """How long to wait for the next one, and one sentence in the log for each kind of failure."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause = _FIRST_PAUSE
        self._told: set[str] = set()

    def failed(self, error: UnwritableError) -> float:
        """Seconds until the next."""
        if str(error) not in self._told:
            self._told.add(str(error))
            _log.error("%s; this can't be recorded yet, and is tried again: %s", self._what, error)
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause

    def succeeded(self) -> None:
        if self._told:
            _log.info("%s; this is recorded now", self._what)


def record(
    write: Callable[[], T],
    what: str,
    stopping: threading.Event,
    *,
    give_up_on: type[UnwritableError] | None = None,
) -> T:
    """What ``write`` gives, once it can be written; ``what`` names it in the log.

    Raises ServiceEndingError if the service ends before, and ``give_up_on`` at once.
    """
    attempts = _Attempts(what)
    while True:
        try:
            written = write()
        except UnwritableError as error:
            if give_up_on is not None and isinstance(error, give_up_on):
                raise
            if stopping.wait(attempts.failed(error)):
                raise ServiceEndingError from error
        else:
            attempts.succeeded()
            return written


async def record_from_loop(write: Callable[[], T], what: str) -> T:
    """The same from the event loop, whose threads are not kept waiting: requests need them."""
    attempts = _Attempts(what)
    while True:
        try:
            written = await asyncio.to_thread(write)
        except UnwritableError as error:
            await asyncio.sleep(attempts.failed(error))
        else:
            attempts.succeeded()
            return written
