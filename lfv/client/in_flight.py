"""How many requests a model takes at the same time, found while it is asked.

The limit starts low and doubles with every round of answers until the model throttles a request or
its latency rises.  From then on it follows the model:

- A throttled request says that one request less is possible.  The requests in flight at that
  moment are the measure, so a limit that is far too high comes down with a burst of refusals.
- Latency that stays well above the lowest so far says that requests wait in line.  The limit falls
  in proportion.  If that does not help twice, the model itself has become slower, and the new
  latency is the normal one.
- Now and then one request more is tried.  After a success the step doubles, so a model that grows
  is followed within seconds; after a failure the next try comes later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from lfv.client.clock import Backoff
from lfv.client.hosts.protocol import HostSpec

#: Requests in flight for each inference unit at the beginning.
FIRST_PER_UNIT = 4
#: Latency above the lowest so far, as a factor, from which requests are taken to wait in line.
RISING = 1.5
#: The factor that remains after the limit was lowered for that reason.
_TARGET = 1.2
#: How far the lowest latency follows a round that was faster: one round alone may be chance.
_LOWEST_FOLLOWS = 0.2
_FEWEST_IN_ROUND = 10
_SHORTEST = 1e-6
_PROBE_SECONDS = 1.0
_LONGEST_PROBE_SECONDS = 2.0
_PROBE_ANSWERS = 50
_PROBE_ANYWAY_SECONDS = 15.0
_LONGEST_RETRY_AFTER = 60.0
_PAUSES = Backoff(first=0.1, longest=5.0)


@dataclass(frozen=True)
class Pace:
    """What a model was found to take: requests in flight, and milliseconds for an answer."""

    in_flight: int
    latency_ms: float

    @property
    def images_per_second(self) -> float:
        """Answers per second with that many requests in flight."""
        return self.in_flight * 1000.0 / self.latency_ms


class ConcurrencyLimit:
    """Permits for requests to one model.  Safe to use from many threads.

    Args:
        ceiling: Permits at most.
        first: Permits at the beginning.
        settled: Whether `first` was found before, so that doubling is not tried.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        ceiling: int,
        first: int = FIRST_PER_UNIT,
        *,
        settled: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._free = threading.Condition()
        self._ceiling = max(1, ceiling)
        self._limit = max(1, min(first, self._ceiling))
        self._in_flight = 0
        self._waiting = 0
        self._doubling = not settled
        self._paused_until = 0.0
        self._refused_in_a_row = 0
        # The round of answers that is going on.
        self._round_answers = 0
        self._round_seconds = 0.0
        self._round_peak = 0
        self._skip = 0
        # What earlier rounds showed.
        self._lowest: float | None = None
        self._latency: float | None = None
        self._lowered_at: float | None = None
        self._lowered_in_vain = 0
        self._rising_rounds = 0
        self._answers = 0
        # When the next request more is tried, and how many.
        self._step = 1
        self._probe_at = clock() + _PROBE_SECONDS
        self._probe_anyway_at = self._probe_at
        self._probing = False
        self._failed_probes = 0
        self._answers_since = 0

    @property
    def limit(self) -> int:
        """Permits now."""
        return self._limit

    @property
    def ceiling(self) -> int:
        """Permits at most."""
        return self._ceiling

    @property
    def in_flight(self) -> int:
        """Permits that are held."""
        return self._in_flight

    @property
    def pause(self) -> float:
        """Seconds until the next request may begin."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def is_starved(self) -> bool:
        """Whether a permit is free and nobody waits for it."""
        return self._in_flight < self._limit and not self._waiting

    @property
    def pace(self) -> Pace | None:
        """What the model takes, as far as it is known; None before the first round of answers."""
        with self._free:
            if self._latency is None:
                return None
            return Pace(self._limit, self._latency * 1000.0)

    def raise_ceiling(self, ceiling: int) -> None:
        """Allow `ceiling` permits if that is more than before."""
        with self._free:
            self._ceiling = max(self._ceiling, ceiling)

    def acquire(self, ended: Callable[[], bool] = lambda: False) -> bool:
        """Wait for a permit; False if `ended` is true before there is one.

        `wake` makes those who wait look at `ended` again.
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
        """Make everybody who waits for a permit look at its end again."""
        with self._free:
            self._free.notify_all()

    def answered(self, seconds: float) -> None:
        """Return a permit after an answer that took `seconds`."""
        with self._free:
            self._in_flight -= 1
            self._refused_in_a_row = 0
            self._answers += 1
            self._answers_since += 1
            if self._skip:
                self._skip -= 1
            else:
                self._round_answers += 1
                self._round_seconds += max(seconds, _SHORTEST)
                if self._round_answers >= max(self._limit, self._fewest):
                    self._end_round()
            self._free.notify()

    def throttled(self, retry_after: float | None = None) -> None:
        """Return a permit after the model refused the request because it has too many.

        With nothing else in flight, no request begins until the `retry_after` seconds that the
        model asked for are over; otherwise the limit does not rise in that time.
        """
        with self._free:
            now = self._clock()
            asked = min(retry_after or 0.0, _LONGEST_RETRY_AFTER)
            self._refused_in_a_row += 1
            self._limit = max(1, min(self._limit, self._in_flight - 1))
            self._in_flight -= 1
            if self._limit == 1 and not self._in_flight:
                self._paused_until = now + max(asked, _PAUSES.seconds(self._refused_in_a_row))
            self._hold(now, asked)
            self._free.notify()

    def failed(self) -> None:
        """Return a permit after a call that says nothing about the model's capacity."""
        with self._free:
            self._in_flight -= 1
            self._free.notify()

    @property
    def _fewest(self) -> int:
        """Answers in a round at least; the first doublings go by fewer."""
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
        if latency > RISING * self._lowest:
            self._rising_rounds += 1
            if self._doubling or self._rising_rounds > 1:
                self._lower(latency)
            return
        self._rising_rounds = self._lowered_in_vain = 0
        self._lowered_at = None
        if used:
            self._grow()

    def _lower(self, latency: float) -> None:
        """Requests wait in line, or the model has become slower."""
        lowest = self._lowest or latency
        if self._lowered_at is not None and latency > 0.9 * self._lowered_at:
            self._lowered_in_vain += 1
            if self._lowered_in_vain > 1:
                self._lowest, self._lowered_at = latency, None
                self._rising_rounds = self._lowered_in_vain = 0
                return
        self._lowered_at = latency
        self._limit = max(1, int(self._limit * max(0.5, _TARGET * lowest / latency)))
        self._skip = self._in_flight
        self._hold(self._clock(), 0.0)

    def _hold(self, now: float, seconds: float) -> None:
        """Try no more for a while; longer if the last try is what failed."""
        if self._probing:
            self._failed_probes += 1
        self._probing = self._doubling = False
        self._step = 1
        pause = min(_LONGEST_PROBE_SECONDS, _PROBE_SECONDS * 1.5**self._failed_probes)
        self._probe_at = now + max(pause, seconds)
        self._probe_anyway_at = now + max(_PROBE_ANYWAY_SECONDS, seconds)
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
        return now >= self._probe_anyway_at or (
            now >= self._probe_at and self._answers_since >= answers
        )


_shared: WeakValueDictionary[str, ConcurrencyLimit] = WeakValueDictionary()
_sharing = threading.Lock()


def shared_limit(
    spec: HostSpec, ceiling: int, make: Callable[[], ConcurrencyLimit]
) -> ConcurrencyLimit:
    """The one limit of everything that this process asks a model.

    Args:
        spec: The model.
        ceiling: Permits at most; the highest of all who share the limit counts.
        make: Called by the first who needs the limit.
    """
    key = repr((spec.kind, spec.endpoint_url, spec.region, spec.project, spec.model_version))
    with _sharing:
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = make()
        found.raise_ceiling(ceiling)
        return found
