"""Threads that do not delay the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from lfv.server.daemon_threads import Threads
from tests.support.waiting import PLENTY


def test_jobs_run_in_order_and_in_limited_number() -> None:
    both = threading.Barrier(2)
    with Threads(2, "test") as threads:
        assert threads.map(lambda number: (both.wait(PLENTY), number)[1], range(6)) == [*range(6)]


def test_an_exception_of_a_job_is_raised_by_its_result() -> None:
    with Threads(1, "test") as threads:
        failed = threads.submit(lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            failed.result(PLENTY)
        assert threads.submit(lambda: "still there").result(PLENTY) == "still there"
        with pytest.raises(ZeroDivisionError):
            threads.map(lambda number: 1 // number, [1, 0, 1])


def test_closing_cancels_waiting_jobs_and_joins_the_rest() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def job() -> bool:
        begun.set()
        return may_end.wait(PLENTY)

    threads = Threads(1, "test")
    running, waiting = threads.submit(job), threads.submit(job)
    assert begun.wait(PLENTY)
    threads.close()
    assert threads.wait(0.01) is False
    with pytest.raises(CancelledError):
        waiting.result(0)
    with pytest.raises(RuntimeError, match="the threads for test are closed"):
        threads.submit(job)
    may_end.set()
    assert threads.wait(PLENTY) is True
    assert running.result() is True
    threads.close()
    assert threads.wait() is True


def test_the_process_ends_despite_hanging_threads() -> None:
    program = (
        "import threading, time; from lfv.server.daemon_threads import Threads;"
        "begun = threading.Event(); threads = Threads(1, 'test');"
        "threads.submit(lambda: (begun.set(), time.sleep(3600))); begun.wait();"
        "threads.close(); print(threads.wait(0.1))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PLENTY)
    assert done.stdout == b"False\n"
