"""Retry calls that failed for a passing reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

from lfv.client.clock import SYSTEM_CLOCK, Backoff, Clock
from lfv.client.errors import HostError, HostThrottled
from lfv.formats.errors import LfvError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """At most `attempts` calls within `timeout` seconds.

    The wait before a retry is the longer of the backoff and the service's Retry-After, which counts
    up to `longest_retry_after` seconds. If the wait would exceed the timeout, there is no retry.
    With `throttled` False, a throttled call is not retried; callers that pace their calls
    themselves use that.
    """

    attempts: int = 8
    timeout: float = 120.0
    backoff: Backoff = field(default_factory=Backoff)
    longest_retry_after: float = 60.0
    throttled: bool = True

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds to wait before the next call."""
        seconds = self.backoff.seconds(state.attempt_number)
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, HostError) and error.retry_after is not None:
            return max(seconds, min(error.retry_after, self.longest_retry_after))
        return seconds

    def retries(self, error: BaseException) -> bool:
        """Return whether to retry a call that failed with `error`."""
        if isinstance(error, HostThrottled) and not self.throttled:
            return False
        return isinstance(error, LfvError) and error.retryable


#: For calls that only read: short, because callers that need more time call again.
READ_RETRIES = RetryPolicy(attempts=3, timeout=15.0, longest_retry_after=5.0)


def call_with_retries(
    call: Callable[[], T],
    policy: RetryPolicy,
    *,
    stop_event: threading.Event | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[T, int]:
    """Call until it succeeds; return the result and the number of calls.

    Raises:
        LfvError: The last error, if it is not retryable, attempts or time run out, or `stop_event`
            is set. A `HostError` carries the number of calls as `attempts`.
    """
    deadline = clock.monotonic() + policy.timeout
    # Nearly every first call succeeds, and building the Retrying object takes as long as a call.
    try:
        return call(), 1
    except LfvError as error:
        last = error
    attempts = 0

    def attempt() -> T:
        nonlocal attempts, last
        attempts += 1
        try:
            if attempts == 1:
                raise last
            return call()
        except LfvError as error:
            if isinstance(error, HostError):
                error.attempts = attempts
            last = error
            raise

    def exhausted(state: RetryCallState) -> bool:
        return (
            attempts >= policy.attempts
            or clock.monotonic() + state.upcoming_sleep >= deadline
            or (stop_event is not None and stop_event.is_set())
        )

    def sleep(seconds: float) -> None:
        if clock.wait(seconds, stop_event):
            raise last

    retrying = Retrying(
        retry=retry_if_exception(policy.retries),
        wait=policy.wait,
        stop=exhausted,
        sleep=sleep,
        reraise=True,
    )
    return retrying(attempt), attempts
