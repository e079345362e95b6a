"""Waiting for what another thread or process does.

Tests do not race a clock: they wait until it is clear that something will never happen. Where speed
itself is tested, the limit grows on a busy machine.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: Seconds after which something is assumed never to happen. Not a measure of speed: with fifteen
#: processes waiting for two cores, two seconds become a minute.
PLENTY = 240.0
#: The same for a training with the real engine, which takes a minute of two idle cores.
TRAINING = 1200.0
_LOOK_EVERY = 0.02


def wait_until(condition: Callable[[], T], what: str = "", *, seconds: float = PLENTY) -> T:
    """Wait until a condition is true.

    Args:
        condition: Called every few milliseconds.
        what: Description of the condition, for the failure.
        seconds: How long to wait.

    Returns:
        The condition's first true value.

    Raises:
        AssertionError: It was not true in time.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(_LOOK_EVERY)
    return value


def wait_gone(pid: int, seconds: float = PLENTY) -> bool:
    """Whether a process ends within this many seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def stretched(seconds: float) -> float:
    """Return a time limit for this machine: longer while processes wait for its cores.

    The load average of a minute lags behind, so what is runnable at this moment counts too.
    """
    load = Path("/proc/loadavg").read_text().split()
    waiting = max(float(load[0]), float(load[3].partition("/")[0]))
    return seconds * max(1.0, waiting / (os.cpu_count() or 1))
