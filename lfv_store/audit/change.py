"""A change: one transaction's writes, and the audit entry that vouches for them.

Order of locks, so that no two writers wait for each other: first what the change is about (a run's
row, or all hostings), then new images, and last the chain. The chain is held for one insert and the
commit only, so that writers run side by side until their very last step. Ids of the small tables
are counted under the chain's lock; ids of the bulk tables follow from the change's number, which is
taken first and needs no lock.
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
    GENESIS,
    Cell,
    Cells,
    entry_hash,
    lines_digest,
    lines_marks,
    row_digest,
    row_lines,
)
from lfv_store.audit.layouts import BULK, CHANGE_SPAN, ROWWISE
from lfv_store.database import Database
from lfv_store.dialects.base import canonical_json
from lfv_store.errors import InvalidRecord
from lfv_store.tables import AuditLogTable, Base
from lfv_store.text import json_value
from lfv_store.types import utc_text

_CHAIN_LOCK = 0x6C66_7601
_HOSTING_LOCK = 0x6C66_7602
T = TypeVar("T")
_RECENT_ENTRIES = 10_000


class Change:
    """The writes of one transaction. Made by commit(); do not keep it beyond its block."""

    def __init__(self, database: Database, conn: Connection) -> None:
        self.conn = conn
        self.dialect = database.dialect
        self._number: int | None = None
        self._now: datetime | None = None
        self._locked = False
        self._bulk: dict[str, Any] = {}
        self._touched: dict[tuple[str, int], None] = {}
        self._facts: dict[str, Any] = {}

    @property
    def number(self) -> int:
        """This change's number: unique, growing, but on PostgreSQL not without gaps."""
        if self._number is None:
            self._number = self.dialect.next_change(self.conn)
        return self._number

    @property
    def first_id(self) -> int:
        """The first id that bulk rows of this change may have."""
        return self.number * CHANGE_SPAN

    @property
    def now(self) -> datetime:
        """The database's time, once per change."""
        if self._now is None:
            self._now = self.dialect.now(self.conn)
        return self._now

    def lock_hostings(self) -> None:
        """Be the only one to change hostings and leases until the commit."""
        self.dialect.lock(self.conn, _HOSTING_LOCK)

    def lock_chain(self) -> None:
        """Be the only one to append to the audit log until the commit."""
        if not self._locked:
            self.dialect.lock(self.conn, _CHAIN_LOCK)
            self._locked = True

    def next_id(self, table: str) -> int:
        """The next id of a small audited table, counted under the chain's lock."""
        self.lock_chain()
        newest = sa.func.max(Base.metadata.tables[table].c.id)
        return int(self.conn.scalar(sa.select(newest)) or 0) + 1

    def insert(self, table: str, **values: Any) -> int:
        """Insert one row of a small audited table; returns its id."""
        row_id = self.next_id(table)
        target = Base.metadata.tables[table]
        self.conn.execute(sa.insert(target).values(id=row_id, **_storable(target, values)))
        self.touch(table, row_id)
        return row_id

    def update(self, table: str, row_id: int, **values: Any) -> None:
        """Update one row of a small audited table. Its lock is to be held already."""
        target = Base.metadata.tables[table]
        storable = _storable(target, values)
        self.conn.execute(sa.update(target).where(target.c.id == row_id).values(**storable))
        self.touch(table, row_id)

    def touch(self, table: str, row_id: int) -> None:
        """Have the entry speak of this row, as it is when the change ends."""
        if table not in ROWWISE:
            raise ValueError(table)
        self._touched[table, row_id] = None

    def state(self, **facts: Any) -> None:
        """Have the entry state facts that no audited row holds."""
        self._facts |= facts

    def insert_bulk(self, table: str, rows: Sequence[Mapping[str, Cell]]) -> None:
        """Insert rows into a bulk table, in digest order. Once per table and change."""
        if rows:
            cells = self.digest_bulk(table, rows)
            self.dialect.insert(self.conn, table, BULK[table].columns, cells)

    def digest_bulk(self, table: str, rows: Sequence[Mapping[str, Cell]]) -> list[Cells]:
        """Have the entry speak of rows of a bulk table that the caller inserts.

        Returns their cells in the order of the layout.
        """
        if not rows:
            return []
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
        return cells

    def append(self, actor: str, action: str, subject: str) -> str | None:
        """Write the entry and return its hash; None if nothing was written. Called by commit()."""
        if not self._bulk and not self._touched and not self._facts:
            return None
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
        self.lock_chain()
        last, previous = self.dialect.last_entry(self.conn) or (0, GENESIS)
        seq = last + 1
        text = canonical_json(content)
        entry = {
            "seq": seq,
            "change": number,
            "at": at,
            "actor": actor,
            "action": action,
            "subject": subject,
            "content": text,
            "previous": previous,
            "hash": entry_hash(seq, number, at, actor, action, subject, text, previous),
        }
        self.dialect.insert(self.conn, "audit_log", tuple(entry), [tuple(entry.values())])
        return str(entry["hash"])

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
    """A column's Python value as digests see it; the checker has SQL of its own for the same."""
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
    """The values, with what goes into JSON columns made so that every database takes it."""
    return {
        name: json_value(value) if isinstance(table.c[name].type, sa.JSON) else value
        for name, value in values.items()
    }


def commit(
    database: Database, actor: str, action: str, subject: str, work: Callable[[Change], T]
) -> T:
    """Run `work` in a write transaction that ends with the audit entry, and return its result.

    Rows and entry are committed together or not at all. While the database is unavailable the
    transaction is repeated, so `work` must change nothing but the database. If the connection
    breaks during a commit, the log shows whether the commit took effect: no change is made twice.

    Raises:
        StoreUnavailable: The database's patience is over. Without another attempt nobody knows
            whether the last commit took effect.
    """
    doubtful: tuple[str, T] | None = None

    def attempt() -> T:
        nonlocal doubtful
        if doubtful is not None:
            digest, result = doubtful
            if _is_committed(database, digest):
                return result
            doubtful = None
        with database.write() as conn:
            unit = Change(database, conn)
            result = work(unit)
            entry = unit.append(actor, action, subject)
            if entry is not None:
                doubtful = (entry, result)
        return result

    return database.retry(attempt)


def _is_committed(database: Database, entry: str) -> bool:
    """Whether the log has an entry with this hash."""
    with database.write() as conn:
        # The lost session may still be committing; it holds this lock until that is done.
        Change(database, conn).lock_chain()
        recent = conn.scalars(
            sa.select(AuditLogTable.hash).order_by(AuditLogTable.seq.desc()).limit(_RECENT_ENTRIES)
        )
        return entry in recent


def png_digest(png: bytes) -> str:
    """SHA-256 of a mask's bytes, in hex: what `detections.mask_sha256` holds."""
    return hashlib.sha256(png).hexdigest()
