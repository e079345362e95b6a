"""Threads for work that may hang, such as a read from a bucket that never answers.

The interpreter joins the threads of concurrent.futures when it exits, however long that takes.
These are daemon threads: their owner waits for a bounded time, and they end with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Threads:
    """Runs up to ``count`` jobs at once, in the order of their submission.

    As a context manager it cancels waiting jobs and waits for running ones on exit.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self.name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Queue a job. Raises RuntimeError after ``close``."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the threads for {self.name} are closed")
            self._jobs.put((future, job))
            if len(self._threads) < self._count:
                thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return the results in the order of the items. Raises the first failed item's error."""
        futures = [self.submit(partial(function, item)) for item in items]
        return [future.result() for future in futures]

    def close(self) -> None:
        """Cancel waiting jobs, and accept no new ones."""
        with self._lock:
            self._closed = True
            with suppress(Empty):
                while waiting := self._jobs.get_nowait():
                    waiting[0].cancel()
            for _ in self._threads:
                self._jobs.put(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for running jobs after ``close``. Return whether all have ended."""
        ends = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if ends is None else max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()

    def _work(self) -> None:
        while job := self._jobs.get():
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    result = function()
                except BaseException as error:  # noqa: BLE001 (raised by future.result())
                    future.set_exception(error)
                else:
                    future.set_result(result)
