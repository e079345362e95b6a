"""Store answers as they arrive, many in one transaction.

After a crash, an answer that was not stored has to be paid for again.  So a thread waits for the
commit of its answer before it takes the next image: a crash loses at most one answer per thread.
While one commit is running, the answers of other threads collect and share the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class GroupCommit(Generic[T]):
    """Passes items of many threads to `commit`, one call at a time, in their order.

    `submit` returns once `commit` has returned for its item, and raises what `commit` raised.
    """

    def __init__(self, commit: Callable[[Sequence[T]], None], *, most: int = 500) -> None:
        self._commit = commit
        self._most = most
        self._lock = threading.Condition()
        self._waiting: list[_Ticket[T]] = []
        self._busy = False

    def submit(self, item: T) -> None:
        """Return when `item` is committed."""
        ticket = _Ticket(item)
        with self._lock:
            self._waiting.append(ticket)
            while self._busy and not ticket.done:
                self._lock.wait()
            if ticket.done:
                return ticket.outcome()
            self._busy = True
        try:
            while not ticket.done:
                self._commit_some()
        finally:
            with self._lock:
                self._busy = False
                self._lock.notify_all()
        return ticket.outcome()

    def _commit_some(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        error: BaseException | None = None
        try:
            self._commit([ticket.item for ticket in group])
        except BaseException as caught:  # noqa: BLE001 - handed to every thread that waits for it
            error = caught
        with self._lock:
            for ticket in group:
                ticket.error = error
                ticket.done = True
            self._lock.notify_all()


class _Ticket(Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item
        self.done = False
        self.error: BaseException | None = None

    def outcome(self) -> None:
        if self.error is not None:
            raise self.error
