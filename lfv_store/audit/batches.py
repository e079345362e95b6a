"""Checks that each change still has exactly the bulk rows that its audit entry promises.

One scan over the primary key reads the rows of many changes and splits them by the numbers of rows
that the entries promise. Only if a scan does not match is it repeated change by change, to name the
entry and the row.
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
from lfv_store.audit.report import AuditReport, Findings
from lfv_store.dialects import dialect_of
from lfv_store.dialects.base import UndecodableText

_FETCH_MASKS = 10
_FETCH = 500
"""Rows per block. Larger blocks do not fit in the processor's cache and take 1.5 times as long."""
_MAX_ROWS = 2**62
"""More rows than any table holds: the cap for forged entries that promise more."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The rows that an entry promises for its change in one table."""

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
        self._promised: Counter[str] = Counter()
        self._masks = 0
        #: Missing masks, with the entry of their detection; and those deleted with a signature.
        self._gone: dict[int, int] = {}
        self._pruned: set[int] = set()

    def check(self, page: Sequence[tuple[Entry, Mapping[str, Any]]]) -> None:
        """Check the rows that a page of entries promises."""
        changes = sorted(entry.change for entry, _ in page if isinstance(entry.change, int))
        for entry, content in page:
            self._pruned |= pruned_masks(entry, content)
        for table in BULK:
            promises = {
                promise.change: promise
                for entry, content in page
                if (promise := self._promise(table, entry, content)) is not None
            }
            if promises:
                self._promised[table] += sum(promise.rows for promise in promises.values())
                for run in _runs(changes, promises):
                    self._sweep(BULK[table], run)
                if table == "detections":
                    self._check_masks(promises)

    def finish(self) -> None:
        """Check that the tables hold no other rows."""
        for table, layout in BULK.items():
            found = self._count(table)
            self._report.rows += self._promised[table]
            if table == "inspections":
                self._report.inspections = self._promised[table]
            if found != self._promised[table] and self._report.ok:
                self._name_strangers(layout, found)
        for detection_id, seq in self._gone.items():
            if detection_id not in self._pruned:
                self._findings.add(
                    "mask",
                    f"masks: the mask of detection {detection_id} (entry {seq}) is gone",
                    seq=seq,
                    table="masks",
                    row_id=detection_id,
                )
        if self._count("masks") != self._masks and self._report.ok:
            self._findings.add(
                "stranger",
                "masks holds rows that belong to no detection's mask",
                table="masks",
            )

    def _promise(self, table: str, entry: Entry, content: Mapping[str, Any]) -> Promise | None:
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
                return Promise(
                    entry.seq, entry.change, entry.action, entry.subject, rows, digest, marks
                )
        self._findings.add(
            "layout",
            f"entry {entry.seq} digests {table} in a way this release does not know",
            seq=entry.seq,
            table=table,
        )
        return None

    def _sweep(self, layout: Layout, promises: Sequence[Promise]) -> None:
        first, last = promises[0].change, promises[-1].change
        with self._dialect.stream(self._conn, self._select(layout, first, last)) as fetch:
            try:
                fits = all(self._fits(fetch, promise) for promise in promises) and not fetch(1)
            except UndecodableText:  # looked at row by row below
                fits = False
        if not fits:
            before = len(self._report.problems)
            for promise in promises:
                self._examine(layout, promise)
            if len(self._report.problems) == before:
                self._findings.add(
                    "stranger",
                    f"{layout.table} holds rows between those of entries {promises[0].seq} and"
                    f" {promises[-1].seq} that no entry speaks of",
                    seq=promises[0].seq,
                    table=layout.table,
                )

    def _fits(self, fetch: Any, promise: Promise) -> bool:
        digest = RowsDigest()
        missing = promise.rows
        while missing:
            rows = fetch(min(_FETCH, missing))
            if (
                not rows
                or rows[0][0] // CHANGE_SPAN != promise.change
                or rows[-1][0] // CHANGE_SPAN != promise.change
            ):
                return False
            missing -= len(rows)
            digest.update(rows)
        return digest.hexdigest() == promise.sha256

    def _examine(self, layout: Layout, promise: Promise) -> None:
        """Check the rows of one change, and name the first that differs."""
        lines: list[bytes] = []
        keys: list[int] = []
        sql = self._select(layout, promise.change, promise.change)
        for row in self._dialect.select_raw(self._conn, f"{sql} LIMIT {promise.rows + 1}"):
            lines.append(row_line(row))
            keys.append(row[0])
        if lines_digest(lines) == promise.sha256:
            return
        position = first_difference(promise.marks, lines)
        key = keys[position] if position < len(keys) else None
        where = f"from {layout.key} {key} on" if key is not None else "at the end"
        self._findings.add(
            "rows",
            f"{layout.table}: the rows of entry {promise.seq} ({promise.action} {promise.subject})"
            f" were changed {where}: {len(lines)} rows found, {promise.rows} were written",
            seq=promise.seq,
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

    def _check_masks(self, promises: Mapping[int, Promise]) -> None:
        """Check each mask against the SHA-256 in its detection."""
        lowest, highest = min(promises), max(promises)
        sql = (
            "SELECT d.id, d.mask_sha256, m.png FROM detections d"
            " LEFT JOIN masks m ON m.detection_id = d.id"
            " WHERE d.mask_sha256 IS NOT NULL"
            f" AND d.id >= {lowest * CHANGE_SPAN:d} AND d.id < {(highest + 1) * CHANGE_SPAN:d}"
        )
        with self._dialect.stream(self._conn, sql, any_text=True) as fetch:
            while rows := fetch(_FETCH_MASKS):
                self._compare_masks(rows, promises)

    def _compare_masks(self, rows: Any, promises: Mapping[int, Promise]) -> None:
        for detection_id, expected, png in rows:
            promise = promises.get(detection_id // CHANGE_SPAN)
            if promise is None:
                continue  # belongs to a change on another page
            if png is None:
                self._gone[detection_id] = promise.seq
                continue
            self._masks += 1
            if not isinstance(png, bytes) or sha256(png).hexdigest() != expected:
                self._findings.add(
                    "mask",
                    f"masks: the mask of detection {detection_id} (entry {promise.seq})"
                    " is another one",
                    seq=promise.seq,
                    table="masks",
                    row_id=detection_id,
                )

    def _count(self, table: str) -> int:
        return int(self._conn.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())

    def _name_strangers(self, layout: Layout, found: int) -> None:
        """Name the first change with rows in a table that its entry does not mention."""
        promised = self._dialect.json_rows(layout.table)
        row = self._conn.exec_driver_sql(
            f"SELECT min(t.{layout.key}) FROM {layout.table} t WHERE NOT EXISTS"
            f" (SELECT 1 FROM audit_log a WHERE a.change = t.{layout.key} / {CHANGE_SPAN}"
            f" AND {promised} IS NOT NULL)"
        ).scalar()
        self._findings.add(
            "stranger",
            f"{layout.table} holds {found} rows, the log speaks of {self._promised[layout.table]};"
            f" the first that no entry speaks of has {layout.key} {row}",
            table=layout.table,
            row_id=row,
        )


def _runs(changes: Sequence[int], promises: Mapping[int, Promise]) -> Iterator[list[Promise]]:
    """Group promises into ranges without changes of other pages between them.

    `changes` are all changes of the page, sorted, including those without rows in this table.
    """
    run: list[Promise] = []
    previous: int | None = None
    for change in changes:
        if previous is not None and change != previous + 1 and run:
            yield run
            run = []
        if change in promises:
            run.append(promises[change])
        previous = change
    if run:
        yield run
