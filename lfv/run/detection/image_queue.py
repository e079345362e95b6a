"""The queue of a run's images for detection, to which throttled images return."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from lfv_store import PendingItem

T = TypeVar("T")


@dataclass
class QueuedImage(Generic[T]):
    """An image with the calls made for it so far.

    `attempts` counts its calls, `throttled` its returns to the queue. `owner` is what it was added
    for, such as a batch.
    """

    item: PendingItem
    owner: T
    attempts: int = 0
    throttled: int = 0


@dataclass(order=True)
class _Later:
    due: float
    number: int
    image: QueuedImage[Any] = field(compare=False)


class ImageQueue(Generic[T]):
    """A queue of images that can be ended. Thread-safe.

    Images come out in the order in which they were added; images that were put back come first
    once they are due.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready: deque[QueuedImage[T]] = deque()
        self._later: list[_Later] = []
        self._numbered = 0
        self._ended = False

    @property
    def has_ready(self) -> bool:
        """Whether an image that was never put back can be taken now."""
        return bool(self._ready)

    def add(self, items: Iterable[PendingItem], owner: T) -> None:
        """Append images."""
        with self._changed:
            self._ready.extend(QueuedImage(item, owner) for item in items)
            self._changed.notify_all()

    def take(self) -> QueuedImage[T] | None:
        """Wait for the next image; None once the queue has ended."""
        with self._changed:
            while not self._ended:
                due = self._later[0].due - time.monotonic() if self._later else None
                if due is not None and due <= 0:
                    return heapq.heappop(self._later).image
                if self._ready:
                    return self._ready.popleft()
                self._changed.wait(due)
            return None

    def put_back(self, image: QueuedImage[T], seconds: float) -> None:
        """Return an image that was taken; it is due again in `seconds`."""
        with self._changed:
            self._numbered += 1
            due = time.monotonic() + seconds
            heapq.heappush(self._later, _Later(due, self._numbered, image))
            self._changed.notify()

    def end(self) -> None:
        """Hand out no more images."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
