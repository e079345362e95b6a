"""Threads that share the interpreter: how many there are, and how long they wait for it."""

from __future__ import annotations

import threading
import time

import pytest

from lfv.run.detection.threads import InterpreterWatch, ThreadGroup
from tests.support.waiting import wait_until


def test_a_group_respects_its_limit_and_shrinks_with_it() -> None:
    most = 5
    ended = threading.Event()
    steps = threading.Semaphore(0)

    def step() -> bool:
        steps.acquire()
        return not ended.is_set()

    group = ThreadGroup(step, lambda: most, "work")
    group.grow(3)
    assert len(group) == 3
    group.grow(2)
    assert len(group) == 3
    group.grow(50)
    assert len(group) == 5
    most = 2
    steps.release(5)
    wait_until(lambda: len(group) == 2)
    most = 4
    group.grow(4)
    assert len(group) == 4
    group.join(time.monotonic() + 0.05)
    assert threading.active_count() > 4, "join gives up at its deadline"
    ended.set()
    steps.release(4)
    group.join()
    assert not any(thread.name.startswith("work-") for thread in threading.enumerate())


def test_a_busy_interpreter_is_noticed() -> None:
    waits: list[float] = []
    done = threading.Event()
    before = set(threading.enumerate())  # threads of earlier tests may still be ending

    def spin() -> None:
        while not done.is_set():
            sum(range(1000))

    busy = [threading.Thread(target=spin) for _ in range(2)]
    with InterpreterWatch(waits.append):
        wait_until(lambda: len(waits) > 2)
        for thread in busy:
            thread.start()
        wait_until(lambda: waits[-1] > 0.004)
        done.set()
        for thread in busy:
            thread.join()
    assert min(waits) >= 0
    left = set(threading.enumerate()) - before
    assert not any(thread.name == "interpreter-watch" for thread in left)


def test_a_group_whose_start_was_interrupted_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    group = ThreadGroup(lambda: False, lambda: 2, "work")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            group.grow(1)
    group.join()
