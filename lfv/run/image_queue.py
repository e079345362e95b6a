"""The images of a run that wait for detection.  An image that was throttled comes back."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from lfv_store import PendingItem

#: The longest wait for a change that nobody announces, such as a system clock that jumps.
_LONGEST_WAIT_SECONDS = 5.0


@dataclass
class QueuedImage:
    """An image with the calls made for it so far, and how many of them were throttled."""

    item: PendingItem
    attempts: int = 0
    throttled: int = 0


@dataclass(order=True)
class _Later:
    due: float
    number: int
    image: QueuedImage = field(compare=False)


class ImageQueue:
    """A queue whose images count as open until they are settled.  Safe to use from many threads.

    Images come out in the order they went in; those that were put back come first once they are
    due.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready: deque[QueuedImage] = deque()
        self._later: list[_Later] = []
        self._numbered = 0
        self._open = 0
        self._ended = False

    def add(self, items: Iterable[PendingItem]) -> None:
        """Append images."""
        with self._changed:
            before = len(self._ready)
            self._ready.extend(QueuedImage(item) for item in items)
            self._open += len(self._ready) - before
            self._changed.notify_all()

    def take(self) -> QueuedImage | None:
        """Wait for the next image; None once the queue has ended or nothing is open."""
        with self._changed:
            while not self._ended and self._open:
                now = time.monotonic()
                if self._later and self._later[0].due <= now:
                    return heapq.heappop(self._later).image
                if self._ready:
                    return self._ready.popleft()
                due = self._later[0].due - now if self._later else _LONGEST_WAIT_SECONDS
                self._changed.wait(min(due, _LONGEST_WAIT_SECONDS))
            return None

    def put_back(self, image: QueuedImage, seconds: float) -> None:
        """Return an image that was taken; it is due again in `seconds`."""
        with self._changed:
            self._numbered += 1
            due = time.monotonic() + seconds
            heapq.heappush(self._later, _Later(due, self._numbered, image))
            self._changed.notify()

    def settle(self) -> None:
        """Count an image that was taken as done."""
        with self._changed:
            self._open -= 1
            if not self._open:
                self._changed.notify_all()

    def end(self) -> None:
        """Hand out no more images."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
