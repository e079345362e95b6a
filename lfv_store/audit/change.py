"""A change: one transaction's writes, and the audit entry that vouches for them.

Order of locks, so that no two writers wait for each other: first what the change is about (a run's
row, or all hostings), then new images, and last the chain. The chain is held for one insert and the
commit only, so that writers run side by side until their very last step. Ids of the small tables
are counted under the chain's lock; ids of the bulk tables follow from the change's number, which is
taken first and needs no lock.
"""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import (
    GENESIS,
    Cells,
    entry_hash,
    lines_digest,
    lines_marks,
    row_digest,
    row_lines,
)
from lfv_store.audit.layouts import BULK, CHANGE_SPAN, ROWWISE, canonical_columns
from lfv_store.bulk import insert_rows
from lfv_store.database import Database, canonical_json
from lfv_store.errors import InvalidRecord
from lfv_store.tables import Base
from lfv_store.text import json_value
from lfv_store.types import utc_text

_CHAIN_LOCK = 0x6C66_7601
_HOSTING_LOCK = 0x6C66_7602
T = TypeVar("T")


class Change:
    """The writes of one transaction. Made by commit(); do not keep it beyond its block."""

    def __init__(self, database: Database, conn: Connection) -> None:
        self.conn = conn
        self._database = database
        self._number: int | None = None
        self._now: datetime | None = None
        self._locked = False
        self._bulk: dict[str, Any] = {}
        self._touched: dict[tuple[str, int], None] = {}

    @property
    def is_sqlite(self) -> bool:
        """Whether writers come one by one anyway, so that no row needs a lock."""
        return self._database.is_sqlite

    @property
    def number(self) -> int:
        """This change's number: unique, growing, but on PostgreSQL not without gaps."""
        if self._number is None:
            statement = (
                "SELECT coalesce(max(change), 0) + 1 FROM audit_log"
                if self._database.is_sqlite
                else "SELECT nextval('audit_changes')"
            )
            self._number = int(self.conn.exec_driver_sql(statement).scalar_one())
        return self._number

    @property
    def first_id(self) -> int:
        """The first id that bulk rows of this change may have."""
        return self.number * CHANGE_SPAN

    @property
    def now(self) -> datetime:
        """The database's time, once per change."""
        if self._now is None:
            self._now = self._database.now(self.conn)
        return self._now

    def lock_hostings(self) -> None:
        """Be the only one to change hostings and leases until the commit."""
        if not self._database.is_sqlite:
            self._advisory_lock(_HOSTING_LOCK)

    def lock_chain(self) -> None:
        """Be the only one to append to the audit log until the commit."""
        if not self._locked:
            if not self._database.is_sqlite:
                self._advisory_lock(_CHAIN_LOCK)
            self._locked = True

    def _advisory_lock(self, key: int) -> None:
        # Advisory locks are the database's; the second key keeps schemas of one database apart.
        self.conn.exec_driver_sql(
            f"SELECT pg_advisory_xact_lock({key}, hashtext(current_schema()))"
        )

    def next_id(self, table: str) -> int:
        """The next id of a small audited table, counted under the chain's lock."""
        self.lock_chain()
        column = Base.metadata.tables[table].c.id
        return int(self.conn.scalar(sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1)) or 1)

    def insert(self, table: str, **values: Any) -> int:
        """Insert one row of a small audited table; gives its id."""
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

    def insert_bulk(self, table: str, rows: Sequence[Cells]) -> None:
        """Insert canonical rows, in digest order, into a bulk table. Once per table and change."""
        if rows:
            self.digest_bulk(table, rows)
            insert_rows(self.conn, table, BULK[table].columns, rows)

    def digest_bulk(self, table: str, rows: Sequence[Cells]) -> None:
        """Have the entry speak of rows of a bulk table that the caller inserts."""
        if not rows:
            return
        if len(rows) > CHANGE_SPAN or table in self._bulk:
            raise InvalidRecord(f"too many rows of {table} in one change")
        lines = row_lines(rows)
        self._bulk[table] = {
            "layout": BULK[table].number,
            "rows": len(lines),
            "sha256": lines_digest(lines),
            "marks": lines_marks(lines),
        }

    def append(self, actor: str, action: str, subject: str) -> str | None:
        """Write the entry and return its hash; None if nothing was written. Called by commit()."""
        if not self._bulk and not self._touched:
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
        self.lock_chain()
        last = self.conn.exec_driver_sql(
            "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1"
        ).one_or_none()
        seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
        text = canonical_json(content)
        digest = entry_hash(seq, number, at, actor, action, subject, text, previous)
        insert_rows(
            self.conn,
            "audit_log",
            ("seq", "change", "at", "actor", "action", "subject", "content", "previous", "hash"),
            [(seq, number, at, actor, action, subject, text, previous, digest)],
        )
        return digest

    def _row_digest(self, table: str, row_id: int) -> str:
        columns = ", ".join(canonical_columns(table, self.conn.dialect.name))
        row = self.conn.exec_driver_sql(
            f"SELECT {columns} FROM {table} WHERE id = {row_id:d}"
        ).one()
        return row_digest(tuple(row))


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
        found = conn.exec_driver_sql(
            "SELECT hash FROM audit_log ORDER BY seq DESC LIMIT 10000"
        ).scalars()
        return entry in found


def png_digest(png: bytes) -> str:
    """SHA-256 of a mask's bytes, in hex: what `detections.mask_sha256` holds."""
    return hashlib.sha256(png).hexdigest()
