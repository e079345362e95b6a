"""PostgreSQL in other configurations: encodings, schemas, poolers."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from lfv_store import Store, StoreError, open_store, schema
from tests.support.databases import PostgresServer
from tests.support.store_samples import a_model, a_run, judged, segmented


@pytest.fixture
def latin1_url(postgresql_server: PostgresServer) -> Iterator[str]:
    name = f"latin1_{uuid4().hex}"
    postgresql_server.execute(
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    )
    yield postgresql_server.url_of(name)
    postgresql_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("migrate", [False, True])
def test_a_database_that_is_not_utf8_is_refused_before_anything_starts(
    latin1_url: str, migrate: bool
) -> None:
    with pytest.raises(StoreError, match=r"has the encoding LATIN1.*ENCODING 'UTF8'") as refused:
        open_store(latin1_url, migrate=migrate)
    assert "\n" not in str(refused.value)


def test_a_separate_schema(postgresql_server: PostgresServer) -> None:
    with postgresql_server.database(migrated=False) as url:
        with psycopg.connect(url) as conn:
            conn.execute('CREATE SCHEMA "Quality lab"')
        own = f"{url}?options=-csearch_path%3D%22Quality%5C%20lab%22"
        with open_store(own, migrate=True) as store:
            fill(store)
            assert store.audit.verify().ok
        with psycopg.connect(url) as conn:
            tables = conn.execute("SELECT DISTINCT schemaname FROM pg_tables").fetchall()
        assert ("public",) not in tables
        with open_store(url, migrate=True) as beside:  # another store, in public
            assert beside.runs.list() == []
            assert schema.revision(beside.database) == schema.HEAD


def test_a_schema_that_does_not_exist_is_named(postgresql_server: PostgresServer) -> None:
    with (
        postgresql_server.database(migrated=False) as url,
        pytest.raises(StoreError, match="no schema of the search_path nowhere"),
    ):
        open_store(f"{url}?options=-csearch_path%3Dnowhere", migrate=True)


def test_only_prepared_statements_outlive_a_transaction_on_the_server(postgresql_url: str) -> None:
    """A pooler in transaction mode uses another server connection for the next transaction."""
    with open_store(postgresql_url) as store:
        with store.database.read() as conn:
            before = conn.exec_driver_sql("SHOW ALL").all()
        fill(store)
        with store.database.read() as conn:
            assert conn.exec_driver_sql("SHOW ALL").all() == before
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert conn.exec_driver_sql(held).scalar() == 0
            names = "SELECT name FROM pg_prepared_statements"
            assert all(name.startswith("lfv_") for (name,) in conn.exec_driver_sql(names))


def fill(store: Store) -> None:
    model_id = a_model(store)
    run_id = a_run(store, model_id)
    for line in range(1, 12):
        store.inspections.record(run_id, [judged(model_id, line)])
    store.inspections.record(run_id, [segmented(model_id, 20)])
