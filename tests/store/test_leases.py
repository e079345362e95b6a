"""Hostings and leases, step by step. test_together.py tests real races."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from lfv_store import (
    HostingStopping,
    InvalidRecord,
    Lease,
    Store,
    UnknownHosting,
    UnknownLease,
    UnknownModel,
    UnknownRun,
)
from tests.support.store_samples import LEASE, T0, a_model, a_run, after, at_time, clock_at


def acquire(store: Store, model_id: int, run_id: str, seconds: float = 0, **values: Any) -> Lease:
    return at_time(after(seconds), store.leases.acquire, model_id, run_id, **{**LEASE, **values})


def test_a_hosting_from_intent_to_stop(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lease = acquire(store, model_id, run_id)
    assert (lease.must_start, lease.owned, lease.hosting_status) == (True, True, "requested")
    assert lease.expires_at == after(60)
    (hosting,) = store.hostings.open()
    assert hosting.client_token == lease.client_token
    assert (hosting.host_spec, hosting.requested_by) == (LEASE["host_spec"], run_id)
    assert (hosting.requested_at, hosting.hosted_at, hosting.live_leases) == (T0, None, 1)
    store.hostings.mark_hosted(lease.hosting_id, after(30))
    store.hostings.mark_hosted(lease.hosting_id, after(40))
    hosting = store.hostings.get(lease.hosting_id)
    assert (hosting.status, hosting.hosted_at) == ("hosted", after(30))
    assert at_time(after(100), store.leases.release, lease.lease_id)
    hosting = store.hostings.get(lease.hosting_id)
    assert (hosting.status, hosting.stop_requested_at) == ("stop_requested", after(100))
    assert at_time(after(101), store.leases.release, lease.lease_id)  # repeated, for a retry
    store.hostings.mark_stop_attempt(lease.hosting_id, "HTTP 500")
    store.hostings.mark_stop_attempt(lease.hosting_id, None)
    hosting = store.hostings.get(lease.hosting_id)
    assert (hosting.stop_attempts, hosting.stop_error) == (2, None)
    store.hostings.mark_stopped(lease.hosting_id, after(110))
    hosting = store.hostings.get(lease.hosting_id)
    assert (hosting.status, hosting.stopped_at) == ("stopped", after(110))
    assert store.hostings.open() == []
    assert not store.leases.release(lease.lease_id)
    assert list(store.hostings.list()) == [hosting]
    assert store.audit.verify().ok


def test_workers_work_for_a_run_while_its_lease_is_live(store: Store) -> None:
    model_id = a_model(store)
    first, second = a_run(store, model_id), a_run(store, model_id)
    assert not store.leases.is_wanted(first)
    one, two = acquire(store, model_id, first), acquire(store, model_id, second)
    assert store.leases.is_wanted(first)
    store.leases.call_off(first)
    assert not store.leases.is_wanted(first)
    assert store.leases.is_wanted(second)
    assert store.leases.heartbeat(one.lease_id)  # the model is held until the run releases it
    store.leases.release(two.lease_id)
    assert not store.leases.is_wanted(second)
    again = acquire(store, model_id, first)
    assert store.leases.is_wanted(first)
    store.leases.release(again.lease_id)


def test_the_second_run_joins_and_the_last_one_stops(store: Store) -> None:
    model_id = a_model(store)
    first, second = a_run(store, model_id), a_run(store, model_id)
    one = acquire(store, model_id, first)
    two = acquire(store, model_id, second, 1)
    assert (two.hosting_id, two.client_token) == (one.hosting_id, one.client_token)
    assert not two.must_start
    assert not at_time(after(2), store.leases.release, one.lease_id)
    assert at_time(after(3), store.leases.release, two.lease_id)
    assert acquire(store, a_model(store, "2"), first, 4).hosting_id != one.hosting_id


def test_joining_a_stopping_hosting_is_refused_until_it_has_stopped(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lease = acquire(store, model_id, run_id)
    at_time(after(1), store.leases.release, lease.lease_id)
    before = store.audit.head()
    with pytest.raises(HostingStopping) as stopping:
        acquire(store, model_id, run_id, 2)
    assert stopping.value.hosting_id == lease.hosting_id
    assert stopping.value.retryable
    assert store.audit.head() == before
    store.hostings.mark_stopped(lease.hosting_id, after(3))
    again = acquire(store, model_id, run_id, 4)
    assert again.must_start
    assert again.client_token != lease.client_token


def test_somebody_elses_model_is_used_and_left(store: Store) -> None:
    model_id = a_model(store)
    first, second = a_run(store, model_id), a_run(store, model_id)
    one = acquire(store, model_id, first, already_hosted=True)
    two = acquire(store, model_id, second, 1, already_hosted=True)
    assert (one.owned, one.must_start, one.hosting_status) == (False, False, "hosted")
    assert two.hosting_id == one.hosting_id
    assert not two.owned
    assert not at_time(after(2), store.leases.release, one.lease_id)
    assert not at_time(after(3), store.leases.release, two.lease_id)
    assert store.hostings.get(one.hosting_id).status == "left"
    assert store.hostings.open() == []
    assert list(at_time(after(999), store.hostings.claim_sweepable, by="sweeper")) == []


def test_a_model_found_to_be_somebody_elses_is_not_stopped(store: Store) -> None:
    model_id = a_model(store)
    lease = acquire(store, model_id, a_run(store, model_id))
    store.hostings.mark_foreign(lease.hosting_id)
    hosting = store.hostings.get(lease.hosting_id)
    assert (hosting.status, hosting.owned) == ("hosted", False)
    assert not store.leases.release(lease.lease_id)
    assert store.hostings.get(lease.hosting_id).status == "left"


def test_an_owned_hosting_stays_owned_when_hosted(store: Store) -> None:
    model_id = a_model(store)
    acquire(store, model_id, a_run(store, model_id))
    joined = acquire(store, model_id, a_run(store, model_id), 1, already_hosted=True)
    assert joined.owned


def test_heartbeats_keep_a_lease(store: Store) -> None:
    model_id = a_model(store)
    lease = acquire(store, model_id, a_run(store, model_id))
    assert at_time(after(50), store.leases.heartbeat, lease.lease_id)
    assert list(at_time(after(100), store.hostings.claim_sweepable, by="s")) == []
    assert at_time(after(105), store.leases.heartbeat, lease.lease_id)
    assert list(at_time(after(150), store.hostings.claim_sweepable, by="s")) == []
    assert store.hostings.get(lease.hosting_id).live_leases == 1


def test_a_late_heartbeat_renews_a_lease_that_was_not_swept(store: Store) -> None:
    model_id = a_model(store)
    lease = acquire(store, model_id, a_run(store, model_id))
    assert at_time(after(500), store.leases.heartbeat, lease.lease_id)
    assert list(at_time(after(510), store.hostings.claim_sweepable, by="s")) == []


def test_the_sweeper_ends_leases_without_heartbeats(store: Store) -> None:
    model_id, other = a_model(store), a_model(store, "2")
    dead = acquire(store, model_id, a_run(store, model_id))
    store.hostings.mark_hosted(dead.hosting_id, after(10))
    alive = acquire(store, other, a_run(store, other), 55)
    (found,) = at_time(after(60), store.hostings.claim_sweepable, by="sweeper-1")
    assert found.hosting_id == dead.hosting_id
    assert (found.status, found.stop_requested_at) == ("stop_requested", after(60))
    assert not at_time(after(61), store.leases.heartbeat, dead.lease_id)
    assert at_time(after(61), store.leases.heartbeat, alive.lease_id)
    # Claimed: another sweeper leaves it alone for a while, the same one may continue.
    assert list(at_time(after(61), store.hostings.claim_sweepable, by="sweeper-2")) == []
    assert len(at_time(after(62), store.hostings.claim_sweepable, by="sweeper-1")) == 1
    assert at_time(after(110), store.leases.heartbeat, alive.lease_id)
    assert len(at_time(after(122), store.hostings.claim_sweepable, by="sweeper-2")) == 1
    assert at_time(after(123), store.leases.release, dead.lease_id)
    store.hostings.mark_stopped(dead.hosting_id, after(124))
    (found,) = at_time(after(999), store.hostings.claim_sweepable, by="sweeper-1")
    assert found.model_id == other
    assert store.audit.verify().ok


def test_a_start_that_never_happened_is_taken_over(store: Store) -> None:
    model_id = a_model(store)
    dead = acquire(store, model_id, a_run(store, model_id))
    later = acquire(store, model_id, a_run(store, model_id), 61)
    assert later.must_start
    assert (later.hosting_id, later.client_token) == (dead.hosting_id, dead.client_token)
    assert not at_time(after(62), store.leases.heartbeat, dead.lease_id)
    third = acquire(store, model_id, a_run(store, model_id), 63)
    assert not third.must_start


def test_a_hosted_model_whose_run_died_is_joined(store: Store) -> None:
    model_id = a_model(store)
    dead = acquire(store, model_id, a_run(store, model_id))
    store.hostings.mark_hosted(dead.hosting_id, after(5))
    later = acquire(store, model_id, a_run(store, model_id), 61)
    assert (later.must_start, later.hosting_status) == (False, "hosted")
    assert later.hosting_id == dead.hosting_id


def test_a_waiting_run_takes_over_a_start_whose_run_died(store: Store) -> None:
    model_id = a_model(store)
    starter = acquire(store, model_id, a_run(store, model_id))
    waiter = acquire(store, model_id, a_run(store, model_id), 50)
    last = acquire(store, model_id, a_run(store, model_id), 51)
    assert at_time(after(52), store.leases.should_start, starter.lease_id)
    assert not at_time(after(52), store.leases.should_start, waiter.lease_id)
    assert at_time(after(60), store.leases.should_start, waiter.lease_id)
    assert not at_time(after(60), store.leases.should_start, last.lease_id)
    store.hostings.mark_hosted(waiter.hosting_id, after(70))
    assert not at_time(after(71), store.leases.should_start, waiter.lease_id)


def test_a_model_seen_hosted_after_everybody_left_still_costs(store: Store) -> None:
    model_id = a_model(store)
    lease = acquire(store, model_id, a_run(store, model_id))
    at_time(after(1), store.leases.release, lease.lease_id)
    store.hostings.mark_hosted(lease.hosting_id, after(2))
    hosting = store.hostings.get(lease.hosting_id)
    assert (hosting.status, hosting.hosted_at) == ("stop_requested", after(2))


def test_what_does_not_exist_is_refused(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    with pytest.raises(UnknownRun):
        acquire(store, model_id, "nope")
    with pytest.raises(UnknownModel):
        acquire(store, 99, run_id)
    with pytest.raises(InvalidRecord):
        acquire(store, model_id, run_id, ttl=timedelta(0))
    with pytest.raises(InvalidRecord, match="price"):
        acquire(store, model_id, run_id, price_per_unit_hour=float("nan"))
    with pytest.raises(InvalidRecord, match="min_units"):
        acquire(store, model_id, run_id, units=(0, None))
    with pytest.raises(UnknownLease):
        store.leases.release(99)
    with pytest.raises(UnknownLease):
        store.leases.should_start(99)
    with pytest.raises(UnknownHosting):
        store.hostings.get(99)
    with pytest.raises(UnknownHosting):
        store.hostings.mark_hosted(99, T0)
    assert not store.leases.heartbeat(99)
    assert store.hostings.open() == []


def test_time_is_that_of_the_database_unless_given(store: Store) -> None:
    def now() -> datetime:
        with store.database.read() as conn:
            return store.database.dialect.now(conn)

    model_id = a_model(store)
    run_id = a_run(store, model_id)
    before = now()
    lease = store.leases.acquire(model_id, run_id, **LEASE)
    assert before <= lease.expires_at - LEASE["ttl"] <= now()
    assert store.leases.heartbeat(lease.lease_id)
    assert list(store.hostings.claim_sweepable(by="s")) == []
    assert store.leases.release(lease.lease_id)


def test_a_heartbeat_and_a_sweep_at_the_same_instant_agree(store: Store) -> None:
    """The lease either lives or has ended, and its holder knows which."""
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    outcomes = set()
    for round_number in range(12):
        lease = acquire(store, model_id, run_id)
        barrier = threading.Barrier(2)

        def beat(lease: Lease = lease, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return store.leases.heartbeat(lease.lease_id)

        def sweep(barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            return len(store.hostings.claim_sweepable(by="sweeper"))

        with clock_at(after(61)), ThreadPoolExecutor(2) as pool:
            alive, swept = pool.submit(beat), pool.submit(sweep)
            assert alive.result() == (swept.result() == 0), round_number
        outcomes.add(alive.result())
        if alive.result():
            assert at_time(after(62), store.leases.release, lease.lease_id)
        store.hostings.mark_stopped(lease.hosting_id, after(63))
    assert outcomes <= {True, False}
    assert store.audit.verify().ok
