"""Commits records in groups, in a separate thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lfv.run.detection.threads import join_if_started

T = TypeVar("T")

#: The pause between two commits, unless items are urgent. It keeps many small commits from slowing
#: the other threads.
_PAUSE_SECONDS = 0.1
#: Maximum number of items in a group.
_MOST_ITEMS = 500


class GroupCommit(Generic[T]):
    """Passes items of many threads to `commit`, one call at a time, in their order.

    Args:
        commit: Stores a group of items.
        settled: Called after each group with its items and the exception of `commit`, or None.
        urgent: Whether this many waiting items must be committed without a pause.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[T]], None],
        settled: Callable[[Sequence[T], BaseException | None], None],
        *,
        urgent: Callable[[int], bool],
    ) -> None:
        self._commit = commit
        self._settled = settled
        self._urgent = urgent
        self._changed = threading.Condition()
        self._waiting: list[T] = []
        self._closing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)

    def start(self) -> None:
        """Start the thread that commits."""
        self._thread.start()

    def submit(self, item: T) -> bool:
        """Queue an item for its commit and return at once.

        Returns False if the thread has ended; the item is then neither committed nor settled.
        """
        with self._changed:
            if self._closed:
                return False
            self._waiting.append(item)
            # Otherwise the thread will see the item anyway. Waking it for each item would take as
            # long as a commit.
            if len(self._waiting) == 1 or self._urgent(len(self._waiting)):
                self._changed.notify()
            return True

    def close(self, timeout: float | None = None) -> None:
        """Commit the submitted items and end the thread; wait for at most `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        join_if_started(self._thread, timeout)

    def _run(self) -> None:
        pause_until = 0.0
        while group := self._next_group(pause_until):
            error: BaseException | None = None
            try:
                self._commit(group)
            except BaseException as caught:  # noqa: BLE001 - passed to `settled`
                error = caught
            pause_until = time.monotonic() + _PAUSE_SECONDS
            self._settled(group, error)

    def _next_group(self, pause_until: float) -> list[T]:
        """Return the next group; empty after `close`, once all items are committed."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            while not self._closing and not self._urgent(len(self._waiting)):
                left = pause_until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            group, self._waiting = self._waiting[:_MOST_ITEMS], self._waiting[_MOST_ITEMS:]
            self._closed = not group
            return group
