"""Finding a run by id or name."""

from __future__ import annotations

from datetime import timedelta

from lfv.run.lookup import find_run, find_unfinished_run
from lfv_store import Store
from tests.support.store_samples import T0, a_run


def test_the_last_run_to_resume_is_the_newest_that_has_not_completed(store: Store) -> None:
    for number, status in enumerate(("cancelled", "failed", "completed", "completed")):
        started = T0 + timedelta(minutes=number)
        a_run(store, run_id=f"run-{number}", started_at=started)
        store.runs.set_status(f"run-{number}", status, None, started)
    assert find_run(store, "last").run_id == "run-3"
    assert find_unfinished_run(store, "last").run_id == "run-1"
    assert find_unfinished_run(store, "run-0").run_id == "run-0"
