"""Trying a call again after a failure that passes by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lfv.client.clock import SYSTEM_CLOCK, Backoff, Clock
from lfv.client.errors import HostError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """At most `attempts` calls within `timeout` seconds.

    Between two calls lies what the service asked for (Retry-After, at most `longest_retry_after`)
    or the backoff, whichever is longer. A wait that would not end in time is not begun.
    """

    attempts: int = 8
    timeout: float = 120.0
    backoff: Backoff = field(default_factory=Backoff)
    longest_retry_after: float = 60.0


def call_with_retries(
    call: Callable[[], T],
    policy: RetryPolicy,
    *,
    timeout: float | None = None,
    stop_event: threading.Event | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[T, int]:
    """The call's result and how many calls it took.

    Raises the last error, with `attempts`, when it is not retryable, when tries or time run out, or
    when `stop_event` is set.
    """
    deadline = clock.monotonic() + (policy.timeout if timeout is None else timeout)
    attempt = 0
    while True:
        attempt += 1
        try:
            return call(), attempt
        except HostError as error:
            error.attempts = attempt
            if not error.retryable or attempt >= policy.attempts:
                raise
            wait = policy.backoff.seconds(attempt)
            if error.retry_after is not None:
                wait = max(wait, min(error.retry_after, policy.longest_retry_after))
            if clock.monotonic() + wait >= deadline:
                raise
            if stop_event is not None and stop_event.is_set():
                raise
            if clock.wait(wait, stop_event):
                raise
