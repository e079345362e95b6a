"""Databases made by release 0.1.0 are upgraded, keep every row, and work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lfv_store import SchemaOutdated, Store, open_store, schema
from tests.store.release_0_1_0.make import FIRST, SECOND, inspection
from tests.support.databases import PostgresServer

MADE = Path(__file__).parent / "release_0_1_0"
HEADS = {
    "sqlite": "lfv-audit:21:93e0238714030fdf138338ddb23c045db8a6c985df5e58710324c956af11d405",
    "postgresql": "lfv-audit:21:c1967e05c44ab989ac1df432072d0d4938918f1e03a961d178a158268faed5b6",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database as release 0.1.0 left it."""
    if request.param == "sqlite":
        file = tmp_path / "old.db"
        with closing(sqlite3.connect(file)) as conn:
            conn.executescript((MADE / "sqlite.sql").read_text(encoding="utf-8"))
        yield f"sqlite:///{file}"
        return
    server: PostgresServer = request.getfixturevalue("postgresql_server")
    with server.database(migrated=False) as url:
        dump = (MADE / "postgresql.sql").read_text(encoding="utf-8")
        lines = [line for line in dump.splitlines() if not line.startswith("\\")]
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("\n".join(lines).encode())
        yield url


def rows(store: Store, view: str) -> list[dict[str, Any]]:
    with store.database.read() as conn:
        result = conn.exec_driver_sql(f"SELECT * FROM {view}")  # noqa: S608
        return [dict(row) for row in result.mappings()]


def test_the_database_is_upgraded_and_its_audit_log_verifies(old_url: str) -> None:
    with pytest.raises(SchemaOutdated, match=r"revision 0002.*lfv db upgrade"):
        open_store(old_url, migrate=False)
    with open_store(old_url, migrate=True) as store:
        assert schema.revision(store.database) == schema.HEAD
        report = store.audit.verify(HEADS[store.database.dialect.name])
        assert report.ok, report.problems
        assert (report.entries, report.inspections) == (21, 6)


def test_nothing_is_lost(old_url: str) -> None:
    with open_store(old_url, migrate=True) as store:
        results = {row["line_number"]: row for row in store.results.rows(FIRST)}
        assert [results[line]["verdict"] for line in range(1, 6)] == [
            "accept",
            "reject",
            None,
            "accept",
            "accept",
        ]
        assert results[4]["first_verdict"] == "review"
        assert results[2]["final_verdict"] == "reject"
        assert results[2]["reviewer"] == "Eve"
        assert results[2]["attributes"]["umlaut"] == "Größe"
        assert (results[2]["anomaly_names"], results[2]["anomaly_areas"]) == ("scratch", "0.02")
        detection = results[2]["detection_id"]
        assert store.results.mask(detection) == b"mask"
        summary = {row["run_id"]: row for row in rows(store, "run_summary")}
        assert summary[FIRST]["accepted"] == 3
        assert summary[FIRST]["errors"] == 1
        assert summary[FIRST]["cost"] == pytest.approx(180 / 3600 * 4)
        assert summary[SECOND]["pending"] == 2
        (costs, _) = sorted(rows(store, "hosting_costs"), key=lambda row: row["hosting_id"])
        assert (costs["images"], costs["status"]) == (3, "stopped")
        (rate,) = rows(store, "defect_rate_daily")
        assert (rate["inspected"], rate["rejected"], rate["errors"], rate["lines"]) == (4, 1, 1, 6)


def test_the_interrupted_run_is_resumed(old_url: str) -> None:
    with open_store(old_url, migrate=True) as store:
        run = store.runs.resume(SECOND, flow_run_id=None)
        assert run.model_id is not None
        lease = store.leases.acquire(
            run.model_id,
            SECOND,
            host_spec={},
            units=(1, None),
            price_per_unit_hour=4.0,
            ttl=timedelta(seconds=60),
            already_hosted=False,
        )
        waiting = store.inspections.pending(SECOND)
        assert [item.line_number for item in waiting] == [12, 13]
        for item in waiting:
            found = inspection(run.model_id, item.line_number, "accept")
            store.inspections.record(SECOND, [found])
        store.leases.release(lease.lease_id)
        counts = store.inspections.counts(SECOND)
        assert (counts.accepted, counts.pending) == (3, 0)
        assert store.audit.verify().ok


def test_other_peoples_views_stay(old_url: str) -> None:
    if old_url.startswith("sqlite"):
        with closing(sqlite3.connect(old_url.removeprefix("sqlite:///"))) as conn:
            conn.execute("CREATE VIEW mine AS SELECT status, cost FROM hosting_costs")
    else:
        with psycopg.connect(old_url) as connection:
            connection.execute("CREATE VIEW mine AS SELECT status, cost FROM hosting_costs")
    with open_store(old_url, migrate=True) as store:
        assert {row["status"] for row in rows(store, "mine")} == {"stopped"}
