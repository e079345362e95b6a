"""Checking the small tables: is each row what the last entry that speaks of it says?

What entries say is collected in a temporary SQLite database (SQLite keeps it in memory while it is
small and on disk when it is not), so that memory stays bounded however long the history is.
"""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import row_digest
from lfv_store.audit.entries import Entry
from lfv_store.audit.layouts import ROWWISE, canonical_columns
from lfv_store.audit.report import AuditReport, Findings
from lfv_store.database import any_text, driver_connection

_PAGE = 500
_SQLITE_INTEGERS = 2**63


class RowCheck:
    """Collects what entries say about rows, and compares it with the rows at the end."""

    def __init__(self, conn: Connection, report: AuditReport, findings: Findings) -> None:
        self._driver = driver_connection(conn)
        self._dialect = conn.dialect.name
        self._report = report
        self._findings = findings
        self._told = sqlite3.connect("")
        self._told.execute(
            "CREATE TABLE told (name TEXT, id INTEGER, seq INTEGER, digest TEXT,"
            " PRIMARY KEY (name, id)) WITHOUT ROWID"
        )

    def collect(self, entry: Entry, content: Mapping[str, Any]) -> None:
        """Note what an entry says about rows; later entries replace earlier ones."""
        rows = content.get("rows")
        if not isinstance(rows, list):
            return
        for told in rows:
            match told:
                case [str(table), int(row_id), layout, str(digest)] if (
                    table in ROWWISE
                    and layout == ROWWISE[table].number
                    and abs(row_id) < _SQLITE_INTEGERS
                ):
                    self._told.execute(
                        "INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?)",
                        (table, row_id, entry.seq, digest),
                    )
                case _:
                    self._findings.add(
                        "layout",
                        f"entry {entry.seq} digests a row in a way this release does not know",
                        seq=entry.seq,
                    )

    def finish(self) -> None:
        """Compare every row of every small table."""
        for table in ROWWISE:
            self._compare(table)
        self._told.close()

    def _compare(self, table: str) -> None:
        told = self._told.execute(
            "SELECT id, seq, digest FROM told WHERE name = ? ORDER BY id", (table,)
        )
        expected = told.fetchone()
        for row in self._rows(table):
            self._report.rows += 1
            while expected is not None and expected[0] < row[0]:
                self._gone(table, expected)
                expected = told.fetchone()
            if expected is None or expected[0] != row[0]:
                self._findings.add(
                    "stranger",
                    f"{table}: no entry speaks of the row with id {row[0]}",
                    table=table,
                    row_id=row[0],
                )
                continue
            if row_digest(row) != expected[2]:
                self._findings.add(
                    "row",
                    f"{table}: the row with id {row[0]} was changed after entry {expected[1]}",
                    seq=expected[1],
                    table=table,
                    row_id=row[0],
                )
            expected = told.fetchone()
        while expected is not None:
            self._gone(table, expected)
            expected = told.fetchone()

    def _gone(self, table: str, expected: Any) -> None:
        self._findings.add(
            "row",
            f"{table}: the row with id {expected[0]} is gone; entry {expected[1]} speaks of it",
            seq=expected[1],
            table=table,
            row_id=expected[0],
        )

    def _rows(self, table: str) -> Iterator[Any]:
        columns = ", ".join(canonical_columns(table, self._dialect))
        mark = "?" if self._dialect == "sqlite" else "%s"
        sql = f"SELECT {columns} FROM {table} WHERE id > {mark} ORDER BY id LIMIT {_PAGE}"
        after = -(2**62)
        while True:
            with any_text(self._driver):
                rows = self._driver.execute(sql, (after,)).fetchall()
            if not rows:
                return
            yield from rows
            after = rows[-1][0]
