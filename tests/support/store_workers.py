"""Processes that use one store together. Run as `python store_workers.py URL JOBS`.

`JOBS` is a JSON list of jobs, each a list of a name and arguments. A process for each, forked once
everything is imported, opens the store, waits for the others and starts at the same moment.
Their results are printed as a JSON list.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from typing import Any

from lfv_store import HostingStopping, Store, open_store
from tests.support.store_samples import LEASE, failed, judged, segmented
from tests.support.waiting import PLENTY


def record(store: Store, run_id: str, model: str, batches: str, size: str, worker: str) -> Any:
    """Record batches of own lines, and offer each batch twice."""
    first = int(worker) * 1_000_000
    stored = 0
    for batch in range(int(batches)):
        lines = range(first + batch * int(size) + 1, first + (batch + 1) * int(size) + 1)
        # Images repeat between workers, so that they race for the same image rows.
        items = [
            failed(line)
            if line % 10 == 0
            else (segmented if line % 3 == 0 else judged)(int(model), line, image=line % 1_000_000)
            for line in lines
        ]
        for _ in range(2):
            stored += store.inspections.record(run_id, items)
    return stored


def same(store: Store, run_id: str, model: str, size: str) -> Any:
    """Record the same batch as all other processes."""
    items = [judged(int(model), line) for line in range(1, int(size) + 1)]
    return store.inspections.record(run_id, items)


def start_and_end(store: Store, run_id: str, model: str, rounds: str) -> Any:
    """Acquire and release a lease repeatedly; stop the model after the last release."""
    stopped = 0
    started = 0
    for _ in range(int(rounds)):
        while True:
            try:
                lease = store.leases.acquire(
                    int(model), run_id, **{**LEASE, "ttl": timedelta(minutes=5)}
                )
            except HostingStopping:
                continue  # the process that stops it is about to mark it stopped
            break
        if lease.must_start:
            started += 1
            with store.database.read() as conn:
                now = store.database.dialect.now(conn)
            store.hostings.mark_hosted(lease.hosting_id, now)
        assert store.leases.heartbeat(lease.lease_id)
        if store.leases.release(lease.lease_id):
            stopped += 1
            with store.database.read() as conn:
                now = store.database.dialect.now(conn)
            store.hostings.mark_stopped(lease.hosting_id, now)
    return {"started": started, "stopped": stopped}


JOBS = {job.__name__: job for job in (record, same, start_and_end)}


def work(url: str, job: list[Any], start: Barrier, results: Any) -> None:
    """Do one job in a separate process."""
    name, *arguments = job
    try:
        with open_store(url) as store:
            start.wait(PLENTY)
            results.send(JOBS[name](store, *map(str, arguments)))
    except BaseException:
        start.abort()
        raise


def main() -> None:
    """Do all jobs at once."""
    url, jobs = sys.argv[1], json.loads(sys.argv[2])
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(jobs))
    pipes = [context.Pipe(duplex=False) for _ in jobs]
    processes = [
        context.Process(target=work, args=(url, job, start, results))
        for job, (_, results) in zip(jobs, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit(1)  # it has printed the reason
    sys.stdout.write(json.dumps([received.recv() for received, _ in pipes]) + "\n")


if __name__ == "__main__":
    main()
