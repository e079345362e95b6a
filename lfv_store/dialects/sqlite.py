"""SQLite: one machine, one writer at a time."""

# ruff: noqa: ARG002 -- methods of an interface
# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

import shutil
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
    # Readers (an auditor's SQL, an export) and the writer never block each other.
    "PRAGMA journal_mode = WAL",
    # SQLite checks REFERENCES only when asked to, per connection.
    "PRAGMA foreign_keys = ON",
    # How long (ms) a second writer waits before it fails with StoreUnavailable.
    f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000}",
    # A commit is on disk before it is acknowledged. NORMAL, usual with WAL, can lose the last
    # commits in a power failure, and one of them may be the only trace that a model was started.
    "PRAGMA synchronous = FULL",
    # At most 128 MiB of pages (negative: KiB). Access to the index on image hashes is random, and
    # with a million images it takes 80 MB.
    "PRAGMA cache_size = -131072",
    # Checkpoint every 16,000 pages (64 MB) instead of 1,000. Batches touch hundreds of pages of
    # that index, often the same ones, and a checkpoint copies each page once.
    "PRAGMA wal_autocheckpoint = 16000",
    # Sorts and temporary indexes of the views stay in memory.
    "PRAGMA temp_store = MEMORY",
    # Functions named in a manipulated schema must not have side effects.
    "PRAGMA trusted_schema = OFF",
)
#: The first release of SQLite with DELETE ... RETURNING.
OLDEST = (3, 35)

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
    sqlite3.SQLITE_CANTOPEN: "it must be a file that this user may read and write, in a folder"
    " that this user may write to",
    sqlite3.SQLITE_READONLY: "this user needs to write to the file and its folder; to read only,"
    " work on a copy",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database, or it is damaged: check the URL",
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
        # julianday() is precise to a millisecond.
        "seconds": "round((julianday({end}) - julianday({start})) * 86400.0, 3)",
    }
    append_only_triggers: ClassVar[Mapping[str, str]] = {
        f"{{table}}_no_{event.lower()}": f"CREATE TRIGGER {{table}}_no_{event.lower()} BEFORE"
        f" {event} ON {{table}} BEGIN SELECT RAISE(ABORT, '{{table}} is append-only'); END"
        for event in ("UPDATE", "DELETE")
    }

    @contextmanager
    def disable_guard(self, conn: Connection, table: str) -> Iterator[None]:
        """Drop the trigger during the block; nobody else can write meanwhile."""
        name = f"{table}_no_delete"
        conn.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        text = self.append_only_triggers["{table}_no_delete"].format(table=table)
        conn.exec_driver_sql(text)

    def compact(self, url: URL) -> tuple[int, int]:
        """Write the file anew without its free pages; needs room for a copy of it."""
        file = Path(str(url.database))
        before = file.stat().st_size
        free = shutil.disk_usage(file.parent).free
        if free < 2 * before:  # the copy, and the log that holds it until it is in the file
            raise StoreError(
                f"compacting {file} needs {2 * before / 1e6:.0f} MB on its disk for a while, but "
                f"only {free / 1e6:.0f} MB are free; make room and try again"
            )
        with closing(sqlite3.connect(file, timeout=_WAIT_SECONDS, isolation_level=None)) as conn:
            conn.execute("VACUUM")
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, file.stat().st_size

    def create_engine(self, url: URL, options: Mapping[str, Any]) -> sa.Engine:
        """Return an engine on a file, creating its folder if needed. Raises StoreError."""
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
        """Do nothing: SQLite's text is always Unicode."""

    def snapshot_options(self, *, read_only: bool) -> Mapping[str, Any]:
        """Return none: in WAL mode every transaction sees one snapshot."""
        return {}

    def begin_write(self, conn: Connection) -> None:
        """Do nothing: _begin() has taken the write lock."""

    def begin_migration(self, conn: Connection, views: Collection[str]) -> None:
        """Allow tables to be rebuilt under their names; references are checked at the end."""
        conn.exec_driver_sql("PRAGMA legacy_alter_table = ON")

    def end_migration(self, conn: Connection) -> None:
        """Check all references."""
        dangling = conn.exec_driver_sql("PRAGMA foreign_key_check").all()
        if dangling:
            raise StoreError(
                f"{len(dangling)} rows of {dangling[0][0]} refer to rows that are gone"
            )

    def now(self, conn: Connection) -> datetime:
        """Return this machine's time; all users of the file are on it."""
        return datetime.now(UTC)

    def error(self, error: BaseException, *, lost: bool, name: str) -> StoreError | None:
        """Translate an error of sqlite3."""
        if not isinstance(error, sqlite3.Error):
            return None
        message = first_line(error)
        if isinstance(error, sqlite3.IntegrityError):
            return RecordConflict(message) if "UNIQUE" in message else InvalidRecord(message)
        if isinstance(error, sqlite3.DataError):
            return InvalidRecord(message)
        # 0 for errors of the driver itself.
        code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        missing = message.startswith(("no such table", "no such column"))
        step = _TABLES_MISSING if missing else _NEXT_STEPS.get(code)
        kind = StoreUnavailable if lost or code in _RETRYABLE else StoreError
        return kind(f"{name}: {message}; {step}" if step else f"{name}: {message}")

    def lock(self, conn: Connection, key: int) -> None:
        """Do nothing: the transaction is the only writer."""

    def lock_run(self, conn: Connection, run_id: str) -> int | None:
        """Return the run's id; no lock is needed, because the transaction is the only writer."""
        sql = "SELECT id FROM runs WHERE run_id = ?"
        row = driver_connection(conn).execute(sql, (run_id,)).fetchone()
        return None if row is None else int(row[0])

    def next_change(self, conn: Connection) -> int:
        """Return one more than the last number."""
        sql = "SELECT coalesce(max(change), 0) + 1 FROM audit_log"
        return int(driver_connection(conn).execute(sql).fetchone()[0])

    def insert(
        self, conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert all rows by one prepared statement."""
        marks = ", ".join("?" * len(columns))
        driver_connection(conn).executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows
        )

    def begin_batch(
        self, conn: Connection, batch: Batch, *, span: int, begin: bool
    ) -> BatchFacts | None:
        """Make the look-ups one by one; there are no round trips to save."""
        run = self.lock_run(conn, batch.run_id)
        if run is None:
            return None
        change = self.next_change(conn)
        found = self.select_in(
            conn, "inspections", ("line_number",), "line_number", batch.lines, run_id=run
        )
        lines = {line for (line,) in found}
        wanted = {image.sha256: image for line, image in batch.images if line not in lines}
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
        """Execute the statements one by one."""
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
        """Append after the newest entry; there is no other writer."""
        self.write(conn, writes)
        sql = "SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1"
        last = driver_connection(conn).execute(sql).fetchone()
        seq, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
        cells = (seq, *astuple(entry), previous)
        self.insert(conn, "audit_log", _ENTRY, [(*cells, entry_hash(*cells))])

    def among(
        self, key: str, values: Sequence[Any], equal: Mapping[str, int]
    ) -> tuple[str, tuple[Any, ...]]:
        """Pass several values as one parameter, a JSON array, and a single value as it is."""
        conditions = [f"{name} = ?" for name in equal]
        if len(values) == 1:
            conditions.append(f"{key} = ?")
            return " AND ".join(conditions), (*equal.values(), values[0])
        conditions.append(f"{key} IN (SELECT value FROM json_each(?))")
        return " AND ".join(conditions), (*equal.values(), canonical_json(list(values)))

    def by_index(self, table: str, index: str) -> str:
        """Name the index.

        Without statistics (ANALYZE), SQLite assumes that few rows share the first column of an
        index. It then reads all of a run's rows instead of looking up each value.
        """
        return f"{table} INDEXED BY {index}"

    def day(self, column: str) -> str:
        """Take the first ten characters."""
        return f"substr({column}, 1, 10)"

    def hundredths(self, column: str) -> str:
        """Round down by a cast."""
        return f"CAST({column} * 100 AS INTEGER)"

    def canonical(self, column: sa.Column[Any]) -> str:
        """Return the column, which is stored in the digested form."""
        return column.name

    def select_raw(self, conn: Connection, sql: str, *parameters: Any) -> list[Any]:
        """Return rows; text that is not UTF-8 is returned as bytes."""
        driver = driver_connection(conn)
        with _any_text(driver):
            return list(driver.execute(sql, parameters))

    @contextmanager
    def stream(self, conn: Connection, sql: str, *, any_text: bool = False) -> Iterator[Fetch]:
        """Stream from a cursor."""
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
        """Use SQLite's JSON functions."""
        return f"json_extract(content, '$.bulk.{table}.rows')"

    def tables(self, conn: Connection) -> dict[str, bool]:
        """Return the tables; SQLite has no row-level security."""
        rows = conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        return dict.fromkeys(rows.scalars(), False)

    def triggers(self, conn: Connection) -> dict[str, str]:
        """Return the statements that created them, by name."""
        rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return {name: " ".join(text.split()) for name, text in rows}

    def views(self, conn: Connection) -> dict[str, str]:
        """Return the statements that created them, by name."""
        rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
        return {name: text.strip() for name, text in rows}

    def replace_view(self, conn: Connection, name: str, definition: str) -> None:
        """Drop and create the view; other views may refer to it meanwhile."""
        conn.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        conn.exec_driver_sql(definition)

    def stored_view(self, conn: Connection, name: str, definition: str) -> str | None:
        """Return the statement, which SQLite stores as it is."""
        return definition.strip()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} cannot be created: {error.strerror}; choose another place for the"
            " database"
        ) from error


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # Disables the driver's implicit transactions. SQLAlchemy's "begin" event issues BEGIN instead,
    # so that DDL is transactional and writers can use IMMEDIATE.
    connection.isolation_level = None
    # Connections that open a new file at the same moment all switch it to WAL. All but one fail at
    # once with "database is locked", regardless of busy_timeout.
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
    # A write transaction takes the write lock immediately. If it read first and wrote later,
    # another writer in between would make it fail with "database is locked".
    options = conn.get_execution_options()
    if options.get("lfv_migration"):
        # Ignored within a transaction. schema.upgrade() checks references before it commits.
        driver_connection(conn).execute("PRAGMA foreign_keys = OFF")
    conn.exec_driver_sql("BEGIN IMMEDIATE" if options.get("lfv_write") else "BEGIN")


@contextmanager
def _any_text(driver: Any) -> Iterator[None]:
    """Read text that is not UTF-8 as bytes during the block."""
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
