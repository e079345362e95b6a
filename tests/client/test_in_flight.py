"""The limit finds a model's capacity, and follows its changes.  Time is simulated."""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from lfv.client.hosts import HostSpec
from lfv.client.in_flight import FIRST_PER_UNIT, ConcurrencyLimit, shared_limit
from tests.support.waiting import PLENTY


@dataclass
class Simulation:
    """Images through a limit to a model whose capacity is a function of the answers so far.

    A model either queues requests beyond its capacity, or throttles them.
    """

    images: int
    capacity: Callable[[int], int]
    latency: Callable[[int], float] = lambda _: 0.2
    queues: bool = False
    scatter: float = 0.1
    first: int = FIRST_PER_UNIT
    ceiling: int = 64
    settled: bool = False
    now: float = 0.0
    throttled: int = 0
    levels: list[tuple[int, int]] = field(default_factory=list)

    def run(self) -> Simulation:
        """Answer all images."""
        limit = ConcurrencyLimit(
            self.ceiling, self.first, settled=self.settled, clock=lambda: self.now
        )
        chance = random.Random(7)
        events: list[tuple[float, int, str, float]] = []
        waiting, answered, serving, number = self.images, 0, 0, 0
        while answered < self.images:
            while waiting and limit.in_flight < limit.limit and limit.pause <= 0:
                assert limit.acquire()
                waiting, number = waiting - 1, number + 1
                capacity = self.capacity(answered)
                if serving >= capacity and not self.queues:
                    heapq.heappush(events, (self.now + 0.002, number, "throttled", self.now))
                    continue
                serving += 1
                seconds = self.latency(answered) * chance.lognormvariate(0, self.scatter)
                seconds *= max(1.0, serving / capacity)
                heapq.heappush(events, (self.now + seconds, number, "answered", self.now))
            if (
                limit.pause > 0
                and waiting
                and (not events or events[0][0] > self.now + limit.pause)
            ):
                self.now += limit.pause
                continue
            self.now, number_of, what, began = heapq.heappop(events)
            if what == "throttled":
                self.throttled += 1
                limit.record_throttling()
                heapq.heappush(events, (self.now + 0.1, number_of, "due", self.now))
            elif what == "due":
                waiting += 1
            else:
                serving, answered = serving - 1, answered + 1
                limit.record_answer(self.now - began)
            self.levels.append((answered, limit.limit))
        return self

    def level_at(self, answered: int) -> int:
        """The limit after this many answers."""
        return next(level for count, level in self.levels if count >= answered)


def test_it_starts_low_and_finds_the_capacity() -> None:
    done = Simulation(1500, lambda _: 25).run()
    assert done.level_at(0) == FIRST_PER_UNIT
    assert done.level_at(100) == 25
    assert done.now < 1500 * 0.2 / 25 / 0.93
    assert done.throttled < 0.03 * 1500


@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_a_small_model_is_not_overloaded(capacity: int) -> None:
    done = Simulation(400, lambda _: capacity).run()
    assert done.now < 400 * 0.2 / capacity / 0.93
    assert done.throttled < 0.04 * 400


def test_it_follows_a_capacity_that_halves_and_doubles() -> None:
    def capacity(answered: int) -> int:
        return 25 if answered < 1500 else 12 if answered < 3000 else 50

    done = Simulation(4500, capacity).run()
    ideal = 0.2 * (1500 / 25 + 1500 / 12 + 1500 / 50)
    assert done.now < ideal / 0.92
    assert done.throttled < 0.03 * 4500
    assert done.level_at(1600) in {12, 13}
    assert done.level_at(3500) >= 45


def test_it_starts_from_the_stored_value() -> None:
    done = Simulation(1500, lambda _: 25, first=25, settled=True).run()
    assert done.now < 1500 * 0.2 / 25 / 0.97


def test_latency_limits_it_without_throttling() -> None:
    done = Simulation(5000, lambda _: 10, queues=True).run()
    assert done.throttled == 0
    assert done.now < 5000 * 0.2 / 10 / 0.95
    assert done.level_at(4000) <= 25, "requests wait in line"


def test_a_slower_model_does_not_lower_the_limit_permanently() -> None:
    done = Simulation(
        6000, lambda _: 25, latency=lambda answered: 0.1 if answered < 2000 else 0.3
    ).run()
    assert done.level_at(5000) >= 23


def test_varying_latency_does_not_lower_the_limit() -> None:
    done = Simulation(4000, lambda _: 25, scatter=0.5).run()
    assert done.now < 1.13 * 4000 * 0.2 / 25 / 0.92


def test_the_ceiling_holds() -> None:
    done = Simulation(1000, lambda _: 25, ceiling=8).run()
    assert max(level for _, level in done.levels) == 8
    assert done.throttled == 0


def test_processes_share_permits_as_they_join_and_leave() -> None:
    limit = ConcurrencyLimit(64, 24, settled=True)
    limit.share(2)
    assert limit.limit == 12
    limit.share(3)
    assert limit.limit == 8
    limit.share(3)
    assert limit.limit == 8
    limit.share(1)
    assert limit.limit == 24
    limit.lower_ceiling(30)
    limit.share(100)
    assert limit.limit == 1
    limit.share(1)
    assert limit.limit == 30
    waiting = ConcurrencyLimit(8, 1, settled=True, processes=2)
    assert waiting.acquire()
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(waiting.acquire)
        waiting.share(1)
        assert second.result(PLENTY)


def test_retry_after_keeps_the_limit_from_rising_and_pauses_the_last_request() -> None:
    now = 0.0
    limit = ConcurrencyLimit(64, 2, clock=lambda: now)
    assert limit.acquire()
    assert limit.acquire()
    limit.record_throttling(retry_after=7)
    assert limit.limit == 1
    assert limit.pause == 0, "the other request may be answered"
    limit.record_throttling(retry_after=7)
    assert limit.pause == 7
    assert not limit.acquire(lambda: True)
    now = 7.0
    assert limit.acquire()
    limit.record_throttling(retry_after=1e9)
    assert limit.pause == 60


def test_waiting_for_a_permit_ends_with_the_run() -> None:
    limit = ConcurrencyLimit(1, 1)
    assert limit.acquire()
    ended = threading.Event()
    got: list[bool] = []
    waiting = threading.Thread(target=lambda: got.append(limit.acquire(ended.is_set)))
    waiting.start()
    ended.set()
    limit.wake()
    waiting.join(PLENTY)
    assert got == [False]
    assert limit.in_flight == 1


def test_a_model_has_one_limit_in_a_process() -> None:
    spec = HostSpec("fake", "project", "1")
    one = shared_limit(spec, 8, lambda: ConcurrencyLimit(8, 3))
    other = shared_limit(HostSpec("fake", "project", "1", run_id="2"), 16, lambda: one)
    assert one is other
    assert one.ceiling == 16
    assert shared_limit(HostSpec("fake", "project", "2"), 8, lambda: ConcurrencyLimit(8)) is not one


@pytest.mark.parametrize(("wait", "lowered"), [(0.0, True), (0.05, False)])
def test_latency_caused_by_waits_for_the_interpreter_does_not_lower_the_limit(
    wait: float, lowered: bool
) -> None:
    limit = ConcurrencyLimit(64, 20, settled=True, clock=lambda: 0.0)

    def answer(seconds: float, rounds: int) -> None:
        for _ in range(rounds * limit.limit):
            assert limit.acquire()
            limit.record_answer(seconds)

    answer(0.1, rounds=2)
    assert not limit.is_crowded
    for _ in range(20):
        limit.record_interpreter_wait(wait)
    answer(0.3, rounds=4)
    assert limit.is_crowded is not lowered
    assert (limit.limit < 20) is lowered
    for _ in range(20):
        limit.record_interpreter_wait(0.0)
    assert not limit.is_crowded
