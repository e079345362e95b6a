"""Lost runs are recorded as crashed, and as running when they return."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from lfv_store import HostingStopping, Lease, Run, Store
from tests.support.store_samples import LEASE, a_model, a_run, after, at_time, judged


def acquire(store: Store, model_id: int, run_id: str, seconds: float = 0, **values: Any) -> Lease:
    return at_time(after(seconds), store.leases.acquire, model_id, run_id, **{**LEASE, **values})


def sweep(store: Store, seconds: float) -> None:
    at_time(after(seconds), store.hostings.claim_sweepable, by="sweeper")


def standing(run: Run) -> tuple[str, str | None, datetime | None]:
    return run.status, run.message, run.finished_at


def test_a_run_whose_lease_expired_is_recorded_as_crashed(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    acquire(store, model_id, run_id)
    sweep(store, 59)
    assert store.runs.get(run_id).status == "running"
    sweep(store, 60)
    status, message, finished_at = standing(store.runs.get(run_id))
    assert (status, finished_at) == ("crashed", after(60))
    assert message is not None
    assert "resume the run" in message
    assert [run.run_id for run in store.runs.list(status="crashed")] == [run_id]
    last = list(store.audit.entries())[-1]
    assert (last.action, last.subject) == ("hostings.swept", "sweeper")
    touched = {(table, row_id) for table, row_id, *_ in last.parsed()["rows"]}
    assert touched == {("leases", 1), ("runs", 1), ("hostings", 1)}
    assert store.audit.verify().ok


def test_sweeping_again_changes_nothing(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lease = acquire(store, model_id, run_id)
    sweep(store, 60)
    store.hostings.mark_stopped(lease.hosting_id, after(61))
    before = store.runs.get(run_id)
    head = store.audit.head()
    sweep(store, 300)
    assert store.runs.get(run_id) == before
    assert store.audit.head() == head


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "interrupted"])
def test_the_end_of_a_run_is_not_changed(store: Store, status: Any) -> None:
    """Its lease may expire later, if the process died before releasing it."""
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    acquire(store, model_id, run_id)
    store.runs.set_status(run_id, status, "as it was", after(30))
    sweep(store, 99)
    assert standing(store.runs.get(run_id)) == (status, "as it was", after(30))


def test_a_run_with_another_live_lease_is_not_lost(store: Store) -> None:
    one, two = a_model(store), a_model(store, "2")
    run_id = a_run(store, one)
    acquire(store, one, run_id)
    acquire(store, two, run_id, 30)
    sweep(store, 60)
    assert store.runs.get(run_id).status == "running"
    sweep(store, 90)
    assert standing(store.runs.get(run_id))[::2] == ("crashed", after(90))


def test_only_the_run_that_was_lost_is_marked(store: Store) -> None:
    model_id = a_model(store)
    lost, alive = a_run(store, model_id), a_run(store, model_id)
    acquire(store, model_id, lost)
    acquire(store, model_id, alive, 30)
    sweep(store, 60)
    assert [store.runs.get(run).status for run in (lost, alive)] == ["crashed", "running"]


def test_joining_the_hosting_finds_the_lost_run(store: Store) -> None:
    """Without a sweeper, the next lease on the same hosting finds it too, as does its release."""
    model_id = a_model(store)
    first, second, third = (a_run(store, model_id) for _ in range(3))
    acquire(store, model_id, first)
    joined = acquire(store, model_id, second, 61)
    assert standing(store.runs.get(first))[::2] == ("crashed", after(61))
    acquire(store, model_id, third, 62)
    assert at_time(after(120), store.leases.heartbeat, joined.lease_id)
    at_time(after(123), store.leases.release, joined.lease_id)
    assert standing(store.runs.get(third))[::2] == ("crashed", after(123))
    assert store.runs.get(second).status == "running"


def test_a_lost_run_that_acquires_a_lease_is_running_again(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lease = acquire(store, model_id, run_id)
    store.inspections.record(run_id, [judged(model_id, 1)])
    sweep(store, 60)
    store.hostings.mark_stopped(lease.hosting_id, after(61))
    assert not at_time(after(62), store.leases.heartbeat, lease.lease_id)
    again = acquire(store, model_id, run_id, 70)
    assert again.lease_id != lease.lease_id
    assert standing(store.runs.get(run_id)) == ("running", None, None)
    store.inspections.record(run_id, [judged(model_id, 2)])
    assert store.inspections.counts(run_id).inspected == 2
    sweep(store, 130)  # lost once more
    assert standing(store.runs.get(run_id))[::2] == ("crashed", after(130))
    assert store.audit.verify().ok


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "interrupted"])
def test_acquiring_a_lease_revives_only_a_lost_run(store: Store, status: Any) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.runs.set_status(run_id, status, "as it was", after(1))
    acquire(store, model_id, run_id, 2)
    assert standing(store.runs.get(run_id)) == (status, "as it was", after(1))


def test_a_refused_lease_does_not_revive_a_run(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    acquire(store, model_id, run_id)
    sweep(store, 60)  # the hosting is being stopped now
    with pytest.raises(HostingStopping):
        acquire(store, model_id, run_id, 61)
    assert store.runs.get(run_id).status == "crashed"


def test_a_resumed_run_stops_the_model_that_its_lost_process_held(store: Store) -> None:
    """The lost process's lease is still live: nobody released it, and it has not expired yet."""
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lost = acquire(store, model_id, run_id)
    store.hostings.mark_hosted(lost.hosting_id, after(1))
    resumed = acquire(store, model_id, run_id, 20)
    assert at_time(after(30), store.leases.release, resumed.lease_id)
    assert store.hostings.get(lost.hosting_id).live_leases == 0
    assert not at_time(after(31), store.leases.heartbeat, lost.lease_id)
    assert at_time(after(32), store.leases.release, lost.lease_id), "its guard may finish the stop"
    assert store.audit.verify().ok


def test_a_lease_that_expires_while_the_run_is_resumed_is_no_crash(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    acquire(store, model_id, run_id)
    resumed = acquire(store, model_id, run_id, 50)
    assert at_time(after(70), store.leases.release, resumed.lease_id)
    assert store.runs.get(run_id).status == "running"


def test_a_lost_process_that_returns_does_not_stop_the_model_under_the_resumed_run(
    store: Store,
) -> None:
    model_id = a_model(store)
    run_id, other = a_run(store, model_id), a_run(store, model_id)
    theirs = acquire(store, model_id, other)
    lost = acquire(store, model_id, run_id, 1)
    resumed = acquire(store, model_id, run_id, 20)
    assert not at_time(after(25), store.leases.release, lost.lease_id)
    assert at_time(after(26), store.leases.heartbeat, resumed.lease_id)
    assert not at_time(after(30), store.leases.release, resumed.lease_id), (
        "another run uses the model"
    )
    assert at_time(after(31), store.leases.heartbeat, theirs.lease_id)
