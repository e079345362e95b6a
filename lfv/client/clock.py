"""Time as something that can be handed in, so that waiting can be tested without waiting."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that only grow; for measuring."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        """Wait; True as soon as `stop` is set, False when the time is over."""


class SystemClock:
    """The real one."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        if stop is None:
            time.sleep(max(0.0, seconds))
            return False
        return stop.wait(max(0.0, seconds))


SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the n-th try: growing, bounded, and scattered.

    The wait before try n (from 1) is drawn evenly from the upper half of
    `first * factor ** (n - 1)`, which `longest` bounds. All in seconds.
    """

    first: float = 0.2
    factor: float = 2.0
    longest: float = 10.0
    draw: Callable[[], float] = field(default=random.random, repr=False)

    def seconds(self, attempt: int) -> float:
        full = min(self.longest, self.first * self.factor ** min(attempt - 1, 60))
        return full * (0.5 + 0.5 * self.draw())
