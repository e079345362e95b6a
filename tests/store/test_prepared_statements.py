"""The statements that a batch of answers has prepared on a PostgreSQL connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from lfv_store import Store, open_store
from tests.support.databases import PostgresServer
from tests.support.pooler import pooled
from tests.support.store_samples import a_model, a_run, judged, segmented

_TABLES = ("images", "detections", "inspections", "pending_items", "audit_log", "runs")


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    with open_store(postgresql_url) as store:
        yield store


def on_its_connection(store: Store, *statements: str) -> list[str]:
    """Execute statements on the connection that the store uses next; return their first cells."""
    with store.database.write() as conn:
        found = [conn.exec_driver_sql(statement) for statement in statements]
        return [str(row[0]) for result in found if result.returns_rows for row in result]


def prepared(store: Store) -> list[str]:
    return on_its_connection(store, "SELECT name FROM pg_prepared_statements ORDER BY name")


def test_a_connection_prepares_the_statements_once(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.inspections.record(run_id, [judged(model_id, 1)])
    times = "SELECT min(prepare_time), max(prepare_time) FROM pg_prepared_statements"
    before = on_its_connection(store, times), len(prepared(store))
    store.inspections.record(run_id, [judged(model_id, 2), segmented(model_id, 3)])
    assert (on_its_connection(store, times), len(prepared(store))) == before
    assert before[1] > 5
    used = "SELECT count(*) FROM pg_prepared_statements WHERE generic_plans + custom_plans > 1"
    assert int(on_its_connection(store, used)[0]) > 5
    assert store.audit.verify().ok


def test_a_connection_moved_to_a_server_connection_without_them(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    store.inspections.record(run_id, [judged(model_id, 1)])
    on_its_connection(store, "DEALLOCATE ALL")
    for line in (2, 3):
        assert store.inspections.record(run_id, [judged(model_id, line)]) == 1
    assert prepared(store) == []  # it no longer tries
    assert store.inspections.counts(run_id).total == 3
    assert store.audit.verify().ok


def test_a_connection_moved_to_a_server_connection_that_has_them(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    with open_store(store.database.url.render_as_string(hide_password=False)) as other:
        other.inspections.record(run_id, [judged(model_id, 1)])
        names = prepared(other)
    on_its_connection(store, *(f"PREPARE {name} AS SELECT 1" for name in names))
    for line in (2, 3):
        store.inspections.record(run_id, [judged(model_id, line), segmented(model_id, line + 10)])
    assert store.inspections.counts(run_id).total == 5
    assert store.audit.verify().ok


def test_a_plan_made_for_small_tables_uses_the_indexes(
    postgresql_server: PostgresServer,
) -> None:
    with postgresql_server.database() as url:
        with open_store(url) as store:
            model_id = a_model(store)
            run_id = a_run(store, model_id)
            store.inspections.record(run_id, [judged(model_id, 1)])
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE")  # the planner knows that each table is one page
            before = _whole_reads(conn)
        with open_store(url) as store:
            for first in range(2, 42, 4):
                batch = [judged(model_id, line) for line in range(first, first + 4)]
                store.inspections.record(run_id, batch)
        with psycopg.connect(url) as conn:
            assert _whole_reads(conn) == before


def _whole_reads(conn: psycopg.Connection) -> dict[str, int]:
    rows = conn.execute(
        "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY(%s)", [list(_TABLES)]
    )
    return dict(rows.fetchall())


def test_clients_of_a_pooler_take_turns_on_its_server_connections(
    postgresql_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches of more clients than server connections, so that each meets all of those."""
    caplog.set_level(logging.ERROR)
    clients, batches = 6, 20

    def record(number: int) -> None:
        with open_store(pooler) as store:
            for batch in range(batches):
                line = 1 + (number * batches + batch) * 2
                item = segmented(model_id, line) if batch % 5 == 0 else judged(model_id, line)
                store.inspections.record(run_id, [item, judged(model_id, line + 1)])

    with postgresql_server.database() as url, pooled(url) as pooler, open_store(url) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(record, range(clients)))
        assert store.inspections.counts(run_id).total == clients * batches * 2
        assert store.audit.verify().ok
    assert not caplog.records
