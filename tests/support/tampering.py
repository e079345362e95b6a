"""What an attacker with the database's password would do: change rows despite the triggers."""

# ruff: noqa: S608 -- an attacker does not use parameters

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store import NewDetection, NewInspection, NewReview, NewTraining, NewVerdict, Store
from lfv_store.audit.canonical import GENESIS
from lfv_store.audit.entries import Entry, entry_columns
from lfv_store.audit.log import verify
from lfv_store.audit.verification import AuditHead, AuditReport
from lfv_store.column_types import UtcDateTime
from lfv_store.dialects import dialect_of
from lfv_store.dialects.postgresql import Postgresql
from lfv_store.tables import Base
from tests.support.store_samples import (
    LEASE,
    a_model,
    a_response,
    a_run,
    after,
    at_time,
    failed,
    judged,
    segmented,
)


def fill(store: Store) -> list[str]:
    """Write at least three rows into every audited table; return the runs."""
    runs = []
    for number in (1, 2, 3):
        model_id = a_model(store, str(number))
        run_id = a_run(store, model_id, policy={"confidence": number / 10}, flow_run_id="f")
        runs.append(run_id)
        store.trainings.record(
            NewTraining(
                model_id,
                "s3://lots/train.manifest",
                after(0),
                "ana",
                test_source="s3://lots/test.manifest",
                manifest_sha256="cd" * 32,
                test_manifest_sha256="ef" * 32,
                figures={"recall": 0.9},
                remarks=("few images",),
            )
        )
        store.approvals.approve(
            model_id,
            decided_by="ana",
            reason="compared",
            comparison={"known": number},
            signature={"meaning": "approved"},
        )
        lease = at_time(after(0), store.leases.acquire, model_id, run_id, **LEASE)
        store.hostings.mark_hosted(lease.hosting_id, after(1))
        store.inspections.record(
            run_id,
            [judged(model_id, 1, "review"), segmented(model_id, 2), failed(3)]
            + [less_sure(model_id, line, image=f"{run_id} {line}") for line in (4, 5, 6)],
        )
        store.inspections.record(
            run_id,
            [segmented(model_id, line, expected_is_anomalous=True) for line in (7, 8)]
            + [without_latency(less_sure(model_id, 9))],
        )
        at_time(after(20), store.leases.release, lease.lease_id)
        store.hostings.mark_stopped(lease.hosting_id, after(30))
        verdicts = [
            NewVerdict(found.inspection_id, "accept", [{"rule": "none"}])
            for found in store.verdicts.candidates(run_id)
        ]
        store.verdicts.add(
            run_id,
            {"confidence": 0.0},
            verdicts,
            decided_by="ben",
            signature={"meaning": "decided"},
        )
        first = next(iter(store.results.rows(run_id)))
        at_time(
            after(40),
            store.reviews.record,
            NewReview(first["inspection_id"], "reject", "eve", "a scratch"),
        )
        _review_on(store, first["inspection_id"], f"ana {run_id}")
        store.runs.set_manifest(run_id, "ab" * 32, 8)
        store.runs.set_status(run_id, "completed", "done", after(60))
    return runs


def _review_on(store: Store, inspection_id: int, name: str) -> None:
    """A user, and a review of theirs with every column filled."""
    store.users.add(name, "engineer", "a hash")
    at_time(
        after(50),
        store.reviews.record,
        NewReview(
            inspection_id,
            "reject",
            name,
            comment="dust",
            reason="dust",
            shown={"overlay": True},
            signature={"meaning": "approved"},
            token=f"token of {name}",
        ),
    )


def less_sure(model_id: int, line: int, **values: Any) -> NewInspection:
    """A line whose answer has another confidence than those that name anomalies."""
    return judged(model_id, line, response=a_response(confidence=0.7), **values)


def without_latency(item: NewInspection) -> NewInspection:
    """The same, from a host that does not report latency."""
    assert isinstance(item.detection, NewDetection)
    return replace(item, detection=replace(item.detection, latency_ms=None))


@contextmanager
def tampering(store: Store) -> Iterator[Connection]:
    """A transaction with all protection off, rolled back at the end."""
    engine = store.database.engine
    with engine.connect() as conn:
        if not store.database.dialect.many_writers:
            conn.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            conn.commit()
            driver = conn.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys = OFF")
            triggers = conn.exec_driver_sql(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            ).all()
            for name, _ in triggers:
                conn.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
            for table, name in conn.exec_driver_sql(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint"
                " WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace"
            ).all():
                conn.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            triggers = []
        conn.info["triggers"] = [sql for _, sql in triggers]
        try:
            yield conn
        finally:
            conn.rollback()
            conn.invalidate()  # with its PRAGMAs


def cover_up(conn: Connection) -> None:
    """Put the triggers back, as if nothing had happened."""
    for sql in conn.info["triggers"]:
        conn.exec_driver_sql(sql)


Attempt = Callable[[Callable[[Connection], None]], AuditReport]


@contextmanager
def attempts(store: Store, head: AuditHead | None = None) -> Iterator[Attempt]:
    """A function that returns the report after an attack that restored the triggers.

    All protection is taken off once; each attempt is undone before the next.
    """
    with tampering(store) as conn:

        def attempt(tamper: Callable[[Connection], None]) -> AuditReport:
            with conn.begin_nested() as undone:
                tamper(conn)
                cover_up(conn)
                report = verify(conn, head)
                undone.rollback()
            return report

        yield attempt


def attempt(
    store: Store, tamper: Callable[[Connection], None], head: AuditHead | None = None
) -> AuditReport:
    """A single one of :func:`attempts`."""
    with attempts(store, head) as attempt_once:
        return attempt_once(tamper)


def tables_named(report: AuditReport) -> set[str | None]:
    """The tables that a report's problems are in."""
    return {problem.table for problem in report.problems}


@contextmanager
def views_worded_once() -> Iterator[None]:
    """PostgreSQL formats each expected view once, not in every verification.

    That is half of the time of verifying a few rows, and does not depend on rows.
    """
    words = Postgresql.stored_view
    known: dict[tuple[str, str], str | None] = {}

    def stored_view(self: Postgresql, conn: Connection, name: str, definition: str) -> str | None:
        if (name, definition) not in known:
            known[name, definition] = words(self, conn, name, definition)
        return known[name, definition]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Postgresql, "stored_view", stored_view)
        yield


def another_value(column: sa.Column[object], dialect: str) -> str:
    """SQL for another value of a column."""
    name = column.name
    kind = column.type
    if isinstance(kind, UtcDateTime):
        if dialect == "sqlite":
            return f"'2001-02-03 04:05:06.' || substr(coalesce({name}, '.000001'), -6)"
        return f"coalesce({name} + interval '1 microsecond', now())"
    if isinstance(kind, sa.Boolean):
        return f"NOT coalesce({name}, {'0' if dialect == 'sqlite' else 'false'})"
    if isinstance(kind, sa.JSON):
        return "'{\"changed\":1}'"
    if isinstance(kind, sa.LargeBinary):
        return "x'00'" if dialect == "sqlite" else r"'\x00'::bytea"
    if isinstance(kind, sa.Date):
        return "'2001-02-03'"
    if isinstance(kind, sa.Double):
        return f"coalesce({name}, 0) + 0.0001"
    if isinstance(kind, sa.Text):
        return f"coalesce({name}, '') || 'x'"
    return f"coalesce({name}, 0) + 3333"


def nothing(conn: Connection, table: str, column: str) -> None:
    """Let a column of a table be NULL."""
    if conn.dialect.name != "sqlite":
        conn.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")


def key_of(table: str) -> list[str]:
    """The names of a table's primary key columns."""
    return [column.name for column in Base.metadata.tables[table].primary_key]


def where(conn: Connection, table: str, position: int) -> str:
    """SQL for the row at a position (0 first, -1 last) in the order of the primary key."""
    keys = key_of(table)
    names = ", ".join(keys)
    rows = conn.exec_driver_sql(f"SELECT {names} FROM {table} ORDER BY {names}").all()
    row = rows[position]
    return " AND ".join(
        f"{name} = '{value}'"
        if isinstance(value, str) or not isinstance(value, int)
        else f"{name} = {value}"
        for name, value in zip(keys, row, strict=True)
    )


def rehash(conn: Connection) -> None:
    """Compute the whole chain again, like an attacker who knows how."""
    previous = GENESIS
    rows = conn.exec_driver_sql(
        f"SELECT {entry_columns(dialect_of(conn))} FROM audit_log ORDER BY seq"
    ).all()
    for row in rows:
        seq, change, at, actor, action, subject, content, _, _ = row
        entry = Entry(seq, change, at, actor, action, subject, content, previous, "")
        digest = entry.computed_hash()
        conn.execute(
            sa.text("UPDATE audit_log SET previous = :previous, hash = :hash WHERE seq = :seq"),
            {"previous": previous, "hash": digest, "seq": entry.seq},
        )
        previous = digest
