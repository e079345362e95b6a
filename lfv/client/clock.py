"""A clock that can be replaced, so that tests of waiting code need not wait."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime


class Clock:
    """The real clock; tests replace it."""

    def monotonic(self) -> float:
        """Return seconds of a monotonic clock, for measuring durations."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the current date and time in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        """Wait; return True as soon as `stop` is set, False after `seconds`."""
        return (stop or threading.Event()).wait(max(0.0, seconds))


SYSTEM_CLOCK = Clock()


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with a limit and random jitter.

    The n-th wait (from 1) is drawn uniformly from the upper half of `first * factor ** (n - 1)`,
    which is at most `longest`. All times are in seconds.
    """

    first: float = 0.2
    factor: float = 2.0
    longest: float = 10.0
    draw: Callable[[], float] = field(default=random.random, repr=False)

    def seconds(self, attempt: int) -> float:
        full = min(self.longest, self.first * self.factor ** min(attempt - 1, 60))
        return full * (0.5 + 0.5 * self.draw())
