"""Connections and transactions, with the same guarantees on SQLite and PostgreSQL."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from lfv_store.dialects import dialect_of
from lfv_store.dialects.base import canonical_json
from lfv_store.error_translation import translate_errors
from lfv_store.errors import StoreError
from lfv_store.retries import Outage, retry_while_unavailable

T = TypeVar("T")
_OPTIONS: dict[str, Any] = {
    "hide_parameters": True,
    "json_serializer": canonical_json,
    "json_deserializer": orjson.loads,
    "pool_size": 5,
    "max_overflow": 20,
    "pool_timeout": 60,
}
_POSTGRES_NAMES = ("postgresql", "postgres", "postgresql+psycopg")


def parse_url(url: str) -> URL:
    """Return the SQLAlchemy URL of a database; `postgresql://` selects psycopg 3.

    Raises StoreError, without the password, unless it names an SQLite file or PostgreSQL.
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
        file = Path(parsed.database).expanduser()
        return parsed.set(drivername="sqlite+pysqlite", database=str(file))
    raise StoreError(f"{parsed.drivername!r} is not supported; use sqlite or postgresql")


class Database:
    """An engine and its transactions. Thread-safe; must not be used across a fork."""

    def __init__(self, url: str, *, patience_seconds: float = 0.0) -> None:
        self.url = parse_url(url)
        self.patience_seconds = patience_seconds
        self._outage = Outage()
        self.dialect = dialect_of(self.url)
        # Drop the query, which may contain a password too.
        plain = self.url.set(drivername=self.url.get_backend_name(), query={})
        self.name = plain.render_as_string(hide_password=True)
        self.engine = self.dialect.create_engine(self.url, _OPTIONS)
        self._writer = self.engine.execution_options(lfv_write=True, **self.dialect.write_options)

    def with_patience(self, seconds: float) -> Database:
        """Return an object on the same connections that retries for `seconds`."""
        other = copy.copy(self)
        other.patience_seconds = seconds
        return other

    def retry(self, call: Callable[[], T]) -> T:
        """Return the result of `call`, repeating it while the database is unavailable.

        Raises StoreUnavailable when the time set by `with_patience` is over.
        """
        return retry_while_unavailable(call, self._outage, seconds=self.patience_seconds)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction. Only on SQLite is it a snapshot; see snapshot()."""
        with translate_errors(self.dialect, self.name), self._begin_connection(self.engine) as conn:
            yield conn

    @contextmanager
    def snapshot(self, *, read_only: bool = True) -> Iterator[Connection]:
        """Open a read transaction that sees one snapshot on both databases.

        `read_only` makes PostgreSQL refuse every write, even to temporary tables.
        """
        options = self.dialect.snapshot_options(read_only=read_only)
        engine = self.engine.execution_options(**options)
        with translate_errors(self.dialect, self.name), self._begin_connection(engine) as conn:
            yield conn

    def _begin_connection(self, engine: sa.Engine) -> Connection:
        """Return a connection in a transaction, waiting for the database if needed."""

        def connect() -> Connection:
            with translate_errors(self.dialect, self.name):
                conn = engine.connect()
                # Explicit, because statements on the driver's connection start no transaction.
                conn.begin()
                return conn

        return self.retry(connect)

    @contextmanager
    def write(self, *, begin: bool = True) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the block, or rolls back if it raises.

        Without `begin` the block's first statement must start it (Dialect.begin_batch()).
        """
        with translate_errors(self.dialect, self.name), self._writer.begin() as conn:
            if begin:
                self.dialect.begin_write(conn)
            yield conn

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Return the result of `work` in a transaction, repeated while the database is unavailable.

        For working state, which has no audit entry. `work` must have no other effects.
        """

        def attempt() -> T:
            with self.write() as conn:
                return work(conn)

        return self.retry(attempt)

    @contextmanager
    def migration(self, views: Collection[str]) -> Iterator[Connection]:
        """Open a write transaction that may rebuild tables under the views; one at a time."""
        engine = self.engine.execution_options(lfv_write=True, lfv_migration=True)
        with translate_errors(self.dialect, self.name), engine.connect() as conn:
            try:
                with conn.begin():
                    self.dialect.begin_migration(conn, views)
                    yield conn
                    self.dialect.end_migration(conn)
            finally:
                conn.invalidate()  # with its settings

    def compact(self) -> tuple[int, int] | None:
        """Release free space; return the size of the database's file before and after.

        None for a database without a file of its own.
        """
        with translate_errors(self.dialect, self.name):
            return self.dialect.compact(self.url)

    def close(self) -> None:
        """Close all connections. The object must not be used afterwards."""
        self.engine.dispose()
