"""Counts: each part once, by its current verdict, also after a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from lfv_store import NewInspection, NewReview, NewVerdict, Store, open_store
from lfv_store.tables import RunProgressTable
from tests.support.store_samples import (
    LEASE,
    a_model,
    a_run,
    after,
    at_time,
    failed,
    hosting_cost,
    judged,
)


def rate(store: Store) -> dict[str, Any]:
    with store.database.read() as conn:
        return dict(conn.exec_driver_sql("SELECT * FROM defect_rate_daily").mappings().one())


def summary(store: Store, run_id: str) -> dict[str, Any]:
    with store.database.read() as conn:
        view = sa.text("SELECT * FROM run_summary WHERE run_id = :run_id")
        return dict(conn.execute(view, {"run_id": run_id}).mappings().one())


def inspect(store: Store, model_id: int, items: list[NewInspection]) -> str:
    run_id = a_run(store, model_id)
    for item in items:
        store.inspections.record(run_id, [item])
    store.runs.set_status(run_id, "completed", None, after(99))
    return run_id


def again(store: Store, model_id: int, item: NewInspection) -> NewInspection:
    """The same image in a later run, judged on the stored answer."""
    assert item.image is not None
    (known,) = store.inspections.known_detections(model_id, [item.image.sha256]).values()
    return replace(item, detection=known.detection_id, reused=True)


def test_a_part_counts_once_however_often_it_is_inspected(store: Store) -> None:
    model_id = a_model(store)
    parts = [judged(model_id, 1), judged(model_id, 2, "reject"), judged(model_id, 3)]
    inspect(store, model_id, [*parts, failed(4)])
    inspect(store, model_id, [*(again(store, model_id, part) for part in parts), failed(4)])
    inspect(store, model_id, parts)  # detected again
    counted = rate(store)
    assert (counted["inspected"], counted["accepted"], counted["rejected"]) == (3, 2, 1)
    assert counted["defect_rate"] == pytest.approx(1 / 3)
    assert (counted["errors"], counted["lines"]) == (2, 11)
    assert store.audit.verify().ok


def test_another_model_version_counts_separately(store: Store) -> None:
    for version in ("1", "2"):
        model_id = a_model(store, version)
        inspect(store, model_id, [judged(model_id, 1)])
    with store.database.read() as conn:
        rows = conn.exec_driver_sql("SELECT inspected FROM defect_rate_daily").scalars().all()
    assert rows == [1, 1]


def test_reviews_and_decisions_change_the_counts(store: Store) -> None:
    model_id = a_model(store)
    run_id = inspect(store, model_id, [judged(model_id, 1, "review"), judged(model_id, 2)])
    first, second = store.verdicts.candidates(run_id)
    store.reviews.record(NewReview(first.inspection_id, "reject", "Eve"))
    assert store.inspections.counts(run_id).rejected == 1
    assert (summary(store, run_id)["review"], rate(store)["rejected"]) == (0, 1)
    store.verdicts.add(
        run_id,
        {"confidence": 0.9},
        [NewVerdict(first.inspection_id, "accept"), NewVerdict(second.inspection_id, "review")],
    )
    counts = store.inspections.counts(run_id)  # a person's verdict outlasts a policy's
    assert (counts.accepted, counts.rejected, counts.review) == (0, 1, 1)
    store.reviews.record(NewReview(first.inspection_id, "accept", "Eve", "dust"))
    assert (rate(store)["accepted"], rate(store)["rejected"]) == (1, 0)
    row = store.results.line(run_id, 1)
    assert (row["first_verdict"], row["verdict"], row["final_verdict"]) == (
        "review",
        "accept",
        "accept",
    )
    assert (row["reviewer"], row["review_comment"]) == ("Eve", "dust")
    assert store.audit.verify().ok


def test_counts_are_exact_while_the_tallies_lag(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    for line in range(1, 6):
        store.inspections.record(run_id, [judged(model_id, line)])
        assert store.inspections.counts(run_id).accepted == line
    assert store.audit.verify().ok
    store.runs.set_status(run_id, "completed", None, after(9))
    assert summary(store, run_id)["accepted"] == 5
    assert store.audit.verify().ok


def test_the_next_process_counts_what_a_crash_left(store: Store, database_url: str) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    lease = at_time(after(0), store.leases.acquire, model_id, run_id, **LEASE)
    for line in range(1, 6):
        store.inspections.record(run_id, [judged(model_id, line)])
    with open_store(database_url) as sweeper:
        with sweeper.database.read() as conn:
            counted = conn.scalar(sa.select(RunProgressTable.counted_through))
        assert counted is not None
        at_time(after(1000), sweeper.hostings.claim_sweepable, by="sweeper")
        assert sweeper.runs.get(run_id).status == "crashed"
        assert summary(sweeper, run_id)["asked"] == 5
        assert hosting_cost(sweeper, lease.hosting_id).images == 5
        assert sweeper.audit.verify().ok


def test_a_run_that_is_over_and_not_counted_is_found(store: Store) -> None:
    model_id = a_model(store)
    run_id = inspect(store, model_id, [judged(model_id, 1)])
    with store.database.write() as conn:
        conn.execute(sa.update(RunProgressTable).values(counted_through=0))
    problems = store.audit.verify().problems
    assert any(run_id in problem.message for problem in problems)


def test_answers_before_a_second_hosting_count_for_the_first(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    hostings = []
    for line in (1, 10):
        lease = at_time(after(line), store.leases.acquire, model_id, run_id, **LEASE)
        store.hostings.mark_hosted(lease.hosting_id, after(line))
        for one in range(line, line + 3):
            store.inspections.record(run_id, [judged(model_id, one)])
        at_time(after(line + 5), store.leases.release, lease.lease_id)
        store.hostings.mark_stopped(lease.hosting_id, after(line + 6))
        hostings.append(lease.hosting_id)
    assert [hosting_cost(store, hosting).images for hosting in hostings] == [3, 3]
