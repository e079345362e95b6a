"""Retries calls that failed temporarily."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import Retrying, retry_if_exception

from lfv.client.clock import SYSTEM_CLOCK, Backoff, Clock
from lfv.client.errors import HostError
from lfv.formats.errors import LfvError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """At most `attempts` calls within `timeout` seconds.

    The wait before a retry is the longer of the backoff and the service's Retry-After, which counts
    up to `longest_retry_after` seconds. If the wait would exceed the timeout, there is no retry.
    """

    attempts: int = 8
    timeout: float = 120.0
    backoff: Backoff = field(default_factory=Backoff)
    longest_retry_after: float = 60.0

    def wait(self, attempt: int, error: LfvError) -> float:
        """Return the seconds to wait after a failed call; the first is attempt 1."""
        seconds = self.backoff.seconds(attempt)
        if isinstance(error, HostError) and error.retry_after is not None:
            return max(seconds, min(error.retry_after, self.longest_retry_after))
        return seconds


#: For calls that only read: short, because callers that need more time call again.
READ_RETRIES = RetryPolicy(attempts=3, timeout=15.0, longest_retry_after=5.0)


def call_with_retries(
    call: Callable[[], T],
    policy: RetryPolicy,
    *,
    final: type[LfvError] | tuple[()] = (),
    stop_event: threading.Event | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[T, int]:
    """Call until it succeeds; return the result and the number of calls.

    Raises:
        LfvError: The last error, if it is `final` or not retryable, attempts or time run out, or
            `stop_event` is set. A `HostError` carries the number of calls as `attempts`.
    """
    deadline = clock.monotonic() + policy.timeout
    errors: list[LfvError] = []

    def attempt() -> T:
        try:
            return call()
        except LfvError as error:
            errors.append(error)
            if isinstance(error, HostError):
                error.attempts = len(errors)
            raise

    def sleep(seconds: float) -> None:
        if clock.wait(seconds, stop_event):
            raise errors[-1]

    def is_temporary(error: BaseException) -> bool:
        return isinstance(error, LfvError) and error.retryable and not isinstance(error, final)

    retrying = Retrying(
        retry=retry_if_exception(is_temporary),
        wait=lambda state: policy.wait(state.attempt_number, errors[-1]),
        stop=lambda state: (
            state.attempt_number >= policy.attempts
            or clock.monotonic() + state.upcoming_sleep >= deadline
        ),
        sleep=sleep,
        reraise=True,
    )
    return retrying(attempt), len(errors) + 1
