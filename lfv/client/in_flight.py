"""Adapts the number of concurrent requests to what a model can handle.

The limit starts low and doubles with every round of answers until the model throttles a request or
its latency rises. After that it adapts:

- A throttled request sets the limit below the number of requests in flight at that moment, so a
  burst of refusals quickly lowers a limit that is far too high.
- Latency that stays well above the lowest so far means that requests are queued. The limit is
  lowered in proportion. If that fails to help twice, the model itself has become slower, and the
  new latency becomes the reference.
- Latency that rises because the threads of this process wait for the interpreter says nothing about
  the model. The limit stays.
- From time to time, one more request is tried. After a success the step doubles, so that the limit
  rises within seconds when a model is scaled up. After a failure the next try comes later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from lfv.client.clock import Backoff
from lfv.client.hosts.protocol import HostSpec

#: Requests in flight for each inference unit at the start.
FIRST_PER_UNIT = 4
#: Ratio of the latency to the lowest so far above which requests are considered queued.
RISING = 1.5
#: The same ratio that lowering the limit aims for.
_TARGET = 1.2
#: Weight of a faster round in the lowest latency, because a single round may be chance.
_LOWEST_FOLLOWS = 0.2
_FEWEST_IN_ROUND = 10
_SHORTEST = 1e-6
_PROBE_SECONDS = 1.0
_LONGEST_PROBE_SECONDS = 2.0
_PROBE_ANSWERS = 50
_PROBE_ANYWAY_SECONDS = 15.0
_LONGEST_RETRY_AFTER = 60.0
_PAUSES = Backoff(first=0.1, longest=5.0)
#: How many times a thread waits for the interpreter during a call.
_WAITS_IN_CALL = 4
#: Weight of the newest wait for the interpreter in their mean.
_WAIT_FOLLOWS = 0.2


@dataclass(frozen=True)
class Pace:
    """The measured capacity of a model: requests in flight, and milliseconds per answer.

    `in_flight` is of all processes that call the model, if each may have as many as this one.
    """

    in_flight: int
    latency_ms: float


class ConcurrencyLimit:
    """Permits for requests to one model. Thread-safe.

    Args:
        ceiling: Maximum number of permits.
        first: Permits at the start.
        settled: Whether `first` was measured before, so that doubling is skipped.
        processes: How many processes call the model, this one included.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        ceiling: int,
        first: int = FIRST_PER_UNIT,
        *,
        settled: bool = False,
        processes: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._free = threading.Condition()
        self._ceiling = max(1, ceiling)
        self._limit = max(1, min(first, self._ceiling))
        self._processes = processes
        self._in_flight = 0
        self._waiting = 0
        self._doubling = not settled
        self._paused_until = 0.0
        self._consecutive_refusals = 0
        # The current round of answers.
        self._round_answers = 0
        self._round_seconds = 0.0
        self._round_peak = 0
        self._skip = 0
        # Results of earlier rounds.
        self._lowest: float | None = None
        self._interpreter_wait = 0.0
        self._latency: float | None = None
        self._lowered_at: float | None = None
        self._futile_decreases = 0
        self._rising_rounds = 0
        self._answers = 0
        # Time and size of the next increase.
        self._step = 1
        self._probe_at = clock() + _PROBE_SECONDS
        self._latest_probe_at = self._probe_at
        self._probing = False
        self._failed_probes = 0
        self._answers_since = 0

    @property
    def limit(self) -> int:
        """The current number of permits."""
        return self._limit

    @property
    def ceiling(self) -> int:
        """The largest number of permits."""
        return self._ceiling

    @property
    def in_flight(self) -> int:
        """The number of permits in use."""
        return self._in_flight

    @property
    def pause(self) -> float:
        """Seconds until the next request may start."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def is_starved(self) -> bool:
        """Whether a permit is free and no thread waits for one."""
        return self._in_flight < self._limit and not self._waiting

    @property
    def is_crowded(self) -> bool:
        """Whether threads of this process wait so long for the interpreter that latency rises."""
        waits = _WAITS_IN_CALL * self._interpreter_wait
        return self._lowest is not None and waits > (RISING - 1.0) * self._lowest

    @property
    def pace(self) -> Pace | None:
        """The model's capacity so far; None before the first round of answers."""
        with self._free:
            if self._latency is None:
                return None
            return Pace(self._limit * self._processes, self._latency * 1000.0)

    def raise_ceiling(self, ceiling: int) -> None:
        """Allow `ceiling` permits if that is more than before."""
        with self._free:
            self._ceiling = max(self._ceiling, ceiling)

    def lower_ceiling(self, ceiling: int) -> None:
        """Allow no more than `ceiling` permits from now on."""
        with self._free:
            self._ceiling = max(1, min(self._ceiling, ceiling))
            self._limit = min(self._limit, self._ceiling)

    def share(self, processes: int) -> None:
        """Leave permits to processes that have joined, or take over those of processes that left.

        Otherwise one that joins would be throttled until the others have lowered their limits.
        """
        with self._free:
            before, self._processes = self._processes, processes
            if before != processes:
                found = round(self._limit * before / processes)
                self._limit = max(1, min(found, self._ceiling))
                self._free.notify_all()

    def acquire(self, ended: Callable[[], bool] = lambda: False) -> bool:
        """Wait for a permit; return False if `ended` becomes true first.

        `wake` makes waiting threads call `ended` again.
        """
        with self._free:
            self._waiting += 1
            try:
                while not ended():
                    pause = self.pause
                    if self._in_flight < self._limit and not pause:
                        self._in_flight += 1
                        self._round_peak = max(self._round_peak, self._in_flight)
                        return True
                    self._free.wait(pause or None)
            finally:
                self._waiting -= 1
            return False

    def wake(self) -> None:
        """Make all threads that wait for a permit call their `ended` again."""
        with self._free:
            self._free.notify_all()

    def record_answer(self, seconds: float) -> None:
        """Return a permit after an answer that took `seconds`."""
        with self._free:
            self._in_flight -= 1
            self._consecutive_refusals = 0
            self._answers += 1
            self._answers_since += 1
            if self._skip:
                self._skip -= 1
            else:
                self._round_answers += 1
                self._round_seconds += max(seconds, _SHORTEST)
                if self._round_answers >= max(self._limit, self._minimum):
                    self._end_round()
            self._free.notify()

    def record_throttling(self, retry_after: float | None = None) -> None:
        """Return a permit after the model throttled the request.

        If no other request is in flight, the next one waits at least `retry_after` seconds, of
        which at most 60 count. The limit does not rise in that time.
        """
        with self._free:
            now = self._clock()
            asked = min(retry_after or 0.0, _LONGEST_RETRY_AFTER)
            self._consecutive_refusals += 1
            self._limit = max(1, min(self._limit, self._in_flight - 1))
            self._in_flight -= 1
            if self._limit == 1 and not self._in_flight:
                self._paused_until = now + max(asked, _PAUSES.seconds(self._consecutive_refusals))
            self._hold(now, asked)
            self._free.notify()

    def record_failure(self) -> None:
        """Return a permit after a failure that is unrelated to the model's capacity."""
        with self._free:
            self._in_flight -= 1
            self._free.notify()

    def record_interpreter_wait(self, seconds: float) -> None:
        """Note how long a thread of this process that could run waited for the interpreter."""
        self._interpreter_wait += _WAIT_FOLLOWS * (seconds - self._interpreter_wait)

    @property
    def _minimum(self) -> int:
        """Fewest answers in a round; rounds may be shorter while the limit doubles."""
        return 1 if self._doubling else _FEWEST_IN_ROUND

    def _end_round(self) -> None:
        latency = self._round_seconds / self._round_answers
        used = self._round_peak >= self._limit
        self._round_answers, self._round_seconds = 0, 0.0
        self._round_peak = self._in_flight
        self._latency = latency
        if self._lowest is None:
            self._lowest = latency
        elif latency < self._lowest:
            self._lowest += _LOWEST_FOLLOWS * (latency - self._lowest)
        if latency > RISING * self._lowest and self.is_crowded:
            self._rising_rounds = 0
            return
        if latency > RISING * self._lowest:
            self._rising_rounds += 1
            if self._doubling or self._rising_rounds > 1:
                self._lower(latency)
            return
        self._rising_rounds = self._futile_decreases = 0
        self._lowered_at = None
        if used:
            self._grow()

    def _lower(self, latency: float) -> None:
        """Lower the limit for queued requests, or accept that the model has become slower."""
        lowest = self._lowest or latency
        if self._lowered_at is not None and latency > 0.9 * self._lowered_at:
            self._futile_decreases += 1
            if self._futile_decreases > 1:
                self._lowest, self._lowered_at = latency, None
                self._rising_rounds = self._futile_decreases = 0
                return
        self._lowered_at = latency
        self._limit = max(1, int(self._limit * max(0.5, _TARGET * lowest / latency)))
        self._skip = self._in_flight
        self._hold(self._clock(), 0.0)

    def _hold(self, now: float, seconds: float) -> None:
        """Postpone the next increase, for longer if the last increase failed."""
        if self._probing:
            self._failed_probes += 1
        self._probing = self._doubling = False
        self._step = 1
        pause = min(_LONGEST_PROBE_SECONDS, _PROBE_SECONDS * 1.5**self._failed_probes)
        self._probe_at = now + max(pause, seconds)
        self._latest_probe_at = now + max(_PROBE_ANYWAY_SECONDS, seconds)
        self._answers_since = 0

    def _grow(self) -> None:
        if self._limit >= self._ceiling:
            return
        if self._doubling:
            more = self._limit
        else:
            now = self._clock()
            if self._probing:
                self._failed_probes = 0
                self._step = min(2 * self._step, self._limit)
            elif not self._probe_is_due(now):
                return
            self._probing = True
            more = self._step
        self._limit = min(self._ceiling, self._limit + more)
        self._free.notify_all()

    def _probe_is_due(self, now: float) -> bool:
        answers = min(_PROBE_ANSWERS, self._limit * 2 ** min(10, 1 + self._failed_probes))
        return now >= self._latest_probe_at or (
            now >= self._probe_at and self._answers_since >= answers
        )


_shared: WeakValueDictionary[str, ConcurrencyLimit] = WeakValueDictionary()
_sharing = threading.Lock()


def shared_limit(
    spec: HostSpec, ceiling: int, make: Callable[[], ConcurrencyLimit]
) -> ConcurrencyLimit:
    """Return the limit that all requests of this process to a model share.

    Args:
        spec: The model.
        ceiling: Maximum number of permits; the highest value of all callers applies.
        make: Creates the limit for the first caller.
    """
    key = repr((spec.kind, spec.endpoint_url, spec.region, spec.project, spec.model_version))
    with _sharing:
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = make()
        found.raise_ceiling(ceiling)
        return found
