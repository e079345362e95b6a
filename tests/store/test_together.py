"""Several processes on one store: nothing lost, nothing twice, the chain intact."""

from __future__ import annotations

import pytest

from lfv_store import Store, open_store
from tests.support.store_samples import a_model, a_run
from tests.support.together import together

BATCHES, SIZE = 5, 40


def check_recorded(store: Store, runs: list[str], expected: int) -> None:
    seen: set[tuple[str, int]] = set()
    for run_id in set(runs):
        for row in store.results.rows(run_id):
            seen.add((run_id, row["line_number"]))
    assert len(seen) == expected
    with store.database.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM inspections").scalar() == expected
        shas = conn.exec_driver_sql("SELECT count(*), count(DISTINCT sha256) FROM images").one()
    assert shas[0] == shas[1]
    report = store.audit.verify()
    assert report.ok, report.problems
    assert report.inspections == expected


@pytest.mark.parametrize("one_run", [True, False], ids=["one run", "own runs"])
def test_eight_processes_record_into_one_postgresql(postgresql_url: str, one_run: bool) -> None:
    with open_store(postgresql_url) as store:
        model_id = a_model(store)
        runs = [a_run(store, model_id)] * 8
        if not one_run:
            runs = [a_run(store, model_id) for _ in runs]
        jobs = [
            ("record", run_id, model_id, BATCHES, SIZE, worker)
            for worker, run_id in enumerate(runs)
        ]
        assert together(postgresql_url, jobs) == [BATCHES * SIZE] * 8
        check_recorded(store, runs, 8 * BATCHES * SIZE)


def test_two_processes_record_into_one_sqlite_file(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        model_id = a_model(store)
        runs = [a_run(store, model_id), a_run(store, model_id)]
        jobs = [
            ("record", run_id, model_id, BATCHES, SIZE, worker)
            for worker, run_id in enumerate(runs)
        ]
        assert together(sqlite_url, jobs) == [BATCHES * SIZE] * 2
        check_recorded(store, runs, 2 * BATCHES * SIZE)


def test_the_same_batch_at_the_same_instant(database_url: str) -> None:
    with open_store(database_url) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        results = together(database_url, [("same", run_id, model_id, 200)] * 3)
        assert sorted(results) == [0, 0, 200]
        check_recorded(store, [run_id], 200)


def test_runs_that_start_and_end_at_the_same_instant(database_url: str) -> None:
    rounds, processes = 8, 3
    with open_store(database_url) as store:
        model_id = a_model(store)
        jobs = [
            ("start_and_end", a_run(store, model_id), model_id, rounds) for _ in range(processes)
        ]
        results = together(database_url, jobs)
        hostings = store.hostings.list(1000)
        assert {hosting.status for hosting in hostings} == {"stopped"}
        # Each hosting was started by one run and stopped by one run, and none is left open.
        assert sum(result["started"] for result in results) == len(hostings)
        assert sum(result["stopped"] for result in results) == len(hostings)
        assert 1 <= len(hostings) <= rounds * processes
        with store.database.read() as conn:
            leases = conn.exec_driver_sql("SELECT count(*), count(ended_at) FROM leases").one()
            beats = conn.exec_driver_sql("SELECT count(*) FROM lease_heartbeats").scalar()
        assert tuple(leases) == (rounds * processes, rounds * processes)
        assert beats == 0
        report = store.audit.verify()
        assert report.ok, report.problems
