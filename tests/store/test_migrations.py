"""Schema revisions: the same on both databases, no row lost, no silent mismatch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from lfv_store import SchemaOutdated, SchemaTooNew, Store, StoreError, open_store, schema
from lfv_store.database import Database
from lfv_store.tables import Base
from lfv_store.views import costs
from tests.support.databases import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'store.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    with server.database(migrated=False) as url:
        yield url


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    return ScriptDirectory.from_config(config)


def test_the_known_revisions_are_the_scripts() -> None:
    in_order = [script.revision for script in scripts().walk_revisions()][::-1]
    assert tuple(in_order) == schema.REVISIONS
    assert scripts().get_heads() == [schema.HEAD]


def test_alembic_check_is_clean(store: Store) -> None:
    with store.database.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_all_constraints_have_names(store: Store) -> None:
    if not store.database.dialect.many_writers:
        sql = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL"
            " AND name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'"
        )
        with store.database.read() as conn:
            for name, text in conn.exec_driver_sql(sql):
                for word in ("PRIMARY KEY", "UNIQUE (", "CHECK (", "FOREIGN KEY"):
                    assert text.count(word) == text.count(f" {word}"), name
                    named = text.count(f"{word}")
                    assert (
                        sum(
                            line.strip().startswith("CONSTRAINT") and word in line
                            for line in text.splitlines()
                        )
                        == named
                    ), (name, word)
        return
    sql = "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
    with store.database.read() as conn:
        for name in conn.exec_driver_sql(sql).scalars():
            assert name.startswith(("pk_", "fk_", "uq_", "ck_", "alembic_")), name


def test_a_newer_database_is_refused(database_url: str) -> None:
    with open_store(database_url) as store, store.database.write() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for migrate in (None, False, True):
        with pytest.raises(SchemaTooNew, match=r"revision 9999.*newer release") as refused:
            open_store(database_url, migrate=migrate)
        assert "postgres:" not in str(refused.value)
    database = Database(database_url)
    with pytest.raises(SchemaTooNew):
        schema.upgrade(database)
    database.close()


def test_without_migration_the_command_is_named(empty_url: str) -> None:
    with pytest.raises(SchemaOutdated, match=r"no tables yet.*`lfv db upgrade`"):
        open_store(empty_url, migrate=False)
    database = Database(empty_url)
    schema.upgrade(database, schema.REVISIONS[0])
    database.close()
    with pytest.raises(SchemaOutdated, match=r"at revision 0001.*`lfv db upgrade`"):
        open_store(empty_url, migrate=False)
    if empty_url.startswith("sqlite"):
        open_store(empty_url).close()
    else:
        with pytest.raises(SchemaOutdated):
            open_store(empty_url)


def test_several_may_open_a_new_database_at_once(empty_url: str) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(4)

    def opening() -> None:
        barrier.wait()
        try:
            open_store(empty_url, migrate=True).close()
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the test is to show it
            errors.append(error)

    threads = [threading.Thread(target=opening) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with open_store(empty_url) as store:
        assert schema.revision(store.database) == schema.HEAD
        report = store.audit.verify()
        assert report.ok, report.problems


def test_a_second_upgrade_leaves_the_views_in_place(database_url: str) -> None:
    database = Database(database_url)
    assert schema.upgrade(database) == schema.HEAD
    database.close()
    with open_store(database_url) as store:
        report = store.audit.verify()
    assert report.ok, report.problems


def test_two_databases_are_upgraded_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade, entered, overlapped = command.upgrade, threading.Event(), threading.Event()

    def watched(*arguments: Any) -> None:
        if entered.is_set():
            overlapped.set()
        entered.set()
        overlapped.wait(0.5)  # until the fault shows
        upgrade(*arguments)
        entered.clear()

    monkeypatch.setattr(command, "upgrade", watched)
    urls = [f"sqlite:///{tmp_path / name}.db" for name in ("one", "two")]
    with ThreadPoolExecutor(2) as pool:
        opened = [pool.submit(open_store, url) for url in urls]
        for store in opened:
            with store.result() as one:
                assert schema.revision(one.database) == schema.HEAD
    assert not overlapped.is_set()


def test_a_failed_migration_leaves_nothing_behind(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "VIEWS", (("broken", "CREATE VIEW broken AS SELEC"),))
    with pytest.raises(StoreError):
        open_store(empty_url, migrate=True)
    database = Database(empty_url)
    assert schema.revision(database) is None
    database.close()
