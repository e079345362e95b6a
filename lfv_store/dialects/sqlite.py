"""SQLite: one machine, one writer at a time."""

# ruff: noqa: ARG002 -- methods of an interface
# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import astuple, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from lfv_store.audit.canonical import GENESIS, entry_hash
from lfv_store.dialects.base import (
    Batch,
    BatchFacts,
    Deletion,
    Dialect,
    EntryFields,
    Fetch,
    Masks,
    UndecodableText,
    Write,
    canonical_json,
    driver_connection,
    first_line,
)
from lfv_store.errors import InvalidRecord, RecordConflict, StoreError, StoreUnavailable

_WAIT_SECONDS = 30
PRAGMAS = (
    # Readers (an auditor's SQL, an export) never block the writer, nor the writer them.
    "PRAGMA journal_mode = WAL",
    # SQLite checks REFERENCES only when asked to, per connection.
    "PRAGMA foreign_keys = ON",
    # A second writer waits this long (ms) for its turn before it gives up with StoreUnavailable.
    f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000}",
    # A commit is on the disk before it is acknowledged. NORMAL, WAL's usual companion, may lose the
    # last commits when the power fails: one of them may be the only trace of a model being started.
    "PRAGMA synchronous = FULL",
    # 128 MiB of pages at most (negative: KiB). The index on image hashes is hit at random places,
    # and among a million images it is 80 MB large.
    "PRAGMA cache_size = -131072",
    # Checkpoint every 16,000 pages (64 MB) instead of 1,000: a batch touches hundreds of pages of
    # that index, and many batches the same ones; each is copied into the file once for all of them.
    "PRAGMA wal_autocheckpoint = 16000",
    # Sorts and temporary indexes of the views stay in memory.
    "PRAGMA temp_store = MEMORY",
    # Functions named in a schema that somebody tampered with cannot have side effects.
    "PRAGMA trusted_schema = OFF",
)
OLDEST = (3, 35)
"""The first SQLite with DELETE ... RETURNING."""

_RETRYABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
# The next step, by SQLite's primary error code.
_NEXT_STEPS = {
    sqlite3.SQLITE_CANTOPEN: "it has to be a file that this user may read and write, in a folder"
    " that this user may write to",
    sqlite3.SQLITE_READONLY: "this user needs to write to the file and its folder; to read only,"
    " work on a copy",
    sqlite3.SQLITE_NOTADB: "it is another file, or a damaged one: name the right one",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: keep a copy as it is, and restore it from a"
    " backup",
    sqlite3.SQLITE_FULL: "make room there and try again; what was committed is kept",
    sqlite3.SQLITE_IOERR: "check the disk, its space and its mounts, and try again",
    sqlite3.SQLITE_BUSY: "another process has been writing for too long: try again when it is done",
}
_TABLES_MISSING = (
    "tables are missing; check that the URL names the right file, and run `lfv db upgrade`"
)


_ENTRY = ("seq", *(field.name for field in fields(EntryFields)), "previous", "hash")


class Sqlite(Dialect):
    """An SQLite file."""

    name = "sqlite"
    many_writers = False
    write_options: ClassVar[Mapping[str, Any]] = {}
    view_words: ClassVar[Mapping[str, str]] = {
        "now": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
        "integer": "",
        "float": "",
        "greatest": "max",
        "least": "min",
        "join": "(SELECT group_concat({value}, '; ') FROM (SELECT {value} FROM {rows}"
        " ORDER BY {order}))",
        # julianday() is good to the millisecond.
        "seconds": "round((julianday({end}) - julianday({start})) * 86400.0, 3)",
    }
    append_only_triggers: ClassVar[Mapping[str, str]] = {
        f"{{table}}_no_{event.lower()}": f"CREATE TRIGGER {{table}}_no_{event.lower()} BEFORE"
        f" {event} ON {{table}} BEGIN SELECT RAISE(ABORT, '{{table}} is append-only'); END"
        for event in ("UPDATE", "DELETE")
    }

    @contextmanager
    def unguarded(self, conn: Connection, table: str) -> Iterator[None]:
        """Drop the trigger for the block: nobody else writes meanwhile."""
        name = f"{table}_no_delete"
        conn.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        text = self.append_only_triggers["{table}_no_delete"].format(table=table)
        conn.exec_driver_sql(text)

    def create_engine(self, url: URL, options: Mapping[str, Any]) -> sa.Engine:
        """An engine on a file, whose folder is made if need be. Raises StoreError."""
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed")
        _make_folder(Path(str(url.database)).parent)
        engine = sa.create_engine(
            url,
            connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False},
            **options,
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def check(self, conn: Connection, name: str) -> None:
        """Nothing: SQLite's text is Unicode."""

    def snapshot_options(self, *, read_only: bool) -> Mapping[str, Any]:
        """None: every transaction in WAL mode sees one moment."""
        return {}

    def begin_write(self, conn: Connection) -> None:
        """Nothing to do: see _begin()."""

    def begin_migration(self, conn: Connection, views: Collection[str]) -> None:
        """Let a table be rebuilt under its name: references to it are checked at the end."""
        conn.exec_driver_sql("PRAGMA legacy_alter_table = ON")

    def end_migration(self, conn: Connection) -> None:
        """Check all references."""
        dangling = conn.exec_driver_sql("PRAGMA foreign_key_check").all()
        if dangling:
            raise StoreError(
                f"{len(dangling)} rows of {dangling[0][0]} refer to rows that are gone"
            )

    def now(self, conn: Connection) -> datetime:
        """This machine's clock: all users of the file are on it."""
        return datetime.now(UTC)

    def error(self, error: BaseException, *, lost: bool, name: str) -> StoreError | None:
        """The store's error for one of sqlite3's."""
        if not isinstance(error, sqlite3.Error):
            return None
        message = first_line(error)
        if isinstance(error, sqlite3.IntegrityError):
            return RecordConflict(message) if "UNIQUE" in message else InvalidRecord(message)
        if isinstance(error, sqlite3.DataError):
            return InvalidRecord(message)
        # 0 where the driver itself complains.
        code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        missing = message.startswith(("no such table", "no such column"))
        step = _TABLES_MISSING if missing else _NEXT_STEPS.get(code)
        kind = StoreUnavailable if lost or code in _RETRYABLE else StoreError
        return kind(f"{name}: {message}; {step}" if step else f"{name}: {message}")

    def lock(self, conn: Connection, key: int) -> None:
        """Nothing to do: the transaction is the only writer."""

    def lock_run(self, conn: Connection, run_id: str) -> int | None:
        """Needs no lock: the transaction is the only writer."""
        sql = "SELECT id FROM runs WHERE run_id = ?"
        row = driver_connection(conn).execute(sql, (run_id,)).fetchone()
        return None if row is None else int(row[0])

    def next_change(self, conn: Connection) -> int:
        """One more than the last."""
        sql = "SELECT coalesce(max(change), 0) + 1 FROM audit_log"
        return int(driver_connection(conn).execute(sql).fetchone()[0])

    def insert(
        self, conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """One prepared statement for all rows."""
        marks = ", ".join("?" * len(columns))
        driver_connection(conn).executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows
        )

    def begin_batch(
        self, conn: Connection, batch: Batch, *, span: int, begin: bool
    ) -> BatchFacts | None:
        """One look-up after the other: none leaves this process."""
        run = self.lock_run(conn, batch.run_id)
        if run is None:
            return None
        change = self.next_change(conn)
        found = self.select_in(
            conn, "inspections", ("line_number",), "line_number", batch.lines, run_id=run
        )
        lines = {line for (line,) in found}
        wanted = {image.sha256: image for image in batch.images if image.line not in lines}
        ids = dict(self.select_in(conn, "images", ("sha256", "id"), "sha256", list(wanted)))
        added = sorted(wanted.keys() - ids.keys())
        if added:
            columns = ("id", "sha256", "format", "width", "height", "size_bytes")
            rows = [
                (
                    change * span + position,
                    sha256,
                    *(getattr(wanted[sha256], c) for c in columns[2:]),
                )
                for position, sha256 in enumerate(added)
            ]
            self.insert(conn, "images", columns, rows)
            ids.update((row[1], row[0]) for row in rows)
        detections = dict(
            self.select_in(conn, "detections", ("id", "image_id"), "id", batch.detections)
        )
        return BatchFacts(run, change, self.now(conn), lines, ids, added, detections)

    def write(self, conn: Connection, writes: Sequence[Write]) -> None:
        """One statement after the other."""
        for write in writes:
            if isinstance(write, Deletion):
                self.delete_in(conn, write.table, write.key, write.values, **write.equal)
            elif isinstance(write, Masks):
                self.insert(conn, "masks", ("detection_id", "png"), write.cells)
            else:
                self.insert(conn, write.table, write.columns, write.cells)

    def append(
        self, conn: Connection, writes: Sequence[Write], entry: EntryFields, *, lock: int | None
    ) -> None:
        """Number and hash follow from the newest entry: there is no other writer."""
        self.write(conn, writes)
        sql = "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1"
        last = driver_connection(conn).execute(sql).fetchone()
        seq, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
        cells = (seq, *astuple(entry), previous)
        self.insert(conn, "audit_log", _ENTRY, [(*cells, entry_hash(*cells))])

    def among(
        self, key: str, values: Sequence[Any], equal: Mapping[str, int]
    ) -> tuple[str, tuple[Any, ...]]:
        """The values are one parameter, a JSON array; a single value is looked up as it is."""
        conditions = [f"{name} = ?" for name in equal]
        if len(values) == 1:
            conditions.append(f"{key} = ?")
            return " AND ".join(conditions), (*equal.values(), values[0])
        conditions.append(f"{key} IN (SELECT value FROM json_each(?))")
        return " AND ".join(conditions), (*equal.values(), canonical_json(list(values)))

    def day(self, column: str) -> str:
        """The first ten characters."""
        return f"substr({column}, 1, 10)"

    def hundredths(self, column: str) -> str:
        """A cast cuts off what is behind the point."""
        return f"CAST({column} * 100 AS INTEGER)"

    def canonical(self, column: sa.Column[Any]) -> str:
        """The column: it is stored as it is digested."""
        return column.name

    def select_raw(self, conn: Connection, sql: str, *parameters: Any) -> list[Any]:
        """Text that is not UTF-8 comes as bytes."""
        driver = driver_connection(conn)
        with _any_text(driver):
            return list(driver.execute(sql, parameters))

    @contextmanager
    def stream(self, conn: Connection, sql: str, *, any_text: bool = False) -> Iterator[Fetch]:
        """A cursor."""
        driver = driver_connection(conn)
        reading = _any_text(driver) if any_text else nullcontext()
        with reading, closing(driver.execute(sql)) as cursor:

            def fetch(count: int) -> list[Any]:
                try:
                    return list(cursor.fetchmany(count))
                except sqlite3.OperationalError as error:
                    raise UndecodableText from error

            yield fetch

    def json_rows(self, table: str) -> str:
        """SQLite's JSON functions."""
        return f"json_extract(content, '$.bulk.{table}.rows')"

    def tables(self, conn: Connection) -> dict[str, bool]:
        """Without row-level security, which SQLite does not have."""
        rows = conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        return dict.fromkeys(rows.scalars(), False)

    def triggers(self, conn: Connection) -> dict[str, str]:
        """The statements that created them."""
        rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return {name: " ".join(text.split()) for name, text in rows}

    def views(self, conn: Connection) -> dict[str, str]:
        """The statements that created them."""
        rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
        return {name: text.strip() for name, text in rows}

    def replace_view(self, conn: Connection, name: str, definition: str) -> None:
        """Other views may refer to it meanwhile."""
        conn.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        conn.exec_driver_sql(definition)

    def stored_view(self, conn: Connection, name: str, definition: str) -> str | None:
        """The statement: SQLite keeps it."""
        return definition.strip()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} cannot be made: {error.strerror}; name another place for the"
            " database"
        ) from error


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own idea of when a transaction begins is switched off: SQLAlchemy's "begin" event
    # says BEGIN, so that DDL is transactional and writers can say IMMEDIATE.
    connection.isolation_level = None
    # Several connections that come to a new file at the same moment all switch it to WAL. One that
    # finds another at it gets "database is locked" at once, whatever busy_timeout says.
    for attempt in Retrying(
        retry=retry_if_exception(_is_locked),
        stop=stop_after_delay(_WAIT_SECONDS),
        wait=wait_fixed(0.01),
        reraise=True,
    ):
        with attempt:
            for pragma in PRAGMAS:
                connection.execute(pragma)


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and (
        error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    )


def _begin(conn: Connection) -> None:
    # A write transaction takes the write lock at once: one that reads first and writes later would
    # fail with "database is locked" when another writer came between.
    options = conn.get_execution_options()
    if options.get("lfv_migration"):
        # Ignored within a transaction. schema.upgrade() checks references before it commits.
        driver_connection(conn).execute("PRAGMA foreign_keys = OFF")
    conn.exec_driver_sql("BEGIN IMMEDIATE" if options.get("lfv_write") else "BEGIN")


@contextmanager
def _any_text(driver: Any) -> Iterator[None]:
    """Have text that is not UTF-8 read as bytes until exit."""
    before = driver.text_factory
    driver.text_factory = _text_or_bytes
    try:
        yield
    finally:
        driver.text_factory = before


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
