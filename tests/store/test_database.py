"""URLs, connections, settings, and the translation of errors."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from lfv_store import (
    InvalidRecord,
    RecordConflict,
    SchemaForeign,
    Store,
    StoreError,
    StoreUnavailable,
    open_store,
)
from lfv_store.column_types import utc_datetime, utc_text
from lfv_store.database import Database, parse_url
from lfv_store.dialects.sqlite import PRAGMAS
from lfv_store.tables import RunTable
from tests.support.databases import PostgresServer
from tests.support.store_samples import a_model, a_run, judged


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg"),
        ("sqlite:///a.db", "sqlite+pysqlite"),
    ],
)
def test_urls_are_normalised(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.db",
        "mysql://u:secret@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "x:secret@@://",
        "postgresql://u:secret@h:x/d",
    ],
)
def test_other_urls_are_refused_without_repeating_secrets(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        Database(url)
    assert "secret" not in str(refused.value)


def test_an_unavailable_database_is_reported_without_the_password() -> None:
    with pytest.raises(StoreUnavailable) as refused:
        open_store("postgresql://me:secret@127.0.0.1:1/lfv")
    assert refused.value.retryable
    assert "secret" not in repr(refused.value)
    chain = repr(refused.value.__cause__) + str(refused.value.__cause__)
    assert "secret" not in chain
    assert "secret" not in Database("postgresql://me:secret@127.0.0.1:1/lfv").name
    with pytest.raises(StoreUnavailable) as refused:
        open_store("postgresql://me@127.0.0.1:1/lfv?password=secret")
    assert "secret" not in str(refused.value)


def test_a_file_that_cannot_be_created_or_read_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is not a database, and long enough to be noticed" * 20)
    with pytest.raises(StoreError):
        open_store(f"sqlite:///{broken}")
    with pytest.raises(StoreError):
        open_store(f"sqlite:///{broken}/below/store.db")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "unable to open database file; it must be a file"),
        (b"this is not a database, and long enough to be noticed" * 20, "not an SQLite database"),
    ],
    ids=["a folder", "not an SQLite database"],
)
def test_a_file_that_is_not_a_database_is_named_with_a_remedy(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    place = tmp_path / "place"
    if content is None:
        place.mkdir()
    else:
        place.write_bytes(content)
    with pytest.raises(StoreError, match=message) as refused:
        open_store(f"sqlite:///{place}")
    assert str(refused.value).startswith(f"sqlite:///{place}: ")
    assert "\n" not in str(refused.value)


def test_another_programs_database_is_not_changed(tmp_path: Path) -> None:
    place = tmp_path / "other.db"
    with closing(sqlite3.connect(place)) as other, other:
        other.execute("CREATE TABLE parts (name)")
    with pytest.raises(SchemaForeign, match=r"another program's tables \(parts"):
        open_store(f"sqlite:///{place}")
    with closing(sqlite3.connect(place)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("parts",)]


def test_another_programs_migrations_are_recognised(
    postgresql_server: PostgresServer, tmp_path: Path
) -> None:
    with postgresql_server.database(migrated=False) as postgresql:
        for url in (postgresql, f"sqlite:///{tmp_path / 'other.db'}"):
            database = Database(url)
            with database.write() as conn:
                conn.exec_driver_sql("CREATE TABLE parts (name text)")
                conn.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
                conn.exec_driver_sql("INSERT INTO alembic_version VALUES ('b1c2')")
            database.close()
            with pytest.raises(SchemaForeign, match="use a separate database"):
                open_store(url, migrate=True)


def test_a_missing_table_is_reported_with_a_remedy(store: Store) -> None:
    missing = pytest.raises(StoreError, match=r"tables are missing.*`lfv db upgrade`")
    with missing as refused, store.database.read() as conn:
        conn.exec_driver_sql("SELECT * FROM no_such_table")
    assert store.database.name in str(refused.value)


def test_a_full_or_read_only_sqlite_file_is_reported_with_a_remedy(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        batch = [judged(model_id, line) for line in range(1, 500)]

        @sa.event.listens_for(store.database.engine, "checkout")
        def limited(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(limit)

        limit = "PRAGMA max_page_count = 1"  # as many as there are already
        with pytest.raises(StoreUnavailable, match="full; make room there and try again"):
            store.inspections.record(run_id, batch)
        assert store.audit.verify().ok
        limit = "PRAGMA max_page_count = 1000000"
        assert store.inspections.record(run_id, batch) == len(batch)
        limit = "PRAGMA query_only = ON"
        with pytest.raises(StoreError, match="readonly database; this user needs to write"):
            store.inspections.record(run_id, [judged(model_id, 500)])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("25006", "name the primary"),
        ("42501", "let its owner grant this user the privilege"),
        ("53100", "make room on the server's disk"),
        ("53300", "no more connections"),
        ("55P03", "another session has held a lock"),
        ("57P01", "the server ended the session"),
    ],
)
def test_an_error_of_postgresql_is_reported_with_a_remedy(
    postgresql_url: str, state: str, message: str
) -> None:
    with (
        open_store(postgresql_url) as store,
        pytest.raises(StoreError, match=message) as refused,
        store.database.write() as conn,
    ):
        conn.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")
    assert str(refused.value).startswith(store.database.name)


@pytest.mark.parametrize("place", ["127.0.0.1:1/lfv", "no-such-host.invalid/lfv"])
def test_an_unreachable_server_is_reported_with_a_remedy(place: str) -> None:
    with pytest.raises(StoreUnavailable, match="check that the server runs"):
        open_store(f"postgresql://me@{place}")


def test_sqlite_settings_hold_on_every_connection(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        expected = {
            "journal_mode": "wal",
            "foreign_keys": 1,
            "busy_timeout": 30000,
            "synchronous": 2,
            "cache_size": -131072,
            "wal_autocheckpoint": 16000,
            "temp_store": 2,
            "trusted_schema": 0,
        }
        assert len(expected) == len(PRAGMAS)
        with store.database.read() as one, store.database.read() as two:
            for conn in (one, two):
                for pragma, value in expected.items():
                    assert conn.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_a_new_sqlite_file_is_waited_for_while_another_writes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as another:
        another.execute("BEGIN IMMEDIATE")  # SQLite itself would not wait for this one to end
        ending = threading.Timer(0.2, another.execute, ["COMMIT"])
        ending.start()
        with open_store(f"sqlite:///{path}") as store, store.database.read() as conn:
            assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        ending.join()


def test_postgresql_settings_hold_on_every_connection(postgresql_url: str) -> None:
    with open_store(postgresql_url) as store, store.database.write() as conn:
        for setting, value in {
            "TimeZone": "UTC",
            "lock_timeout": "30s",
            "statement_timeout": "15min",
            "idle_in_transaction_session_timeout": "1min",
            "application_name": "lfv",
        }.items():
            assert conn.exec_driver_sql(f"SHOW {setting}").scalar() == value


def test_readers_see_one_snapshot(store: Store) -> None:
    a_run(store)
    with store.database.snapshot() as conn:
        count = "SELECT count(*) FROM runs"
        assert conn.exec_driver_sql(count).scalar() == 1
        a_run(store)
        assert conn.exec_driver_sql(count).scalar() == 1
    with store.database.read() as conn:
        assert conn.exec_driver_sql(count).scalar() == 2


def test_a_failed_block_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.database.write() as conn:  # noqa: PT012
        conn.execute(sa.update(RunTable).values(status="failed"))
        conn.exec_driver_sql("DELETE FROM pending_items")
        raise ZeroDivisionError
    assert store.audit.head() is None


def test_a_locked_sqlite_file_is_unavailable_for_now(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)

        @sa.event.listens_for(store.database.engine, "checkout")
        def impatient(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute("PRAGMA busy_timeout = 10")

        with open_store(sqlite_url) as other, other.database.write():
            with pytest.raises(StoreUnavailable, match="locked"):
                store.inspections.record(run_id, [judged(model_id, 1)])
            assert store.runs.get(run_id).run_id == run_id  # readers continue
        assert store.inspections.record(run_id, [judged(model_id, 1)]) == 1
        assert store.audit.verify().ok


def test_a_lost_connection_is_unavailable_and_the_next_call_works(
    postgresql_server: PostgresServer, postgresql_url: str
) -> None:
    with open_store(postgresql_url) as store:
        model_id = a_model(store)
        run_id = a_run(store, model_id)
        name = store.database.url.database

        def cut() -> None:
            postgresql_server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"  # noqa: S608
                f" WHERE datname = '{name}'"
            )

        with pytest.raises(StoreUnavailable), store.database.write() as conn:  # noqa: PT012
            conn.exec_driver_sql("SELECT 1")
            cut()
            conn.exec_driver_sql("SELECT 1")
        cut()  # idle connections of the pool are found dead and replaced before they are used
        assert store.inspections.record(run_id, [judged(model_id, 1)]) == 1
        assert store.audit.verify().ok


def test_driver_errors_get_a_name(store: Store) -> None:
    with store.database.write() as conn:
        conn.exec_driver_sql("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER CHECK (b > 0))")
    with pytest.raises(RecordConflict), store.database.write() as conn:
        conn.exec_driver_sql("INSERT INTO t VALUES (1, 1), (1, 1)")
    with pytest.raises(InvalidRecord), store.database.write() as conn:
        conn.exec_driver_sql("INSERT INTO t VALUES (2, 0)")
    with pytest.raises(StoreError) as refused, store.database.write() as conn:
        conn.exec_driver_sql("SELECT * FROM nothing_here")
    assert not refused.value.retryable


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "57014", "57P01", "08006"])
def test_transient_postgresql_errors_are_retryable(postgresql_url: str, code: str) -> None:
    with (
        open_store(postgresql_url) as store,
        pytest.raises(StoreUnavailable),
        store.database.write() as conn,
    ):
        conn.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")


def test_sqlite_codes_are_distinguished(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        with store.database.read() as conn, pytest.raises(sa.exc.OperationalError):
            conn.exec_driver_sql("SELECT * FROM nothing_here")
        with pytest.raises(StoreError) as refused, store.database.read() as conn:
            conn.exec_driver_sql("SELECT * FROM nothing_here")
        assert not refused.value.retryable


def test_times_are_utc_and_text_order_is_time_order() -> None:
    east = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(east) == "2025-12-31 23:30:00.000000"
    assert utc_datetime(utc_text(east)) == east
    assert utc_datetime(utc_text(east)).tzinfo is UTC
    with pytest.raises(InvalidRecord, match="naive"):
        utc_text(datetime(2026, 1, 1))  # noqa: DTZ001


def test_times_come_back_exactly(store: Store) -> None:
    moments = [
        datetime(2026, 1, 1, 0, 0, 0, 0, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=timezone(timedelta(hours=-11))),
    ]
    for moment in moments:
        assert store.runs.get(a_run(store, started_at=moment)).started_at == moment
