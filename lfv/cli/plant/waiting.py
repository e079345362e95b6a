"""Waiting for a condition that another process brings about."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_SECONDS = 0.2


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition is true; return False if it is still false after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
