"""A change: the writes of one transaction, and the audit entry that vouches for them.

All writers take locks in the same order, so that they cannot deadlock: first the change's subject
(a run's row, or all hostings), then new images, and last the chain. The chain is locked only for
one insert and the commit, so that writers run in parallel until their last step. Ids of the small
tables are assigned under the chain's lock. Ids of the bulk tables follow from the change's number,
which is taken first and needs no lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import (
    Cell,
    lines_digest,
    lines_marks,
    row_digest,
    row_lines,
)
from lfv_store.audit.layouts import BULK, CHANGE_SPAN, ROWWISE
from lfv_store.clean_text import json_value
from lfv_store.column_types import utc_text
from lfv_store.database import Database
from lfv_store.dialects.base import (
    Batch,
    BatchFacts,
    Deletion,
    EntryFields,
    Masks,
    Rows,
    Write,
    canonical_json,
)
from lfv_store.errors import InvalidRecord, UnknownRun
from lfv_store.tables import AuditLogTable, Base

_CHAIN_LOCK = 0x6C66_7601
_HOSTING_LOCK = 0x6C66_7602
T = TypeVar("T")


class Change:
    """The writes of one transaction. Created by commit(), and valid only during its call."""

    def __init__(self, database: Database, conn: Connection, *, begun: bool = True) -> None:
        self._conn = conn
        self._begun = begun
        self._writes: list[Write] = []
        self.dialect = database.dialect
        self._number: int | None = None
        self._now: datetime | None = None
        self._locked = False
        self._bulk: dict[str, Any] = {}
        self._touched: dict[tuple[str, int], None] = {}
        self._facts: dict[str, Any] = {}

    @property
    def conn(self) -> Connection:
        """The connection, after all writes of this change so far."""
        self.flush()
        return self._conn

    def flush(self) -> None:
        """Execute the queued writes."""
        if self._writes:
            writes, self._writes = self._writes, []
            self.dialect.write(self._conn, writes)

    def begin_batch(self, batch: Batch) -> BatchFacts:
        """Lock a run, store a batch's new images, and look up what the batch refers to.

        Must precede everything that needs the change's number. Raises UnknownRun.
        """
        if self._number is not None:
            raise RuntimeError("a batch begins after rows were written")
        facts = self.dialect.begin_batch(self.conn, batch, span=CHANGE_SPAN, begin=not self._begun)
        if facts is None:
            raise UnknownRun(f"no run has id {batch.run_id!r}")
        self._begun = True
        self._number, self._now = facts.change, facts.now
        return facts

    @property
    def number(self) -> int:
        """This change's number: unique and increasing, on PostgreSQL with gaps."""
        if self._number is None:
            self._number = self.dialect.next_change(self.conn)
        return self._number

    @property
    def first_id(self) -> int:
        """The first id for bulk rows of this change."""
        return self.number * CHANGE_SPAN

    @property
    def now(self) -> datetime:
        """The database's time, read once per change."""
        if self._now is None:
            self._now = self.dialect.now(self.conn)
        return self._now

    def lock_hostings(self) -> None:
        """Lock hostings and leases until the commit."""
        self.dialect.lock(self.conn, _HOSTING_LOCK)

    def lock_chain(self) -> None:
        """Lock the audit log until the commit."""
        if not self._locked:
            self.dialect.lock(self.conn, _CHAIN_LOCK)
            self._locked = True

    def next_id(self, table: str) -> int:
        """Return the next id of a small audited table, under the chain's lock."""
        self.lock_chain()
        newest = sa.func.max(Base.metadata.tables[table].c.id)
        return int(self.conn.scalar(sa.select(newest)) or 0) + 1

    def insert(self, table: str, **values: Any) -> int:
        """Insert a row into a small audited table and return its id."""
        row_id = self.next_id(table)
        target = Base.metadata.tables[table]
        self.conn.execute(sa.insert(target).values(id=row_id, **_storable(target, values)))
        self.touch(table, row_id)
        return row_id

    def update(self, table: str, row_id: int, **values: Any) -> None:
        """Update a row of a small audited table, whose lock must be held."""
        target = Base.metadata.tables[table]
        storable = _storable(target, values)
        self.conn.execute(sa.update(target).where(target.c.id == row_id).values(**storable))
        self.touch(table, row_id)

    def touch(self, table: str, row_id: int) -> None:
        """Include this row, as it is at the end of the change, in the entry."""
        if table not in ROWWISE:
            raise ValueError(table)
        self._touched[table, row_id] = None

    def state(self, **facts: Any) -> None:
        """Include facts in the entry that no audited row holds."""
        self._facts |= facts

    def insert_bulk(self, table: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        """Insert rows into a bulk table, in digest order. Once per table and change."""
        if rows:
            self._writes.append(self.digest_bulk(table, rows))

    def insert_masks(self, masks: Sequence[tuple[int, bytes]]) -> None:
        """Insert the masks of this change's detections, by detection id."""
        if masks:
            self._writes.append(Masks(masks))

    def delete(self, table: str, key: str, values: Sequence[Any], **equal: int) -> None:
        """Delete the rows of an unaudited table whose `key` is among the values."""
        if values:
            self._writes.append(Deletion(table, key, values, equal))

    def digest_bulk(self, table: str, rows: Sequence[Mapping[str, Cell]]) -> Rows:
        """Include rows of a bulk table in the entry, and return the write that inserts them."""
        layout = BULK[table]
        if len(rows) > CHANGE_SPAN or table in self._bulk:
            raise InvalidRecord(f"too many rows of {table} in one change")
        in_order = itemgetter(*layout.columns)
        cells = [in_order(row) for row in rows]
        lines = row_lines(cells)
        self._bulk[table] = {
            "layout": layout.number,
            "rows": len(lines),
            "sha256": lines_digest(lines),
            "marks": lines_marks(lines),
        }
        return Rows(table, layout.columns, cells, lines)

    @property
    def is_audited(self) -> bool:
        """Whether this change has anything for an audit entry."""
        return bool(self._bulk or self._touched or self._facts)

    def append(self, actor: str, action: str, subject: str) -> None:
        """Execute the queued writes and write the entry. Called by commit()."""
        number = self.number
        at = utc_text(self.now)
        rows = [
            [table, row_id, ROWWISE[table].number, self._row_digest(table, row_id)]
            for table, row_id in self._touched
        ]
        content: dict[str, Any] = {}
        if self._bulk:
            content["bulk"] = self._bulk
        if rows:
            content["rows"] = rows
        if self._facts:
            content["facts"] = json_value(self._facts)
        entry = EntryFields(number, at, actor, action, subject, canonical_json(content))
        lock = None if self._locked else _CHAIN_LOCK
        writes, self._writes = self._writes, []
        self.dialect.append(self._conn, writes, entry, lock=lock)

    def _row_digest(self, table: str, row_id: int) -> str:
        columns = Base.metadata.tables[table].c
        selected = sa.select(*(columns[name] for name in ROWWISE[table].columns))
        row = self.conn.execute(selected.where(columns.id == row_id)).one()
        return row_digest(
            [
                canonical_cell(columns[name].type, value)
                for name, value in zip(ROWWISE[table].columns, row, strict=True)
            ]
        )


def canonical_cell(kind: sa.types.TypeEngine[Any], value: Any) -> Cell:
    """Convert a column's Python value for digests. The checker does the same in its own SQL."""
    if value is None:
        return None
    if isinstance(kind, sa.JSON):
        return canonical_json(value)
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, bool):
        return int(value)
    cell: Cell = value
    return cell


def _storable(table: sa.Table, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values, those of JSON columns in a form that both databases accept."""
    return {
        name: json_value(value) if isinstance(table.c[name].type, sa.JSON) else value
        for name, value in values.items()
    }


def commit(
    database: Database,
    actor: str,
    action: str,
    subject: str,
    work: Callable[[Change], T],
    *,
    begin: bool = True,
) -> T:
    """Run `work` in a write transaction that ends with the audit entry, and return its result.

    Without `begin`, `work` starts the transaction itself by Change.begin_batch(). Rows and entry
    are committed atomically. The transaction is repeated while the database is unavailable, so
    `work` must have no other effects. If the connection breaks during a commit, the log shows
    whether the commit took effect, so that no change is made twice.

    Raises:
        StoreUnavailable: The time for retries is over. The last commit may have taken effect.
    """
    doubtful: tuple[int, datetime, T] | None = None

    def attempt() -> T:
        nonlocal doubtful
        if doubtful is not None:
            number, at, result = doubtful
            if _is_committed(database, number, at):
                return result
            doubtful = None
        with database.write(begin=begin) as conn:
            change = Change(database, conn, begun=begin)
            result = work(change)
            if change.is_audited:
                doubtful = (change.number, change.now, result)
                change.append(actor, action, subject)
            else:
                change.flush()
        return result

    return database.retry(attempt)


def _is_committed(database: Database, number: int, at: datetime) -> bool:
    """Whether the log has the entry of a change.

    On SQLite another process may have reused the number of a failed change, but at another time.
    """
    with database.write() as conn:
        # The lost session may still be committing, and holds this lock until it is done.
        Change(database, conn).lock_chain()
        entry = sa.select(AuditLogTable.seq).where(
            AuditLogTable.change == number, AuditLogTable.at == at
        )
        return conn.scalar(entry) is not None


def png_digest(png: bytes) -> str:
    """Return the SHA-256, in hex, of a mask's bytes, as stored in `detections.mask_sha256`."""
    return hashlib.sha256(png).hexdigest()
