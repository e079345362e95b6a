"""Results as rows, and the costs of hostings."""

from __future__ import annotations

import tracemalloc
from datetime import datetime, timedelta
from typing import Any

import pytest

from lfv_store import Store, UnknownInspection, UnknownRun
from lfv_store.views import RESULT_COLUMNS
from tests.support.store_samples import (
    LEASE,
    T0,
    a_model,
    a_run,
    after,
    at_time,
    failed,
    hosting_cost,
    judged,
    segmented,
)


def test_rows_are_typed_and_in_order(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id, flow_run_id="f-1")
    store.inspections.record(run_id, [failed(3), segmented(model_id, 2), judged(model_id, 1)])
    first, second, third = store.results.rows(run_id)
    assert tuple(first) == tuple(name for name, _ in RESULT_COLUMNS)
    assert [row["line_number"] for row in (first, second, third)] == [1, 2, 3]
    assert second["is_anomalous"] is True
    assert second["reused"] is False
    assert second["detected_at"] == after(2)
    assert second["reasons"] == [{"rule": "confidence", "limit": 0.8, "value": 0.9}]
    assert second["attributes"] == {"serial": "SN000002", "lot": "L41"}
    assert (third["error"], third["error_code"]) == (
        "image_truncated: The end is missing.",
        "image_truncated",
    )
    assert third["verdict"] is third["confidence"] is third["detected_at"] is None
    assert store.results.get(second["inspection_id"]) == second
    with pytest.raises(UnknownRun):
        next(store.results.rows("nope"))
    with pytest.raises(UnknownInspection):
        store.results.get(1)


def test_many_rows_are_streamed(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    reasons = [{"rule": "x" * 1000}]
    for first in range(0, 4000, 1000):
        lines = range(first, first + 1000)
        store.inspections.record(
            run_id, [judged(model_id, line, image=0, reasons=reasons) for line in lines]
        )
    tracemalloc.start()
    try:
        lines = range(4000)
        for expected, row in zip(lines, store.results.rows(run_id), strict=True):
            assert row["line_number"] == expected
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000  # a page of 1,000 rows, not 4,000


def stay(
    store: Store, model_id: int, run_id: str, start: float, end: float, images: list[float]
) -> Any:
    """A lease from start to end, with answers of the model at some seconds."""
    long = {**LEASE, "ttl": timedelta(hours=1)}
    lease = at_time(after(start), store.leases.acquire, model_id, run_id, **long)
    store.inspections.record(
        run_id,
        [
            judged(model_id, number, image=f"{run_id} {start} {number}", at=after(seconds))
            for number, seconds in enumerate(images, start=int(start) * 1000)
        ],
    )
    return lease, lambda: at_time(after(end), store.leases.release, lease.lease_id)


def row_of(store: Store, view: str, condition: str) -> dict[str, Any]:
    with store.database.read() as conn:
        row = conn.exec_driver_sql(f"SELECT * FROM {view} WHERE {condition}").one()  # noqa: S608
    return dict(row._mapping)


def test_costs_of_a_hosting_and_the_shares_of_its_runs(store: Store) -> None:
    model_id = a_model(store)
    one, two = a_run(store, model_id), a_run(store, model_id)
    lease, end_one = stay(store, model_id, one, 0, 700, [200, 300, 400])
    store.hostings.mark_hosted(lease.hosting_id, after(100))
    _, end_two = stay(store, model_id, two, 350, 900, [380, 600, 700, 800, 850, 860, 870, 880, 500])
    end_one()
    end_two()
    store.hostings.mark_stopped(lease.hosting_id, after(1000))
    cost = hosting_cost(store, lease.hosting_id)
    assert cost.paid_seconds == pytest.approx(900, abs=0.01)  # hosted 100 s to stopped 1000 s
    assert cost.idle_seconds == pytest.approx(900 - 680, abs=0.01)  # answers from 200 s to 880 s
    assert cost.cost == pytest.approx(900 / 3600 * 4.0, rel=1e-4)
    assert cost.images == 12
    first, second = store.costs.run(one), store.costs.run(two)
    assert (first.images, second.images) == (3, 9)
    assert first.cost == pytest.approx(cost.cost * 3 / 12)
    assert second.paid_seconds == pytest.approx(cost.paid_seconds * 9 / 12)
    summary = row_of(store, "run_summary", f"run_id = '{two}'")
    assert summary["cost"] == pytest.approx(second.cost)
    assert summary["cost_per_thousand_images"] == pytest.approx(second.cost / 9 * 1000)
    assert summary["idle_seconds"] == pytest.approx(cost.idle_seconds * 9 / 12)
    row = row_of(store, "hosting_costs", "1 = 1")
    assert row["cost_per_thousand_images"] == pytest.approx(cost.cost / 12 * 1000)
    assert (row["runs"], row["images"], row["inference_units"]) == (2, 12, 1)
    assert row["working_seconds"] + row["idle_seconds"] == pytest.approx(row["paid_seconds"])


def test_a_gap_between_two_runs_is_idle(store: Store) -> None:
    model_id = a_model(store)
    one, two = a_run(store, model_id), a_run(store, model_id)
    lease, end_one = stay(store, model_id, one, 0, 400, [100, 200])
    store.hostings.mark_hosted(lease.hosting_id, after(50))
    _, end_two = stay(store, model_id, two, 390, 700, [500, 600])
    end_one()
    end_two()
    store.hostings.mark_stopped(lease.hosting_id, after(750))
    cost = hosting_cost(store, lease.hosting_id)
    assert cost.paid_seconds == pytest.approx(700, abs=0.01)
    assert cost.idle_seconds == pytest.approx(500, abs=0.01)


def test_without_answers_the_lease_time_decides(store: Store) -> None:
    model_id = a_model(store)
    one, two = a_run(store, model_id), a_run(store, model_id)
    lease, end_one = stay(store, model_id, one, 0, 300, [])
    store.hostings.mark_hosted(lease.hosting_id, after(0))
    _, end_two = stay(store, model_id, two, 200, 300, [])
    end_one()
    end_two()
    store.hostings.mark_stopped(lease.hosting_id, after(360))
    assert store.costs.run(one).cost == pytest.approx(0.3, rel=1e-3)
    assert store.costs.run(two).cost == pytest.approx(0.1, rel=1e-3)
    assert store.costs.run(two).idle_seconds == pytest.approx(90, rel=1e-3)
    row = row_of(store, "hosting_costs", "1 = 1")
    assert row["cost_per_thousand_images"] is None


def test_other_peoples_models_and_failed_starts_cost_nothing(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    foreign = at_time(
        T0, store.leases.acquire, model_id, run_id, **{**LEASE, "already_hosted": True}
    )
    at_time(after(900), store.leases.release, foreign.lease_id)
    failing = at_time(after(901), store.leases.acquire, model_id, run_id, **LEASE)
    at_time(after(940), store.leases.release, failing.lease_id)
    store.hostings.mark_stopped(failing.hosting_id, after(950))
    for lease in (foreign, failing):
        assert hosting_cost(store, lease.hosting_id).cost == 0
    assert store.costs.run(run_id).cost == 0
    with pytest.raises(UnknownRun):
        store.costs.run("nope")


def test_a_model_that_is_up_costs_by_the_second(store: Store) -> None:
    model_id = a_model(store)
    lease = store.leases.acquire(model_id, a_run(store, model_id), **LEASE)
    assert hosting_cost(store, lease.hosting_id).paid_seconds == 0
    with store.database.read() as conn:
        now: datetime = store.database.dialect.now(conn)
    store.hostings.mark_hosted(lease.hosting_id, now - timedelta(seconds=90))
    assert hosting_cost(store, lease.hosting_id).paid_seconds == pytest.approx(90, abs=15)


def test_throughput_is_measured_over_past_hostings(store: Store) -> None:
    model_id = a_model(store)
    nothing = store.costs.throughput(model_id)
    assert (nothing.images, nothing.unit_seconds) == (0, 0.0)
    for start in (0, 1000):
        lease, end = stay(
            store, model_id, a_run(store, model_id), start, start + 99, [start + 50, start + 60]
        )
        store.hostings.mark_hosted(lease.hosting_id, after(start))
        end()
        store.hostings.mark_stopped(lease.hosting_id, after(start + 100))
    pace = store.costs.throughput(model_id)
    assert pace.images == 4
    assert pace.unit_seconds == pytest.approx(200, abs=0.1)
    # A new version of the project is expected to be as fast as the one before.
    assert store.costs.throughput(a_model(store, "2")).images == 4
    assert store.costs.throughput(a_model(store, "1", "cans")).images == 0


def test_the_start_is_estimated_from_earlier_starts(store: Store) -> None:
    model_id = a_model(store)
    assert store.costs.starting_seconds(model_id) is None
    for start, seconds in ((0, 30), (1000, 90), (2000, 40)):
        lease, end = stay(store, model_id, a_run(store, model_id), start, start + 99, [])
        store.hostings.mark_hosted(lease.hosting_id, after(start + seconds))
        end()
        store.hostings.mark_stopped(lease.hosting_id, after(start + 100))
    at_time(
        after(3000),
        store.leases.acquire,
        model_id,
        a_run(store, model_id),
        **{**LEASE, "already_hosted": True},
    )
    assert store.costs.starting_seconds(model_id) == pytest.approx(40, abs=0.1)


def test_versions_of_a_project_are_found_by_their_last_run(store: Store) -> None:
    first, second, third = (a_model(store, version) for version in "123")
    a_model(store, "1", "cans")
    a_run(store, third)
    a_run(store, first)
    host = store.models.get(first).key.host
    found = store.models.find("bottles", host=host)
    assert [model.model_id for model in found] == [first, third, second]
    assert not store.models.find("bottles", host="another")
    assert [model.model_id for model in store.models.find("bottles")] == [first, third, second]
    assert not store.models.find("bottles", not_on=host)
