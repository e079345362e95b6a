"""Checks that each change still has exactly the rows of bulk tables that its audit entry records.

One scan over the primary key reads the rows of many changes and splits them by the row counts in
the entries. A scan that does not match is repeated change by change, to name the entry and the row.
"""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import RowsDigest, first_difference, lines_digest, row_line
from lfv_store.audit.entries import Entry, pruned_masks
from lfv_store.audit.layouts import BULK, CHANGE_SPAN, Layout, digested
from lfv_store.audit.verification import AuditReport, Findings
from lfv_store.dialects import dialect_of
from lfv_store.dialects.base import UndecodableText

_MASKS_PER_FETCH = 10
#: Larger blocks do not fit in the processor's cache and take 1.5 times as long.
_ROWS_PER_FETCH = 500
#: The largest row count accepted from an entry. A larger one is forged: no table is so large.
_MAX_ROWS = 2**62


@dataclass(frozen=True, slots=True)
class RecordedRows:
    """The rows that an entry records for its change in one table.

    `marks` has a checksum of each row, which shows where a difference begins.
    """

    seq: int
    change: int
    action: str
    subject: str
    rows: int
    sha256: str
    marks: str


class BatchCheck:
    """Checks the bulk tables, one page of entries at a time."""

    def __init__(self, conn: Connection, report: AuditReport, findings: Findings) -> None:
        self._conn = conn
        self._dialect = dialect_of(conn)
        self._report = report
        self._findings = findings
        self._recorded_rows: Counter[str] = Counter()
        self._masks_seen = 0
        #: For each missing mask, by detection id: the number of its detection's entry.
        self._gone: dict[int, int] = {}
        #: Detections whose masks were deleted, as a signed entry records.
        self._pruned: set[int] = set()

    def check(self, page: Sequence[tuple[Entry, Mapping[str, Any]]]) -> None:
        """Check the rows that a page of entries records."""
        changes = sorted(entry.change for entry, _ in page if isinstance(entry.change, int))
        for entry, content in page:
            self._pruned |= pruned_masks(entry, content)
        for table in BULK:
            recorded = {
                entry_rows.change: entry_rows
                for entry, content in page
                if (entry_rows := self._rows_of(table, entry, content)) is not None
            }
            if recorded:
                self._recorded_rows[table] += sum(
                    entry_rows.rows for entry_rows in recorded.values()
                )
                for rows in _contiguous_ranges(changes, recorded):
                    self._check_range(BULK[table], rows)
                if table == "detections":
                    self._check_masks(recorded)

    def finish(self) -> None:
        """Check that the tables hold no other rows, and report masks that are missing."""
        for table, layout in BULK.items():
            found = self._count(table)
            self._report.rows += self._recorded_rows[table]
            if table == "inspections":
                self._report.inspections = self._recorded_rows[table]
            if found != self._recorded_rows[table] and self._report.ok:
                self._report_unrecorded_rows(layout, found)
        for detection_id, seq in self._gone.items():
            if detection_id not in self._pruned:
                self._findings.add(
                    "mask",
                    f"masks: the mask of detection {detection_id} (entry {seq}) is gone",
                    seq=seq,
                    table="masks",
                    row_id=detection_id,
                )
        if self._count("masks") != self._masks_seen and self._report.ok:
            self._findings.add(
                "stranger",
                "masks holds rows that belong to no detection",
                table="masks",
            )

    def _rows_of(self, table: str, entry: Entry, content: Mapping[str, Any]) -> RecordedRows | None:
        bulk = content.get("bulk")
        if not isinstance(bulk, dict) or table not in bulk:
            return None
        match bulk[table]:
            case {
                "layout": layout,
                "rows": int(rows),
                "sha256": str(digest),
                "marks": str(marks),
            } if (
                layout == BULK[table].number
                and isinstance(entry.change, int)
                and 0 <= rows <= _MAX_ROWS
            ):
                return RecordedRows(
                    entry.seq, entry.change, entry.action, entry.subject, rows, digest, marks
                )
        self._findings.add(
            "layout",
            f"entry {entry.seq} has a digest of {table} that this release cannot read",
            seq=entry.seq,
            table=table,
        )
        return None

    def _check_range(self, layout: Layout, recorded: Sequence[RecordedRows]) -> None:
        first, last = recorded[0].change, recorded[-1].change
        with self._dialect.stream(self._conn, self._select(layout, first, last)) as fetch:
            try:
                matches = all(
                    self._matches(fetch, entry_rows) for entry_rows in recorded
                ) and not fetch(1)
            except UndecodableText:  # found row by row below
                matches = False
        if not matches:
            before = len(self._report.problems)
            for entry_rows in recorded:
                self._examine(layout, entry_rows)
            if len(self._report.problems) == before:
                self._findings.add(
                    "stranger",
                    f"{layout.table} holds rows between those of entries {recorded[0].seq} and"
                    f" {recorded[-1].seq} that no entry records",
                    seq=recorded[0].seq,
                    table=layout.table,
                )

    def _matches(self, fetch: Any, entry_rows: RecordedRows) -> bool:
        digest = RowsDigest()
        missing = entry_rows.rows
        while missing:
            rows = fetch(min(_ROWS_PER_FETCH, missing))
            if (
                not rows
                or rows[0][0] // CHANGE_SPAN != entry_rows.change
                or rows[-1][0] // CHANGE_SPAN != entry_rows.change
            ):
                return False
            missing -= len(rows)
            digest.update(rows)
        return digest.hexdigest() == entry_rows.sha256

    def _examine(self, layout: Layout, entry_rows: RecordedRows) -> None:
        """Check the rows of one change, and name the first that differs."""
        lines: list[bytes] = []
        keys: list[int] = []
        sql = self._select(layout, entry_rows.change, entry_rows.change)
        for row in self._dialect.select_raw(self._conn, f"{sql} LIMIT {entry_rows.rows + 1}"):
            lines.append(row_line(row))
            keys.append(row[0])
        if lines_digest(lines) == entry_rows.sha256:
            return
        position = first_difference(entry_rows.marks, lines)
        key = keys[position] if position < len(keys) else None
        where = f"from {layout.key} {key} on" if key is not None else "at the end"
        self._findings.add(
            "rows",
            f"{layout.table}: the rows of entry {entry_rows.seq}"
            f" ({entry_rows.action} {entry_rows.subject}) were changed {where}:"
            f" {len(lines)} rows found, {entry_rows.rows} were written",
            seq=entry_rows.seq,
            table=layout.table,
            row_id=key,
        )

    def _select(self, layout: Layout, first: int, last: int) -> str:
        """Return SQL for the rows of some changes, in digest order."""
        columns = ", ".join(digested(layout, self._dialect))
        return (
            f"SELECT {columns} FROM {layout.table} WHERE {layout.key} >= {first * CHANGE_SPAN:d}"
            f" AND {layout.key} < {(last + 1) * CHANGE_SPAN:d} ORDER BY {', '.join(layout.order)}"
        )

    def _check_masks(self, recorded: Mapping[int, RecordedRows]) -> None:
        """Check each mask against the SHA-256 in its detection."""
        lowest, highest = min(recorded), max(recorded)
        sql = (
            "SELECT d.id, d.mask_sha256, m.png FROM detections d"
            " LEFT JOIN masks m ON m.detection_id = d.id"
            " WHERE d.mask_sha256 IS NOT NULL"
            f" AND d.id >= {lowest * CHANGE_SPAN:d} AND d.id < {(highest + 1) * CHANGE_SPAN:d}"
        )
        with self._dialect.stream(self._conn, sql, any_text=True) as fetch:
            while rows := fetch(_MASKS_PER_FETCH):
                self._compare_masks(rows, recorded)

    def _compare_masks(self, rows: Any, recorded: Mapping[int, RecordedRows]) -> None:
        for detection_id, expected, png in rows:
            entry_rows = recorded.get(detection_id // CHANGE_SPAN)
            if entry_rows is None:
                continue  # belongs to a change on another page
            if png is None:
                self._gone[detection_id] = entry_rows.seq
                continue
            self._masks_seen += 1
            if not isinstance(png, bytes) or sha256(png).hexdigest() != expected:
                self._findings.add(
                    "mask",
                    f"masks: the mask of detection {detection_id} (entry {entry_rows.seq})"
                    " differs from the recorded one",
                    seq=entry_rows.seq,
                    table="masks",
                    row_id=detection_id,
                )

    def _count(self, table: str) -> int:
        return int(self._conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    def _report_unrecorded_rows(self, layout: Layout, found: int) -> None:
        """Report the first row of a table that no entry records."""
        has_rows = self._dialect.json_rows(layout.table)
        row = self._conn.exec_driver_sql(
            f"SELECT min(t.{layout.key}) FROM {layout.table} t WHERE NOT EXISTS"
            f" (SELECT 1 FROM audit_log a WHERE a.change = t.{layout.key} / {CHANGE_SPAN}"
            f" AND {has_rows} IS NOT NULL)"
        ).scalar()
        self._findings.add(
            "stranger",
            f"{layout.table} holds {found} rows, the log records"
            f" {self._recorded_rows[layout.table]}; the first that no entry records"
            f" has {layout.key} {row}",
            table=layout.table,
            row_id=row,
        )


def _contiguous_ranges(
    changes: Sequence[int], recorded: Mapping[int, RecordedRows]
) -> Iterator[list[RecordedRows]]:
    """Group recorded rows into ranges of changes that no change of another page interrupts.

    `changes` are all changes of the page, sorted, including those without rows in this table.
    """
    group: list[RecordedRows] = []
    previous: int | None = None
    for change in changes:
        if previous is not None and change != previous + 1 and group:
            yield group
            group = []
        if change in recorded:
            group.append(recorded[change])
        previous = change
    if group:
        yield group
