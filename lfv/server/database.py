"""The service's own SQLite file: one connection, short transactions, work that waits for commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lfv.server.errors import DiskFullError, HomeError, UnwritableError
from lfv.server.migrations import MIGRATIONS

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # a reader such as the sqlite3 shell doesn't block us
    "PRAGMA synchronous = FULL",  # a committed StartModel survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
)

_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors of the file and the disk, which may be gone at the next try."""

Row = sqlite3.Row


class Transaction:
    """What a handler does its SQL with."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.after_commit: list[Callable[[], object]] = []
        """Called in order once the transaction is committed, and never if it is rolled back."""
        self.after_rollback: list[Callable[[], object]] = []
        """Called in order if it could not be committed, for what was done outside of it."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, parameters)

    def execute_many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, parameters)

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def scalar(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        row = self.one(sql, parameters)
        return None if row is None else row[0]


class Database:
    """Safe to use from any thread: transactions run one after the other."""

    def __init__(self, path: Path) -> None:
        """Open and migrate. Raises HomeError for a newer schema or an unusable file."""
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            for pragma in _PRAGMAS:
                self._connection.execute(pragma)
            self._migrate(path)
        except sqlite3.Error as error:
            raise HomeError(f"{path} can't be used as the service's database: {error}") from error

    def _migrate(self, path: Path) -> None:
        version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise HomeError(
                f"{path} was written by a newer version of this service (schema {version}, "
                f"this one knows {len(MIGRATIONS)}): update it, or give another folder"
            )
        for number, step in enumerate(MIGRATIONS[version:], version + 1):
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT;"
            )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commits unless an exception leaves the block. Don't nest, and don't wait inside.

        Raises UnwritableError, or DiskFullError, if the file can't be written now; nothing has
        changed then.
        """
        transaction = Transaction(self._connection)
        try:
            with self._lock:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    yield transaction
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._roll_back()
                    raise
        except BaseException as error:
            for action in transaction.after_rollback:
                action()
            if isinstance(error, sqlite3.Error) and (told := _passing(error)) is not None:
                raise told from error
            raise
        for action in transaction.after_commit:
            action()

    def _roll_back(self) -> None:
        # On a full disk SQLite may have done so by itself, and to do it again is an error that
        # would hide the first.
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _passing(error: sqlite3.Error) -> UnwritableError | None:
    """What to call an error that may be gone at the next try; None for the others."""
    code: int | None = getattr(error, "sqlite_errorcode", None)  # errors of the module have none
    if code is None or code & 0xFF not in _PASSING:
        return None
    kind = DiskFullError if code & 0xFF == sqlite3.SQLITE_FULL else UnwritableError
    return kind(f"the state can't be written now: {error}")
