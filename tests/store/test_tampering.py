"""Every change of rows that bypasses the store is detected."""

# ruff: noqa: S608 -- an attacker does not use parameters

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress, product

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store import Store
from lfv_store.audit.guards import APPEND_ONLY
from lfv_store.audit.layouts import BULK, LAYOUTS
from lfv_store.tables import Base
from tests.support.tampering import (
    another_value,
    attempt,
    attempts,
    key_of,
    nothing,
    tables_named,
    views_worded_once,
    where,
)

TALLIES = ("tallies", "answer_tallies", "anomaly_tallies")
AUDITED = (*LAYOUTS, "masks", "audit_log", *TALLIES)


@pytest.fixture(scope="module", autouse=True)
def views_as_they_are() -> Iterator[None]:
    """No test of this file changes a view."""
    with views_worded_once():
        yield


def test_every_table_and_column_is_covered() -> None:
    working_state = {"pending_items", "run_progress", "lease_heartbeats", "sessions"}
    working_state |= {"review_leases", "second_reviews", "model_paces", "run_workers"}
    working_state |= {"watermark_sources", "watermark_objects", "watermark_runs"}
    assert set(Base.metadata.tables) == {*AUDITED, *working_state}
    for table, layout in LAYOUTS.items():
        assert set(layout.columns) == set(Base.metadata.tables[table].c.keys()), table
    assert set(APPEND_ONLY) <= set(AUDITED)


@pytest.mark.parametrize("table", AUDITED)
def test_a_changed_column_is_detected(full: Store, table: str) -> None:
    columns = list(Base.metadata.tables[table].c)
    with attempts(full) as attempt:
        for column, position in product(columns, (0, -1)):

            def change(
                conn: Connection, column: sa.Column[object] = column, position: int = position
            ) -> None:
                row = where(conn, table, position)
                value = another_value(column, conn.dialect.name)
                conn.exec_driver_sql(f"UPDATE {table} SET {column.name} = {value} WHERE {row}")

            report = attempt(change)
            assert table in tables_named(report), (table, column.name, position, report.problems)


@pytest.mark.parametrize("table", AUDITED)
def test_an_emptied_column_is_detected(full: Store, table: str) -> None:
    columns = [c.name for c in Base.metadata.tables[table].c if not c.primary_key]
    with full.database.read() as conn:
        if conn.dialect.name == "sqlite":
            # SQLite cannot drop NOT NULL; the test on PostgreSQL covers these columns.
            nullable = {c["name"] for c in sa.inspect(conn).get_columns(table) if c["nullable"]}
            columns = [name for name in columns if name in nullable]
        counts = ", ".join(f"count({name})" for name in columns) or "count(*)"
        filled = conn.exec_driver_sql(f"SELECT {counts} FROM {table}").one()
    with attempts(full) as attempt:
        for name in compress(columns, filled):

            def empty(conn: Connection, name: str = name) -> None:
                nothing(conn, table, name)
                conn.exec_driver_sql(f"UPDATE {table} SET {name} = NULL WHERE {name} IS NOT NULL")

            report = attempt(empty)
            assert table in tables_named(report), (table, name, report.problems)


@pytest.mark.parametrize("table", AUDITED)
@pytest.mark.parametrize("position", [0, 1, -1], ids=["first", "middle", "last"])
def test_a_deleted_row_is_detected(full: Store, table: str, position: int) -> None:
    def delete(conn: Connection) -> None:
        row = where(conn, table, position)
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE {row}")

    report = attempt(full, delete)
    named = tables_named(report)
    if table == "audit_log" and position == -1:
        assert named, report  # the log is one entry shorter; the entry's rows reveal it
        assert named != {"audit_log"}
    else:
        assert table in named, report.problems


@pytest.mark.parametrize("table", AUDITED)
@pytest.mark.parametrize("shift", [1, 5_000_000], ids=["beside", "far"])
def test_an_inserted_row_is_detected(full: Store, table: str, shift: int) -> None:
    key = key_of(table)[0]
    unique = {
        column.name
        for constraint in Base.metadata.tables[table].constraints
        if isinstance(constraint, sa.UniqueConstraint)
        for column in constraint.columns
        if isinstance(column.type, sa.Text)
    }
    numbers = {"change", "number", "line_number", "decision_id"}
    if table == "hosting_usage":
        numbers.add("hosting_id")

    def insert(conn: Connection) -> None:
        row = where(conn, table, -1)
        names = list(Base.metadata.tables[table].c.keys())
        values = [
            f"{name} + {shift}"
            if name == key or (name in numbers and table != "verdicts")
            else (f"{name} + 1" if name == "decision_id" else f"{name} || 'x'")
            if name in unique or name == "decision_id"
            else name
            for name in names
        ]
        conn.exec_driver_sql(
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)}"
            f" FROM {table} WHERE {row}"
        )

    report = attempt(full, insert)
    assert table in tables_named(report), report.problems


@pytest.mark.parametrize("table", [*BULK, "reviews", "audit_log"])
def test_two_exchanged_rows_are_detected(full: Store, table: str) -> None:
    key = key_of(table)[0] if table not in ("anomalies", "inspection_attributes") else None

    def swap(conn: Connection) -> None:
        if key is None:  # exchange the content of two rows
            column = "color" if table == "anomalies" else "value"
            one, two = where(conn, table, 0), where(conn, table, 1)
            values = [
                conn.exec_driver_sql(f"SELECT {column} FROM {table} WHERE {row}").scalar()
                for row in (one, two)
            ]
            for row, value in ((one, values[1]), (two, values[0])):
                conn.exec_driver_sql(f"UPDATE {table} SET {column} = '{value}' WHERE {row}")
            return
        ids = conn.exec_driver_sql(f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 2").scalars()
        one_id, two_id = ids.all()
        for old, new in ((one_id, -1), (two_id, one_id), (-1, two_id)):
            conn.exec_driver_sql(f"UPDATE {table} SET {key} = {new} WHERE {key} = {old}")

    report = attempt(full, swap)
    assert table in tables_named(report), report.problems


def test_a_problem_names_the_entry_and_the_row(full: Store) -> None:
    def change(conn: Connection) -> None:
        conn.exec_driver_sql(
            "UPDATE inspections SET verdict = 'accept' WHERE verdict = 'reject'"
            " AND line_number = 2 AND run_id = 2"
        )

    with full.database.read() as conn:
        wanted = conn.exec_driver_sql(
            "SELECT id FROM inspections WHERE line_number = 2 AND run_id = 2"
        ).scalar_one()
        seq = conn.exec_driver_sql(
            f"SELECT seq FROM audit_log WHERE change = {wanted // 1_000_000}"
        ).scalar_one()
    report = attempt(full, change)
    (problem,) = report.problems
    assert (problem.kind, problem.table) == ("rows", "inspections")
    assert (problem.seq, problem.row_id) == (seq, wanted)
    assert f"entry {seq}" in problem.message
    assert report.first_bad_seq == seq


ODD_VALUES = {
    "sqlite": [
        ("inspections", "source_ref", "CAST(source_ref AS BLOB)"),
        ("inspections", "source_ref", "CAST(x'ff' AS TEXT)"),
        ("inspection_attributes", "value", "x'ff'"),
        ("runs", "source", "CAST(source AS BLOB)"),
        ("runs", "source", "CAST(x'ff' AS TEXT)"),
        ("audit_log", "content", "CAST(content AS BLOB)"),
        ("audit_log", "actor", "CAST(x'ff' AS TEXT)"),
        ("masks", "png", "'text'"),
        ("masks", "png", "CAST(x'ff' AS TEXT)"),
        ("detections", "latency_ms", "9e999"),
        ("hostings", "claimed_until", "'infinity'"),
    ],
    "postgresql": [
        ("detections", "latency_ms", "'infinity'"),
        ("detections", "latency_ms", "'NaN'"),
        ("hostings", "claimed_until", "'infinity'"),
        ("models", "created_at", "'-infinity'"),
        ("reviews", "reviewed_at", "'2026-03-04 05:06:07+00 BC'"),
        ("audit_log", "at", "'2026-03-04 05:06:07+00 BC'"),
    ],
}


@pytest.mark.parametrize(
    ("full", "table", "column", "value"),
    [(database, *odd) for database, values in ODD_VALUES.items() for odd in values],
    ids=[f"{database}-{n}" for database, values in ODD_VALUES.items() for n in range(len(values))],
    indirect=["full"],
)
def test_values_that_the_store_never_writes_are_detected(
    full: Store, table: str, column: str, value: str
) -> None:
    def change(conn: Connection) -> None:
        row = where(conn, table, 0)
        conn.exec_driver_sql(f"UPDATE {table} SET {column} = {value} WHERE {row}")

    def fill_in(conn: Connection) -> None:
        conn.exec_driver_sql(f"UPDATE {table} SET {column} = {value} WHERE {column} IS NULL")

    assert table in tables_named(attempt(full, change))
    with full.database.read() as conn:
        empty = conn.exec_driver_sql(f"SELECT 1 FROM {table} WHERE {column} IS NULL").first()
    if empty is not None:
        assert table in tables_named(attempt(full, fill_in))
