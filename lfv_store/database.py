"""Connections and transactions: one engine, the same promises on SQLite and PostgreSQL.

A `write()` transaction on SQLite takes the write lock at once (BEGIN IMMEDIATE): a transaction that
reads first and writes later would fail with "database is locked" when another writer came between.
"""

from __future__ import annotations

import copy
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from lfv_store.errors import StoreError
from lfv_store.retries import Outage, retry_while_unavailable
from lfv_store.translate import translated

T = TypeVar("T")
_SQLITE_WAIT_SECONDS = 30
SQLITE_PRAGMAS = (
    # Readers (an auditor's SQL, an export) never block the writer, nor the writer them.
    "PRAGMA journal_mode = WAL",
    # SQLite checks REFERENCES only when asked to, per connection.
    "PRAGMA foreign_keys = ON",
    # A second writer waits this long (ms) for its turn before it gives up with StoreUnavailable.
    f"PRAGMA busy_timeout = {_SQLITE_WAIT_SECONDS * 1000}",
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

POSTGRES_SETTINGS = (
    # Timestamps are exchanged as UTC, whatever the server's or the user's default.
    "SET TIME ZONE 'UTC'",
    # Waiting half a minute for a lock means something is wrong: fail, retryably.
    "SET lock_timeout = '30s'",
    # No single statement of the store takes this long, not even a verification's.
    "SET statement_timeout = '15min'",
)
# A writer that hangs between two statements would hold the audit chain's lock: the server ends it.
_POSTGRES_WRITE = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
_POSTGRES_CONNECT: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "lfv",
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
OLDEST_SQLITE = (3, 35)
"""The first SQLite with DELETE ... RETURNING."""
_POSTGRES_NAMES = ("postgresql", "postgres", "postgresql+psycopg")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces. Raises TypeError for what JSON cannot hold."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def parse_url(url: str) -> URL:
    """The SQLAlchemy URL of a database; `postgresql://` means psycopg 3.

    Raises StoreError, without the URL's password, for anything but SQLite files and PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(
            "not a database URL; expected sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        ) from None
    if parsed.drivername in _POSTGRES_NAMES:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError("an SQLite store needs a file: sqlite:///FILE")
        return parsed.set(drivername="sqlite+pysqlite")
    raise StoreError(f"{parsed.drivername!r} is not supported; use sqlite or postgresql")


class Database:
    """An engine and the transactions on it. Thread-safe; not to be carried across a fork."""

    def __init__(self, url: str, *, patience_seconds: float = 0.0) -> None:
        self.url = parse_url(url)
        self.patience_seconds = patience_seconds
        self._outage = Outage()
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        # Without the query, which may hold a password too.
        plain = self.url.set(drivername=self.url.get_backend_name(), query={})
        self.name = plain.render_as_string(hide_password=True)
        if self.is_sqlite and sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed")
        if self.is_sqlite:
            _make_folder(Path(str(self.url.database)).parent)
        common: dict[str, Any] = {
            "hide_parameters": True,
            "json_serializer": canonical_json,
            "json_deserializer": orjson.loads,
        }
        if self.is_sqlite:
            self.engine = sa.create_engine(
                self.url,
                connect_args={"timeout": _SQLITE_WAIT_SECONDS, "check_same_thread": False},
                pool_size=5,
                max_overflow=20,
                pool_timeout=60,
                **common,
            )
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = sa.create_engine(
                self.url,
                connect_args={
                    key: value
                    for key, value in _POSTGRES_CONNECT.items()
                    if key not in self.url.query
                },
                pool_pre_ping=True,
                pool_size=5,
                max_overflow=20,
                pool_timeout=60,
                **common,
            )
            sa.event.listen(self.engine, "connect", _prepare_postgres)
        self._writer = self.engine.execution_options(lfv_write=True)

    def with_patience(self, seconds: float) -> Database:
        """The same connections, with another time to retry for."""
        other = copy.copy(self)
        other.patience_seconds = seconds
        return other

    def retry(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, and repeat it while the database is unavailable.

        Raises StoreUnavailable when the database's patience is over.
        """
        return retry_while_unavailable(call, self._outage, seconds=self.patience_seconds)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. On SQLite it sees one moment; see snapshot() for both."""
        with translated(self.name), self._begun(self.engine) as conn:
            yield conn

    @contextmanager
    def snapshot(self, *, read_only: bool = True) -> Iterator[Connection]:
        """A read transaction that sees one moment on both databases, however long it takes.

        `read_only`: PostgreSQL is to refuse every write, temporary ones too.
        """
        engine = self.engine
        if not self.is_sqlite:
            engine = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=read_only
            )
        with translated(self.name), self._begun(engine) as conn:
            yield conn

    def _begun(self, engine: sa.Engine) -> Connection:
        """A connection in a transaction, once the database is available."""

        def connect() -> Connection:
            with translated(self.name):
                conn = engine.connect()
                # By hand: statements on the driver's connection would not begin a transaction.
                conn.begin()
                return conn

        return self.retry(connect)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or rolls back if it raises."""
        with translated(self.name), self._writer.begin() as conn:
            if not self.is_sqlite:
                conn.exec_driver_sql(_POSTGRES_WRITE)
            yield conn

    def close(self) -> None:
        """Close all connections. The object may not be used afterwards."""
        self.engine.dispose()

    def now(self, conn: Connection) -> datetime:
        """The time, by one clock for everybody who shares the database.

        PostgreSQL's own clock, so that machines whose clocks differ agree on when a lease expires;
        on SQLite all users are on one machine, and its clock is the one.
        """
        if self.is_sqlite:
            return datetime.now(UTC)
        moment: datetime = conn.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return moment.astimezone(UTC)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder {folder} cannot be made: {error.strerror}; name another place for the"
            " database"
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own idea of when a transaction begins is switched off: SQLAlchemy's "begin" event
    # says BEGIN, so that DDL is transactional and writers can say IMMEDIATE.
    connection.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        _execute_patiently(connection, pragma)


def _execute_patiently(connection: sqlite3.Connection, pragma: str) -> None:
    # Several connections that come to a new file at once all switch it to WAL. One that finds
    # another at it is told "database is locked" at once, whatever busy_timeout says.
    deadline = time.monotonic() + _SQLITE_WAIT_SECONDS
    while True:
        try:
            connection.execute(pragma)
        except sqlite3.OperationalError as error:
            locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not locked or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(conn: Connection) -> None:
    write = conn.get_execution_options().get("lfv_write", False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _prepare_postgres(connection: Any, _record: object) -> None:
    previous = connection.autocommit
    connection.autocommit = True
    with connection.cursor() as cursor:
        for setting in POSTGRES_SETTINGS:
            cursor.execute(setting)
    connection.autocommit = previous


@contextmanager
def any_text(driver: Any) -> Iterator[None]:
    """Have an sqlite3 connection give text that is no UTF-8 as bytes, instead of failing.

    For checking what somebody else may have written; PostgreSQL lets no such text in.
    """
    if not isinstance(driver, sqlite3.Connection):
        yield
        return
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


def driver_connection(conn: Connection) -> Any:
    """The sqlite3 or psycopg connection under an SQLAlchemy one, in the same transaction."""
    return conn.connection.driver_connection
