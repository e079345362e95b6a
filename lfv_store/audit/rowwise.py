"""Checks each row of the small tables against the last audit entry that mentions it.

The entries' statements are collected in a temporary SQLite database, which spills to disk when it
grows, so that memory is bounded however long the history is.
"""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import Cells, row_digest
from lfv_store.audit.entries import Entry
from lfv_store.audit.layouts import ROWWISE, ROWWISE_LAYOUTS, digested
from lfv_store.audit.verification import AuditReport, Findings
from lfv_store.dialects import dialect_of

_PAGE = 500
_SQLITE_INTEGERS = 2**63


class RowCheck:
    """Collects the entries' digests of rows, and compares them with the rows at the end."""

    def __init__(self, conn: Connection, report: AuditReport, findings: Findings) -> None:
        self._conn = conn
        self._dialect = dialect_of(conn)
        self._report = report
        self._findings = findings
        self._digests = sqlite3.connect("")
        self._digests.execute(
            "CREATE TABLE digests (name TEXT, id INTEGER, seq INTEGER, layout INTEGER, digest TEXT,"
            " PRIMARY KEY (name, id)) WITHOUT ROWID"
        )

    def collect(self, entry: Entry, content: Mapping[str, Any]) -> None:
        """Collect an entry's digests of rows; later entries replace earlier ones."""
        rows = content.get("rows")
        if not isinstance(rows, list):
            return
        for recorded in rows:
            match recorded:
                case [str(table), int(row_id), int(layout), str(digest)] if (
                    table,
                    layout,
                ) in ROWWISE_LAYOUTS and abs(row_id) < _SQLITE_INTEGERS:
                    self._digests.execute(
                        "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?)",
                        (table, row_id, entry.seq, layout, digest),
                    )
                case _:
                    self._findings.add(
                        "layout",
                        f"entry {entry.seq} has a digest of a row that this release cannot read",
                        seq=entry.seq,
                    )

    def finish(self) -> None:
        """Compare every row of every small table."""
        for table in ROWWISE:
            self._compare(table)
        self._digests.close()

    def _compare(self, table: str) -> None:
        recorded = self._digests.execute(
            "SELECT id, seq, layout, digest FROM digests WHERE name = ? ORDER BY id", (table,)
        )
        expected = recorded.fetchone()
        for row_id, cells in self._rows(table):
            self._report.rows += 1
            while expected is not None and expected[0] < row_id:
                self._report_gone(table, expected)
                expected = recorded.fetchone()
            if expected is None or expected[0] != row_id:
                self._findings.add(
                    "stranger",
                    f"{table}: no entry records the row with id {row_id}",
                    table=table,
                    row_id=row_id,
                )
                continue
            _, seq, layout, digest = expected
            if row_digest(cells[layout]) != digest:
                self._findings.add(
                    "row",
                    f"{table}: the row with id {row_id} was changed after entry {seq}",
                    seq=seq,
                    table=table,
                    row_id=row_id,
                )
            expected = recorded.fetchone()
        while expected is not None:
            self._report_gone(table, expected)
            expected = recorded.fetchone()

    def _report_gone(self, table: str, expected: Any) -> None:
        self._findings.add(
            "row",
            f"{table}: the row with id {expected[0]} is gone; entry {expected[1]} records it",
            seq=expected[1],
            table=table,
            row_id=expected[0],
        )

    def _rows(self, table: str) -> Iterator[tuple[Any, dict[int, Cells]]]:
        """Yield each row's id, and its cells by layout number."""
        layouts = [layout for (name, _), layout in ROWWISE_LAYOUTS.items() if name == table]
        columns = [column for layout in layouts for column in digested(layout, self._dialect)]
        sql = f"SELECT {', '.join(columns)} FROM {table} WHERE id > ? ORDER BY id LIMIT {_PAGE}"
        after = -(2**62)
        while rows := self._dialect.select_raw(self._conn, sql, after):
            for row in rows:
                cells: dict[int, Cells] = {}
                start = 0
                for layout in layouts:
                    cells[layout.number] = row[start : start + len(layout.columns)]
                    start += len(layout.columns)
                yield row[0], cells
            after = rows[-1][0]
