"""The service's SQLite file: short transactions, one at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, CursorResult, Executable, RowMapping, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from lfv.server.errors import DiskFullError, HomeError, UnwritableError
from lfv.server.schema import migrate

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # a reader such as the sqlite3 shell doesn't block the service
    "PRAGMA synchronous = FULL",  # a committed StartModel survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
)

#: Errors of the file and the disk: the same write may succeed later.
_TRANSIENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
    }
)


class Transaction:
    """Runs statements, and collects what to do after the commit or the rollback."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: Called in order after the commit, and never after a rollback.
        self.after_commit: list[Callable[[], object]] = []
        #: Called in order after a rollback, to undo what was done outside the database.
        self.after_rollback: list[Callable[[], object]] = []

    def execute(
        self, statement: Executable, rows: Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement, once for each of ``rows`` if given."""
        return self._connection.execute(statement, rows)

    def one(self, statement: Executable) -> RowMapping | None:
        return self._connection.execute(statement).mappings().first()

    def all(self, statement: Executable) -> Sequence[RowMapping]:
        return self._connection.execute(statement).mappings().all()

    def scalar(self, statement: Executable) -> Any:
        return self._connection.execute(statement).scalar()


class Database:
    """Safe to use from any thread: transactions run one after the other."""

    def __init__(self, path: Path) -> None:
        """Open and migrate. Raises HomeError for a newer schema or an unusable file."""
        self._lock = threading.Lock()
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "isolation_level": None},
        )
        event.listen(self._engine, "connect", _set_pragmas)
        event.listen(self._engine, "begin", _begin_immediate)
        try:
            with self._engine.begin() as connection:
                migrate(connection, path)
        except BaseException as error:
            self._engine.dispose()
            if isinstance(error, (DBAPIError, sqlite3.Error)):
                cause = error.orig if isinstance(error, DBAPIError) else error
                raise HomeError(
                    f"{path} cannot be used as the service's database: {cause}"
                ) from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit unless an exception leaves the block. Don't nest, and don't wait inside.

        Raises:
            UnwritableError: The file cannot be written now; nothing has changed.
            DiskFullError: The disk is full; nothing has changed.
        """
        transaction: Transaction | None = None
        try:
            with self._lock, self._engine.begin() as connection:
                transaction = Transaction(connection)
                yield transaction
        except BaseException as error:
            for action in transaction.after_rollback if transaction else ():
                action()
            if isinstance(error, DBAPIError) and (transient := _transient(error)) is not None:
                raise transient from error
            raise
        for action in transaction.after_commit:
            action()

    def close(self) -> None:
        with self._lock:
            self._engine.dispose()


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction would fail at its first write if another process wrote meanwhile.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _transient(error: DBAPIError) -> UnwritableError | None:
    """Return the error to raise if a later attempt may succeed, else None."""
    code = getattr(error.orig, "sqlite_errorcode", None)  # sqlite3's own errors have none
    if code is None or code & 0xFF not in _TRANSIENT:
        return None
    kind = DiskFullError if code & 0xFF == sqlite3.SQLITE_FULL else UnwritableError
    return kind(f"the service's database cannot be written now: {error.orig}")
