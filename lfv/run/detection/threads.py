"""Threads that share the interpreter: a group of adaptable size, and a measure of its load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

#: Seconds between two measurements.
_INTERVAL = 0.02


def join_if_started(thread: threading.Thread, seconds: float | None = None) -> None:
    """Wait until a thread has ended, unless a signal interrupted its start."""
    with suppress(RuntimeError):  # "cannot join thread before it is started"
        thread.join(seconds)


class ThreadGroup:
    """Threads that run the same function until there is nothing left to do. Thread-safe.

    Args:
        step: Does one piece of work; returns False if there is no more.
        most: Returns the current maximum. Threads beyond it end after their current step.
        name: Prefix of the threads' names.
    """

    def __init__(self, step: Callable[[], bool], most: Callable[[], int], name: str) -> None:
        self._step = step
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._started = 0

    def __len__(self) -> int:
        return len(self._threads)

    def grow(self, threads: int) -> None:
        """Start threads until there are `threads`, or the most."""
        with self._lock:
            while len(self._threads) < min(threads, self._most()):
                name = f"{self._name}-{self._started}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._started += 1
                self._threads.append(thread)
                thread.start()

    def join(self, deadline: float | None = None) -> None:
        """Wait until all threads have ended, or until the monotonic time `deadline`."""
        for thread in list(self._threads):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            join_if_started(thread, left)

    def _run(self) -> None:
        while not self._retire() and self._step():
            pass

    def _retire(self) -> bool:
        """Whether the current thread is one too many; if so, take it out of the group."""
        if len(self._threads) <= self._most():
            return False
        with self._lock:
            if len(self._threads) <= self._most():
                return False
            self._threads.remove(threading.current_thread())
            return True


class InterpreterWatch:
    """Measures how long a thread that could run waits for the interpreter. A context manager.

    Args:
        note: Called with the seconds of each wait, in a thread of the watch.
    """

    def __init__(self, note: Callable[[float], None]) -> None:
        self._note = note
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="interpreter-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            due = time.monotonic() + _INTERVAL
            if self._left.wait(_INTERVAL):
                return
            self._note(max(0.0, time.monotonic() - due))
