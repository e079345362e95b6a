"""While the database is unavailable, calls are retried, and no change is made twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection

from lfv_store import InvalidRecord, NewReview, NewVerdict, Store, StoreUnavailable, open_store
from lfv_store.retries import Outage, retry_while_unavailable
from tests.support.store_samples import LEASE, a_model, a_run, judged


class Flaky:
    """Fails a number of times before it returns."""

    def __init__(self, failures: int, error: type[Exception] = StoreUnavailable) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error("not now")
        return "done"


def test_a_call_is_repeated_until_it_succeeds() -> None:
    call = Flaky(2)
    assert retry_while_unavailable(call, Outage(), seconds=60) == "done"
    assert call.calls == 3


def test_without_patience_there_is_one_attempt() -> None:
    call = Flaky(1)
    with pytest.raises(StoreUnavailable):
        retry_while_unavailable(call, Outage(), seconds=0)
    assert call.calls == 1


def test_other_errors_are_raised_at_once() -> None:
    call = Flaky(1, InvalidRecord)
    with pytest.raises(InvalidRecord):
        retry_while_unavailable(call, Outage(), seconds=60)
    assert call.calls == 1


def test_patience_is_for_the_outage_and_not_for_each_call() -> None:
    outage = Outage()
    with pytest.raises(StoreUnavailable):
        retry_while_unavailable(Flaky(100), outage, seconds=0.2)
    outage._since = time.monotonic() - 1000
    next_call = Flaky(100)
    with pytest.raises(StoreUnavailable):
        retry_while_unavailable(next_call, outage, seconds=60)
    assert next_call.calls == 1
    assert retry_while_unavailable(Flaky(0), outage, seconds=60) == "done"
    assert retry_while_unavailable(Flaky(1), outage, seconds=60) == "done"


def test_patience_begins_when_a_call_has_failed() -> None:
    """A long write, say, whose connection is lost at its end."""

    def call() -> str:
        if not failures:
            failures.append(1)
            time.sleep(2.5)  # longer than the patience
            raise StoreUnavailable("not now")
        return "done"

    failures: list[int] = []
    assert retry_while_unavailable(call, Outage(), seconds=2) == "done"


class Closed(StoreUnavailable):
    connection_lost = True


def test_a_closed_connection_is_replaced_at_once_unless_an_outage_is_known() -> None:
    outage = Outage()
    call = Flaky(1, Closed)
    assert retry_while_unavailable(call, outage, seconds=0) == "done"
    assert (call.calls, outage.seconds) == (2, 0)
    for calls in (2, 1):
        call = Flaky(100, Closed)
        with pytest.raises(Closed):
            retry_while_unavailable(call, outage, seconds=0)
        assert call.calls == calls


Breaker = Callable[[bool], None]


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    with open_store(postgresql_url) as opened:
        yield opened


@pytest.fixture
def break_next_commit(store: Store) -> Iterator[Breaker]:
    """Lose the connection at the next commit: before it takes effect (False), or after (True)."""
    dialect: Dialect = store.database.engine.dialect
    commit = dialect.do_commit
    armed: list[bool] = []

    def do_commit(connection: DBAPIConnection) -> None:
        if not armed:
            return commit(connection)
        if armed.pop():
            commit(connection)
        raise psycopg.OperationalError("the connection is lost")

    dialect.do_commit = do_commit  # type: ignore[method-assign]
    try:
        yield armed.append
    finally:
        del dialect.do_commit


@pytest.mark.parametrize("took_effect", [False, True])
def test_a_commit_whose_answer_is_lost_is_made_once(
    store: Store, break_next_commit: Breaker, took_effect: bool
) -> None:
    patient = store.with_patience(60)
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    break_next_commit(took_effect)
    lease = patient.leases.acquire(model_id, run_id, **LEASE)
    assert store.hostings.get(lease.hosting_id).live_leases == 1
    assert patient.leases.release(lease.lease_id)

    break_next_commit(took_effect)
    assert patient.inspections.record(run_id, [judged(model_id, 1), judged(model_id, 2)]) == 2
    (first, second) = list(store.verdicts.candidates(run_id))
    break_next_commit(took_effect)
    review = patient.reviews.record(NewReview(first.inspection_id, "accept", "Eve"))
    assert [r.review_id for r in store.reviews.history(first.inspection_id)] == [review.review_id]
    break_next_commit(took_effect)
    patient.verdicts.add(run_id, {"confidence": 0.9}, [NewVerdict(second.inspection_id, "review")])
    assert [decision.number for decision in store.verdicts.decisions(run_id)] == [1, 2]
    assert store.audit.verify().ok


def test_a_heartbeat_is_not_retried(store: Store, break_next_commit: Breaker) -> None:
    model_id = a_model(store)
    lease = store.leases.acquire(model_id, a_run(store, model_id), **LEASE)
    break_next_commit(False)
    with pytest.raises(StoreUnavailable):
        store.with_patience(60).leases.heartbeat(lease.lease_id)
